package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

// Options says how a Server behaves. Zero values work.
type Options struct {
	// Logger gets failures of this node and panics. Nil discards them.
	Logger *slog.Logger
	// Grace is how long requests under way may take to finish once Serve's
	// context has ended; default 10 s.
	Grace time.Duration
	// AccessLog gets a line for each module file that a client is given. Nil keeps
	// none. Who opened it closes it, after the last Serve.
	AccessLog *AccessLog
	// AuditLog gets a line for each request that changes something, or was to, and
	// for failed logins. Nil keeps none. Who opened it closes it, after the last
	// Serve.
	AuditLog *AuditLog
	// TrustedProxies are the networks of reverse proxies whose X-Forwarded-For and
	// X-Forwarded-Proto are believed. Without any, those headers change nothing.
	TrustedProxies []netip.Prefix
	// Limits bound what clients may ask for.
	Limits Limits
	// Conns bound the connections of a listener.
	Conns Conns
	// HSTS reports whether browsers that came over TLS are to come back by nothing
	// else, for the certificate that is in use. Those that came by way of a trusted
	// proxy, which says so, are. Nil: the others are not.
	HSTS func() bool
}

// Server answers for a node.
type Server struct {
	node    *node.Node
	logger  *slog.Logger
	grace   time.Duration
	pace    time.Duration // paceTime, shorter in tests
	header  time.Duration // headerTimeout, other in tests
	conns   connLimits
	via     string // the node's id in node.ViaHeader
	metrics *metrics
	access  *AccessLog
	audit   *AuditLog
	proxies proxies
	hsts    func() bool
	// failures are the failed logins of late.
	failures *failures
	limiter  *limiter

	// work is held by the one verification or rebuild that runs.
	work sync.Mutex
	// streams has a place for each stream that is open, exports for each export of
	// the audit log.
	streams, exports chan struct{}
	// searches has a place for each search that is under way.
	searches *places
}

// New returns a server for n, which must stay open while requests are served.
func New(n *node.Node, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HSTS == nil {
		o.HSTS = func() bool { return false }
	}
	return &Server{
		node: n, logger: o.Logger, grace: cmp.Or(o.Grace, 10*time.Second), pace: paceTime, header: headerTimeout, conns: o.Conns.limits(),
		via: n.Via(), metrics: newMetrics(n, o.AccessLog, o.AuditLog), access: o.AccessLog, audit: o.AuditLog,
		streams: make(chan struct{}, maxStreams), exports: make(chan struct{}, maxExports),
		searches: newPlaces(maxSearches, userSearches),
		proxies:  o.TrustedProxies, hsts: o.HSTS, failures: newFailures(), limiter: newLimiter(o.Limits),
	}
}

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 32 << 10 // bytes of request line and header
)

// Serve answers on l, with the trust that TrustOf says, until ctx ends. Then it
// takes no new requests, lets those under way finish for at most the grace
// period, and cuts what is left. When it returns, none of l's requests runs any
// more. It returns an error only if l fails before ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h := s.handler(ctx, TrustOf(l.Addr()))
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.header, // and of the TLS handshake
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		// "OPTIONS *" is refused like every target that is no path.
		DisableGeneralOptionsHandler: true,
		// Who takes nothing from a connection of HTTP/2 also holds up what would end
		// its requests.
		HTTP2: &http.HTTP2Config{WriteByteTimeout: s.pace},
	}
	if _, ok := l.Addr().(*net.TCPAddr); ok {
		srv.ConnState = newConns(s).changed
	}
	failed := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { failed <- srv.Serve(l) })
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("http: %w", err)
	case <-ctx.Done():
		grace, stop := context.WithTimeout(base, s.grace)
		if srv.Shutdown(grace) != nil {
			s.logger.Warn("requests are cut, as they did not finish in time", "grace", s.grace, "listener", l.Addr())
		}
		stop()
	}
	cancel()
	srv.Close() // fails only if the listener is closed twice
	running.Wait()
	h.gate.close()
	return err
}

// Handler returns what answers requests that came in with a trust. Serve is
// what sets the limits of connections; this is for those who serve themselves.
func (s *Server) Handler(t Trust) http.Handler {
	return s.handler(context.Background(), t)
}

// handler returns what answers until stop ends, and what is under way then.
func (s *Server) handler(stop context.Context, t Trust) *handler {
	return &handler{server: s, echo: s.routes(t), gate: newGate(), stop: stop}
}

// handler is what stands around the routes: the writer, the pace of bodies, the
// metrics, and what becomes of a panic.
type handler struct {
	server *Server
	echo   *echo.Echo
	gate   *gate
	stop   context.Context
}

func (h *handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h.server.harden(rw.Header(), r)
	if !h.gate.enter() {
		rw.Header().Set("Connection", "close")
		http.Error(rw, closingText, http.StatusServiceUnavailable)
		return
	}
	defer h.gate.leave()
	w := writers.Get().(*writer)
	now := time.Now()
	*w = writer{ResponseWriter: rw, pace: h.server.pace, stop: h.stop, start: now, client: h.server.clientAddr(r), unlimited: h.server.unlimited(r), multiplexed: r.ProtoMajor > 1}
	if !w.multiplexed {
		w.extend()
	}
	if r.ContentLength != 0 {
		b := &body{ReadCloser: r.Body, conn: http.NewResponseController(rw), pace: h.server.pace, lingers: r.ProtoMajor == 1 && r.Header.Get("Expect") != ""}
		paced := *r // net/http must find its own body in r, to see whether the client still waits for leave to send it
		paced.Body, r = b, &paced
		defer b.leave()
	}
	defer func() {
		if cause := recover(); cause != nil {
			h.panicked(w, r, cause)
		}
		w.extend() // for what net/http has yet to send
		h.server.observe(w, r, false)
		w.ResponseWriter = nil
		writers.Put(w)
	}()
	if err := checkForm(r); err != nil {
		if belowGo(r) {
			w.kind = kindMalformed
		}
		h.server.refuse(w, r, err)
		return
	}
	h.echo.ServeHTTP(w, r)
}

// panicked answers for a handler that panicked, or cuts the connection if it had
// begun to answer.
func (h *handler) panicked(w *writer, r *http.Request, cause any) {
	if cause != http.ErrAbortHandler {
		h.server.logger.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", cause, "stack", string(debug.Stack()))
		if w.status == 0 {
			sendProblem(w, r, internal)
			return
		}
	}
	h.server.observe(w, r, true)
	w.ResponseWriter = nil
	panic(http.ErrAbortHandler)
}

// observe counts a request whose handler has ended, and keeps it if it is one for
// the access log. One that is cut is a failure of the node.
func (s *Server) observe(w *writer, r *http.Request, cut bool) {
	if s.access.wants(w.kind, w.access.kept) && r.Method == http.MethodGet {
		s.access.note(Access{
			Time: w.start, Client: clientName(w.client), Repo: w.access.repo.String(), Via: w.access.member(), Actor: w.who.User(), Token: w.who.TokenID(),
			Module: w.access.version.Path, Version: w.access.version.Version,
			Kind: w.kind.String(), Status: cmp.Or(w.status, http.StatusOK), Bytes: w.sent, Cut: cut,
		})
	}
	s.noteAudit(w, r, cut)
	if cut {
		w.status = http.StatusInternalServerError
	}
	s.metrics.observe(w)
}

// routes returns the routes for requests that came in with a trust.
func (s *Server) routes(t Trust) *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard) // what there is to say is said by this package
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.failed
	e.Use(s.audited, s.authenticate(t), ownPages(), s.goImport) // what is refused counts, too

	get(e, "/go", s.module)
	get(e, modulesPrefix+"*", s.module)
	get(e, atLeastPrefix+"*", s.moduleAtLeast)
	get(e, "/livez", s.livez)
	get(e, "/readyz", s.readyz)
	get(e, "/metrics", s.showMetrics)
	get(e, "/api/v1/status", s.status)
	get(e, "/api/v1/replication", s.replication)
	get(e, "/api/v1/replication/stream", s.replicationStream)

	get(e, "/api/v1/repos", s.listRepos)
	e.POST("/api/v1/repos", s.createRepo)
	get(e, "/api/v1/repos/:repo", s.showRepo)
	e.PATCH("/api/v1/repos/:repo", s.changeRepo)
	e.DELETE("/api/v1/repos/:repo", s.deleteRepo)
	e.POST("/api/v1/repos/:repo/restore", s.restoreRepo)
	e.PUT("/api/v1/repos/:repo/modules/*", s.publish)
	e.DELETE("/api/v1/repos/:repo/modules/*", s.hide)
	e.POST("/api/v1/repos/:repo/publications", s.publishAll)

	get(e, "/api/v1/sites", s.listSites)
	e.POST("/api/v1/sites", s.invite)
	e.DELETE("/api/v1/sites/:site", s.removeSite)
	e.POST("/api/v1/leave", s.leave)
	e.POST("/api/v1/homes", s.moveHome)
	e.POST("/api/v1/epoch", s.newEpoch)
	get(e, "/api/v1/diff/:site", s.diff)
	get(e, "/api/v1/blocks", s.listBlocks)
	e.POST("/api/v1/blocks", s.addBlock)
	e.DELETE("/api/v1/blocks", s.removeBlock)

	get(e, "/api/v1/log", s.log)
	get(e, "/api/v1/fetched", s.fetched)
	get(e, "/api/v1/audit", s.listAudit)
	s.routeRemotes(e)
	s.routeOIDC(e)
	s.routeWebhooks(e)
	s.routeIdentities(e)
	s.routeArtifactory(e)
	e.POST("/api/v1/verify", s.verify)
	e.POST("/api/v1/rebuild", s.rebuild)
	return e
}

// routeRemotes adds the routes about remote repositories and what came from
// upstreams.
func (s *Server) routeRemotes(e *echo.Echo) {
	e.POST("/api/v1/repos/:repo/refresh", s.refresh)
	e.DELETE("/api/v1/repos/:repo/cached", s.evict)
	get(e, "/api/v1/repos/:repo/pending", s.pending)
	e.POST("/api/v1/repos/:repo/times", s.seedTimes)
	e.POST("/api/v1/repos/:repo/settle", s.settle)
	e.PUT("/api/v1/repos/:repo/imports/*", s.importVersion)
	e.POST("/api/v1/repos/:repo/imports/missing", s.importMissing)
	get(e, "/api/v1/upstreams", s.listUpstreams)
	get(e, "/api/v1/drift", s.listDrift)
	e.POST("/api/v1/purges", s.purge)
	get(e, "/api/v1/offline", s.showOffline)
	e.PUT("/api/v1/offline", s.setOffline)
}

// get routes GET and HEAD, which echo does not take for one.
func get(e *echo.Echo, path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) {
	e.GET(path, h, m...)
	e.HEAD(path, h, m...)
}

// failed answers with the error of a handler.
func (s *Server) failed(err error, c echo.Context) {
	s.refuse(c.Response().Writer.(*writer), c.Request(), err)
}

// belowGo reports whether a request gets errors as the go command wants them.
func belowGo(r *http.Request) bool {
	return r.URL.Path == "/go" || strings.HasPrefix(r.URL.Path, modulesPrefix) || strings.HasPrefix(r.URL.Path, atLeastPrefix)
}

// refuse answers with an error: in text, which the go command shows, to those who read
// modules, but for the JFrog CLI, or ask where they are; else in JSON. An answer that has begun is cut, so that it isn't taken for
// whole.
func (s *Server) refuse(w *writer, r *http.Request, err error) {
	module := readsModules(r)
	f := failureOf(r.Context(), err, module)
	if w.audit != nil {
		w.audit.Code = f.code
	}
	if h := w.Header(); f.status == http.StatusMethodNotAllowed && h["Allow"] == nil {
		h["Allow"] = readsOnly
	}
	if f.internal {
		s.logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	if f.status == http.StatusUnauthorized {
		w.Header()["Www-Authenticate"] = basicRealm
	}
	switch {
	case isArtifactory(r) && (!module || isJFrogCLI(r)):
		sendArtifactoryProblem(w, r, f)
		return
	case !module && !asksImport(r):
		sendProblem(w, r, f)
		return
	case f.status == http.StatusUnauthorized && !s.overTLS(r):
		f.text += "\nthe go command sends credentials over https only"
	}
	h := w.Header()
	h["Cache-Control"] = f.cache(err)
	f.retry(h)
	send(w, r, f.status, typeText, []byte(plainText(f.text)))
}

// retry says when to try again, if that is known.
func (f failure) retry(h http.Header) {
	if f.status == http.StatusServiceUnavailable || f.status == http.StatusTooManyRequests {
		h["Retry-After"] = retryAfter
	}
}

var basicRealm = []string{`Basic realm="registry-node", charset="UTF-8"`}

var retryAfter = []string{"5"} // seconds
