package node

import (
	"context"
	"time"
)

// WithoutMending opens a node that does not mend its copies of the log, to show
// what mending is for.
func (o Options) WithoutMending() Options {
	o.noMend = true
	return o
}

// Reserve sets how many bytes a node keeps free.
func (n *Node) Reserve(bytes uint64) { n.space.reserve = bytes }

// Sweep removes blobs older than age that nothing refers to.
func (n *Node) Sweep(ctx context.Context, age time.Duration) error { return n.sweep(ctx, age) }
