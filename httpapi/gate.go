package httpapi

import (
	"math"
	"sync"
	"sync/atomic"
)

// gate counts the requests under way, so that who stops the server can wait for
// the last one to leave.
type gate struct {
	inside atomic.Int64  // requests, plus closed once the gate is closed
	empty  chan struct{} // closed when the gate is closed and nobody is inside
	once   sync.Once
}

const closed = math.MinInt64 / 2

func newGate() *gate { return &gate{empty: make(chan struct{})} }

// enter lets a request in, unless the gate is closed. Who is in leaves.
func (g *gate) enter() bool {
	if g.inside.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.inside.Add(-1) == closed {
		g.lastOut()
	}
}

// close closes the gate and waits until nobody is inside. It is called once.
func (g *gate) close() {
	if g.inside.Add(closed) == closed {
		g.lastOut()
	}
	<-g.empty
}

// lastOut may come again with a request that was turned away at the gate.
func (g *gate) lastOut() { g.once.Do(func() { close(g.empty) }) }
