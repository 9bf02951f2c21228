package replication

import (
	"net"
	"sync"
	"time"
)

// maxAhead is how many bytes may wait in a pump before the next message is handed
// to the NATS client.
const maxAhead = 256 << 10

// A pump is a connection whose Write never waits for the network. The NATS client
// writes while it holds its lock, which it also needs to read: without a pump, a
// large message on a slow or dead connection would keep it from reading, so that
// nobody would notice whether the other side lives.
type pump struct {
	net.Conn
	wire *wire // below Conn

	mu     sync.Mutex
	queue  []byte        // guarded by mu
	filled chan struct{} // one token: queue is not empty
	taken  chan struct{} // one token: the queue has become shorter
}

func newPump(c net.Conn, w *wire) *pump {
	return &pump{Conn: c, wire: w, filled: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
}

// Write puts b in the queue.
func (p *pump) Write(b []byte) (int, error) {
	if isClosed(p.wire.closed) {
		return 0, net.ErrClosed
	}
	p.mu.Lock()
	p.queue = append(p.queue, b...)
	p.mu.Unlock()
	signal(p.filled)
	return len(b), nil
}

// run writes what is in the queue until the connection is closed.
func (p *pump) run() {
	for {
		select {
		case <-p.wire.closed:
			return
		case <-p.filled:
		}
		p.mu.Lock()
		b := p.queue
		p.queue = nil
		p.mu.Unlock()
		if _, err := p.Conn.Write(b); err != nil {
			_ = p.wire.Close()
			return
		}
		signal(p.taken)
	}
}

// wait returns when there is room for a message, or the connection is closed.
func (p *pump) wait() {
	for p.ahead() > maxAhead {
		select {
		case <-p.taken:
		case <-p.wire.closed:
			return
		}
	}
}

func (p *pump) ahead() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// Close closes the connection without a farewell, which could take long.
func (p *pump) Close() error { return p.wire.Close() }

// SetDeadline sets the deadline for reading.
func (p *pump) SetDeadline(t time.Time) error { return p.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing: Write does not wait.
func (p *pump) SetWriteDeadline(time.Time) error { return nil }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
