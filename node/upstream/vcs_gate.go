package upstream

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// gate is the only way out of the commands: an HTTP proxy on loopback. Each
// command has a permit, which is two secrets in two proxy URLs, told in the
// environment of that command, so that no other process of this machine can use
// the gate:
//
//   - discovery is for the go command. It answers what that asks to find out
//     where a module path leads, with the target that was checked, and refuses
//     all else.
//   - tunnel is for git. It leads to the host of the target, by https to any
//     address that may be reached, and by plain http only if the target is so.
type gate struct {
	reach  *reach
	server *http.Server
	addr   string
	served chan struct{} // closed when the server has ended

	mu      sync.Mutex
	permits map[string]*permit // by name, the user of the proxy URLs; guarded by mu
}

// permit is what one command may do at the gate.
type permit struct {
	discovery, tunnel *url.URL
	token, gitToken   string

	pages map[string]string // answers for go-import, by host and path
	host  string            // host:port of the target
	plain bool              // the target is plain http

	ctx    context.Context // ends with the permit, and its connections with it
	cancel context.CancelFunc

	mu      sync.Mutex
	conns   sync.WaitGroup // tunnels; Add under mu, while ctx is alive
	refusal error          // the first that a rule of this node stopped; guarded by mu
}

func openGate(r *reach) (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy for the commands: %w", err)
	}
	g := &gate{reach: r, addr: l.Addr().String(), served: make(chan struct{}), permits: make(map[string]*permit)}
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	go func() { // ends when close closes the listener
		defer close(g.served)
		g.server.Serve(l)
	}()
	return g, nil
}

func (g *gate) close() {
	g.server.Close()
	<-g.served
}

// admit returns a permit for a command that fetches s from base. Who is admitted
// dismisses the permit.
func (g *gate) admit(ctx context.Context, s source, base *url.URL) *permit {
	p := &permit{
		token: rand.Text(), gitToken: rand.Text(),
		pages: pagesOf(s), host: hostPort(base), plain: base.Scheme == "http",
	}
	name := rand.Text()
	p.discovery = &url.URL{Scheme: "http", Host: g.addr, User: url.UserPassword(name, p.token)}
	p.tunnel = &url.URL{Scheme: "http", Host: g.addr, User: url.UserPassword(name, p.gitToken)}
	p.ctx, p.cancel = context.WithCancel(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.permits[name] = p
	return p
}

// dismiss ends p and waits for its connections to end.
func (g *gate) dismiss(p *permit) {
	g.mu.Lock()
	delete(g.permits, p.tunnel.User.Username())
	g.mu.Unlock()
	p.cancel()
	p.mu.Lock() // a connection that saw ctx alive has called Add
	conns := &p.conns
	p.mu.Unlock()
	conns.Wait()
}

// pagesOf returns the answers that make the go command find what was checked.
func pagesOf(s source) map[string]string {
	if s.static {
		return nil
	}
	content := strings.TrimSpace(strings.Join([]string{s.tag.prefix, s.tag.vcs, s.tag.target, s.tag.subdir}, " "))
	page := `<html><head><meta name="go-import" content="` + html.EscapeString(content) + `"></head></html>`
	return map[string]string{s.path: page, s.tag.prefix: page}
}

// permit returns the permit that hr shows, and whether it is git's.
func (g *gate) permit(hr *http.Request) (p *permit, git bool) {
	// ProxyAuthorization has no accessor of its own.
	basic := http.Request{Header: http.Header{"Authorization": hr.Header["Proxy-Authorization"]}}
	name, token, ok := basic.BasicAuth()
	if !ok {
		return nil, false
	}
	g.mu.Lock()
	p = g.permits[name]
	g.mu.Unlock()
	switch {
	case p == nil:
		return nil, false
	case subtle.ConstantTimeCompare([]byte(token), []byte(p.gitToken)) == 1:
		return p, true
	case subtle.ConstantTimeCompare([]byte(token), []byte(p.token)) == 1:
		return p, false
	}
	return nil, false
}

// ServeHTTP serves one request of a command.
func (g *gate) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	p, git := g.permit(hr)
	switch {
	case p == nil:
		w.Header().Set("Proxy-Authenticate", `Basic realm="registry-node"`)
		http.Error(w, "this proxy is for the commands of registry-node", http.StatusProxyAuthRequired)
	case !git:
		p.discover(w, hr)
	case hr.Method == http.MethodConnect:
		g.connect(w, hr, p)
	default:
		g.forward(w, hr, p)
	}
}

// discover answers what the go command asks. All but the known pages is refused
// with a status that it does not take for absence.
func (p *permit) discover(w http.ResponseWriter, hr *http.Request) {
	page, ok := p.pages[strings.TrimSuffix(hr.URL.Host+hr.URL.Path, "/")]
	if hr.Method != http.MethodGet || hr.URL.Scheme != "http" || hr.URL.RawQuery != "go-get=1" || !ok {
		http.Error(w, "not known here", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, page)
}

// refuse notes that a rule of this node stopped the command.
func (p *permit) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusal == nil {
		p.refusal = err
	}
}

// refused returns the first error that refuse noted.
func (p *permit) refused() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusal
}

// connect leads git to the host of its target.
func (g *gate) connect(w http.ResponseWriter, hr *http.Request, p *permit) {
	addr := strings.ToLower(hr.Host)
	if addr != p.host || p.plain {
		p.refuse(fmt.Errorf("%w: git asked for %s, which is not the host of the repository that was checked", errPolicy, clip(addr)))
		http.Error(w, "not the host of the repository", http.StatusForbidden)
		return
	}
	out, err := g.reach.tunnel(p.ctx, addr)
	if err != nil {
		if errors.Is(err, errPolicy) {
			p.refuse(err)
		}
		http.Error(w, "no connection", http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "no connection", http.StatusInternalServerError)
		return
	}
	defer in.Close()
	in.SetDeadline(time.Time{})
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	p.join(in, buffered, out)
}

// join copies both ways until one side ends or the permit does.
func (p *permit) join(in net.Conn, fromIn io.Reader, out net.Conn) {
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		return
	}
	p.conns.Add(1)
	p.mu.Unlock()
	defer p.conns.Done()
	stop := context.AfterFunc(p.ctx, func() {
		in.Close()
		out.Close()
	})
	defer stop()
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(in, out)
		in.Close() // git never waits for a host that has hung up
		out.Close()
	})
	io.Copy(out, fromIn)
	in.Close()
	out.Close()
	back.Wait()
}

// forward leads git to a target of plain http.
func (g *gate) forward(w http.ResponseWriter, hr *http.Request, p *permit) {
	if !p.plain || hr.URL.Scheme != "http" || hostPort(hr.URL) != p.host {
		p.refuse(fmt.Errorf("%w: git asked for %s, which is not the repository that was checked", errPolicy, safeURL(hr.URL)))
		http.Error(w, "not the host of the repository", http.StatusForbidden)
		return
	}
	proxy := httputil.ReverseProxy{
		Rewrite:       func(out *httputil.ProxyRequest) { out.Out.Header.Del("Proxy-Authorization") },
		Transport:     g.reach.web.Transport,
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if errors.Is(err, errPolicy) {
				p.refuse(err)
			}
			http.Error(w, "no connection", http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(w, hr)
}
