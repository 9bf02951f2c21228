package node

import (
	"context"
	"net"
	"time"
)

// WithoutMending opens a node that does not mend its copies of the log, to show
// what mending is for.
func (o Options) WithoutMending() Options {
	o.noMend = true
	return o
}

// OfLevel makes a node say that it understands event types up to a level.
func (o Options) OfLevel(level int) Options {
	o.level = level
	return o
}

// Dialling has a node reach other sites by dial.
func (o Options) Dialling(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Options {
	o.dialPeer = dial
	return o
}

// Reserve sets how many bytes a node keeps free.
func (n *Node) Reserve(bytes uint64) { n.space.reserve = bytes }

// Sweep removes blobs older than age that nothing refers to.
func (n *Node) Sweep(ctx context.Context, age time.Duration) error { return n.sweep(ctx, age) }

// StopFollowing keeps a node from storing what other sites write, until release.
func (n *Node) StopFollowing() (release func()) {
	n.sites.folding.Lock()
	return n.sites.folding.Unlock
}

// Ended waits until what came of the arrival is known.
func (s *Stream) Ended() { <-s.arrival.ended }
