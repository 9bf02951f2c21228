package httpapi

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// The least pace of a client, see the package comment.
const (
	paceBytes = 512 << 10
	paceTime  = time.Minute
)

// writer is the ResponseWriter that handlers see. It remembers what metrics want
// to know and keeps the connection's write deadline ahead of an answer that
// moves. Its ReadFrom leaves the copying to net/http, and so to the kernel.
type writer struct {
	http.ResponseWriter
	pace time.Duration

	client netip.Addr // who asks, see Server.clientAddr
	// unlimited says that limits don't hold, see Server.unlimited.
	unlimited bool
	stop      context.Context // ends when the server is told to stop
	start     time.Time
	extended  time.Time // when the write deadline was set last
	// allowance is what the client may have; nil: all it likes.
	allowance *allowance
	// multiplexed says that the request is one of many on a connection of HTTP/2.
	// There a write deadline that passes ends the request, written or not; so there
	// is one only while something is being written, see rest.
	multiplexed bool
	status      int   // 0 until the header is written
	sent        int64 // bytes of the body

	// uncached has no cache keep the answer, whatever handlers say of it: it depends
	// on more than the path. Set by handlers.
	uncached bool

	who *access.Caller // who asks; nil until that is known

	// For metrics; set by handlers.
	kind endpoint
	repo repoKind
	// access is what the access log is told of the request, if it is told of it;
	// set by handlers.
	access accessed
	// audit is the line of the audit log that becomes of the request, nil if none
	// does, begun is what it was before a body was read, and receipt what the node notes for it; see Server.audited.
	audit   *Audit
	begun   Audit
	receipt *node.Receipt
	// versions are those that the request is about if there may be several: then
	// there is a line for each. Set by handlers.
	versions []module.Version
}

// accessed is what handlers know for a line of the access log.
type accessed struct {
	repo, via events.RepoName
	kept      events.Reads // as the repository says
	version   module.Version
}

// member returns the member that answered, if it is another repository than the
// one that was asked.
func (a accessed) member() string {
	if a.via == a.repo {
		return ""
	}
	return a.via.String()
}

var (
	writers = sync.Pool{New: func() any { return new(writer) }}
	parts   = sync.Pool{New: func() any { return new([arrivingPart]byte) }}
)

// WriteHeader sends the header with the status.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.limitCaches()
	w.ResponseWriter.WriteHeader(status)
}

// limitCaches has caches that clients share keep nothing that was shown to one who
// has authenticated, and has them know that answers depend on that.
func (w *writer) limitCaches() {
	h := w.Header()
	if w.uncached {
		h["Cache-Control"] = cacheNever
	}
	c := h["Cache-Control"]
	if len(c) == 0 {
		return
	}
	h["Vary"] = varyCredentials
	if private, ok := privately[c[0]]; ok && w.who.Name() != events.Anonymous {
		h["Cache-Control"] = private
	}
}

// Write writes p in parts, each of which has paceTime to go.
func (w *writer) Write(p []byte) (n int, err error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	for {
		part := p[n:min(len(p), n+paceBytes)]
		waits := !w.multiplexed || w.sent+int64(len(part)) > unsentBytes
		if waits {
			w.extend()
		}
		m, err := w.ResponseWriter.Write(part)
		n += m
		w.sent += int64(m)
		if waits {
			w.rest()
		}
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// unsentBytes is how much of an answer net/http takes without a wait, over HTTP/2.
const unsentBytes = 4 << 10

// FlushError sends what has been written, for http.ResponseController.
func (w *writer) FlushError() error {
	w.extend()
	defer w.rest()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// longPart is how much of a file the kernel is given at a time.
const longPart = 8 * paceBytes

// ReadFrom copies src to the client in parts, each of which has paceTime to go
// for each paceBytes of it.
// net/http gets the source of an io.LimitedReader unwrapped, as its sendfile
// needs it.
func (w *writer) ReadFrom(src io.Reader) (n int64, err error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	all, ok := src.(*io.LimitedReader)
	if !ok {
		all = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	if _, ok := all.R.(*arriving); ok {
		return w.readArriving(src)
	}
	to, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		buf := parts.Get().(*[arrivingPart]byte)
		defer parts.Put(buf)
		return io.CopyBuffer(struct{ io.Writer }{w}, src, buf[:])
	}
	for size := int64(paceBytes); all.N > 0; size = longPart {
		// The first part shows nothing but that the client is there; those that
		// follow are longer, as each costs, and have as much longer to go.
		w.extendBy(w.pace * time.Duration(size/paceBytes))
		want := min(all.N, size)
		part := io.LimitedReader{R: all.R, N: want}
		m, err := to.ReadFrom(&part)
		n += m
		w.sent += m
		all.N -= m
		if err != nil || m < want {
			return n, err
		}
	}
	return n, nil
}

// untilStop returns a context that ends with ctx, and when the server is told to
// stop: for what waits, and must not hold that up.
func (w *writer) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	forget := context.AfterFunc(w.stop, cancel)
	return ctx, func() { forget(); cancel() }
}

// Unwrap returns the writer below, for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// extend moves the write deadline ahead, unless it is far enough.
func (w *writer) extend() { w.extendBy(w.pace) }

// extendBy is extend for what may take another time than paceTime.
func (w *writer) extendBy(d time.Duration) {
	now := time.Now()
	if d == w.pace && now.Sub(w.extended) < w.pace/8 && !w.multiplexed {
		return
	}
	w.extended = now
	w.setDeadline(now.Add(d))
}

// rest takes the write deadline away until the next write, where it may not pass
// while this node thinks.
func (w *writer) rest() {
	if w.multiplexed {
		w.setDeadline(time.Time{})
	}
}

func (w *writer) setDeadline(t time.Time) {
	if c, ok := w.ResponseWriter.(interface{ SetWriteDeadline(time.Time) error }); ok {
		c.SetWriteDeadline(t) // fails only on a connection that is gone
	}
}
