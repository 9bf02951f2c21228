package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	modzip "golang.org/x/mod/zip"
)

// ViaHeader is the request header that carries Options.Via. A node that is asked
// by itself, because its upstream is (a proxy for) itself, finds its own id.
const ViaHeader = "Registry-Node-Via"

// Limits of bodies in bytes, after decompression. Longer ones are ErrBadAnswer.
const (
	maxList = 16 << 20
	maxInfo = 1 << 20
)

// Options bound what a Client does. A zero field means the default.
type Options struct {
	ConnectTimeout time.Duration // for a TCP connection; default 5 s
	HeaderTimeout  time.Duration // from request to response header; default 30 s, as first lookups are slow
	StallTimeout   time.Duration // a body of which nothing arrives for so long is cut; default 30 s
	TotalTimeout   time.Duration // for one request to one entry, body included; default 10 min; for all but zips at most twice HeaderTimeout

	// OfflineFor is for how long an entry is not asked after failures in a row;
	// default 30 s, at most 1 h, never if negative.
	OfflineFor time.Duration

	MaxRequests int         // requests at a time; default 64; who waits for longer than HeaderTimeout fails
	UserAgent   string      // default "registry-node"
	Via         string      // id of this node, sent as ViaHeader; not sent if empty
	TLS         *tls.Config // for https upstreams; default: the system's roots; client certificates in it are not used

	// Credential returns the credential for the origin of an entry, or of the
	// proxy: u has scheme and host, in lower case, and the port unless the scheme
	// implies it. It is asked for each request. The checksum database gets one
	// only on the origin of an entry. Where it returns the zero Credential, that of
	// the entry's URL is used. Its error is that of the request, which is not made.
	//
	// A credential goes to its origin only, over https only, and not along with a
	// redirect away from it; none is in an error.
	Credential func(u *url.URL) (Credential, error)
	// InsecureHosts are "host" or "host:port" to which credentials may go over
	// plain http. Loopback always is.
	InsecureHosts []string

	Proxy  Proxy  // default: the environment's
	Inside Inside // addresses that redirects may lead to though they are inside
}

func (o Options) withDefaults() Options {
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 5*time.Second)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 30*time.Second)
	o.StallTimeout = cmp.Or(o.StallTimeout, 30*time.Second)
	o.TotalTimeout = cmp.Or(o.TotalTimeout, 10*time.Minute)
	o.OfflineFor = offlineFor(o.OfflineFor)
	o.MaxRequests = cmp.Or(o.MaxRequests, 64)
	o.UserAgent = cmp.Or(o.UserAgent, "registry-node")
	return o
}

// Client asks the upstreams of a list. It is safe for concurrent use. It never
// retries; net/http may repeat a request on a connection that was closed while
// idle.
//
// All methods return errors of the classes ErrNotFound, ErrForbidden,
// ErrTimeout, ErrUnavailable and ErrBadAnswer, or one without a class that wraps
// context.Canceled. A path or version that is malformed is ErrNotFound, and
// nothing is asked.
type Client struct {
	list       List
	opts       Options
	http       *http.Client
	guard      *guard
	configured map[string]bool // the origins of the entries
	breakers   *breakers
	slots      chan struct{} // one for each request under way
	zips       chan struct{} // one for each zip under way, fewer than slots
	maxZip     int64         // less than modzip.MaxZipFile only in tests
}

// New returns a client for list. Close it when it is no longer used.
func New(list List, opts Options) *Client {
	opts = opts.withDefaults()
	c := &Client{
		list:       list,
		opts:       opts,
		guard:      newGuard(opts.ConnectTimeout, opts.Inside),
		configured: make(map[string]bool),
		breakers:   newBreakers(opts.OfflineFor),
		slots:      make(chan struct{}, opts.MaxRequests),
		zips:       make(chan struct{}, max(1, opts.MaxRequests*3/4)),
		maxZip:     modzip.MaxZipFile,
	}
	for _, e := range list.entries {
		c.guard.trust(e.url)
		c.configured[Origin(e.url)] = true
	}
	c.http = &http.Client{CheckRedirect: c.guard.checkRedirect, Transport: newBound(c.transport)}
	return c
}

// transport returns a new transport.
func (c *Client) transport() *http.Transport {
	tlsConfig := &tls.Config{}
	if c.opts.TLS != nil {
		tlsConfig = c.opts.TLS.Clone()
	}
	tlsConfig.MinVersion = max(tlsConfig.MinVersion, tls.VersionTLS12)
	// These would be shown to whoever asks, where a redirect leads.
	tlsConfig.Certificates, tlsConfig.GetClientCertificate = nil, nil
	return &http.Transport{
		Proxy:                  c.proxyFor,
		OnProxyConnectResponse: proxyAnswered,
		DialContext:            c.guard.dial,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    2 * c.opts.ConnectTimeout,
		ResponseHeaderTimeout:  c.opts.HeaderTimeout,
		MaxIdleConns:           2 * c.opts.MaxRequests,
		MaxIdleConnsPerHost:    c.opts.MaxRequests,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// Close closes idle connections. Requests under way end with their contexts.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// List returns the versions that the upstream lists for a module path: canonical
// ones that fit the path, no pseudo-versions, sorted by semver, each once. A
// module may exist and have none.
func (c *Client) List(ctx context.Context, path string) ([]string, error) {
	rq, err := newRequest("list", path, "@v/list", maxList)
	if err != nil {
		return nil, err
	}
	rq.lines = true
	return walk(ctx, c, rq.op, func(e entry) ([]string, error) {
		return readParsed(ctx, c, e, rq, func(b []byte) ([]string, error) { return parseList(path, b) })
	})
}

// Latest returns the answer to @latest, an endpoint that an upstream need not
// have: ErrNotFound says nothing about the module.
func (c *Client) Latest(ctx context.Context, path string) (Info, error) {
	return c.info(ctx, "latest", path, "", "@latest")
}

// Query returns what a branch, tag, commit or version prefix stands for.
func (c *Client) Query(ctx context.Context, path, query string) (Info, error) {
	return c.version(ctx, module.Version{Path: path, Version: query}, "")
}

// Info returns the info of mv. If mv is a canonical version of its path, then
// the answer is for that version; otherwise Info is Query.
func (c *Client) Info(ctx context.Context, mv module.Version) (Info, error) {
	want := ""
	if mv.Version == module.CanonicalVersion(mv.Version) && module.Check(mv.Path, mv.Version) == nil {
		want = mv.Version
	}
	return c.version(ctx, mv, want)
}

func (c *Client) version(ctx context.Context, mv module.Version, want string) (Info, error) {
	file, err := versionFile(mv, ".info")
	if err != nil {
		return Info{}, &Error{Op: "info", Class: ErrNotFound, Err: err}
	}
	return c.info(ctx, "info", mv.Path, want, file)
}

func (c *Client) info(ctx context.Context, op, path, want, file string) (Info, error) {
	rq, err := newRequest(op, path, file, maxInfo)
	if err != nil {
		return Info{}, err
	}
	return walk(ctx, c, op, func(e entry) (Info, error) {
		return readParsed(ctx, c, e, rq, func(b []byte) (Info, error) { return parseInfo(path, want, b) })
	})
}

// Mod returns the go.mod of mv, a canonical version, as the upstream sent it.
// Its module line may name another path than mv's (a fork that is used through
// replace); whether it is the right one is for the checksum database to say.
func (c *Client) Mod(ctx context.Context, mv module.Version) ([]byte, error) {
	rq, err := canonicalRequest("mod", mv, ".mod", modzip.MaxGoMod)
	if err != nil {
		return nil, err
	}
	data, err := walk(ctx, c, rq.op, func(e entry) ([]byte, error) {
		return readParsed(ctx, c, e, rq, func(b []byte) ([]byte, error) { return b, checkGoMod(b) })
	})
	if mv.Path == toolchainPath && errors.Is(err, ErrNotFound) {
		return c.toolchainMod(ctx, mv)
	}
	return data, err
}

// readParsed reads an answer of e and parses it; parse's errors are ErrBadAnswer.
func readParsed[T any](ctx context.Context, c *Client, e entry, rq request, parse func([]byte) (T, error)) (T, error) {
	var zero T
	a, err := c.open(ctx, e, rq)
	if err != nil {
		return zero, err
	}
	defer a.close()
	body, err := a.readAll()
	if err != nil {
		return zero, err
	}
	v, err := parse(body)
	if err != nil {
		return zero, a.bad(err)
	}
	return v, nil
}

// request is what is asked of an entry.
type request struct {
	op    string
	path  string // below the entry's URL, in the escaped form of package module
	limit int64  // of the body, in bytes
	exact bool   // the body may not come compressed
	lines bool   // the body is lines, so a missing newline can show that it is cut
}

func newRequest(op, path, file string, limit int64) (request, error) {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return request{}, &Error{Op: op, Class: ErrNotFound, Err: err}
	}
	return request{op: op, path: escaped + "/" + file, limit: limit}, nil
}

// canonicalRequest is a request for a file that only canonical versions have.
func canonicalRequest(op string, mv module.Version, suffix string, limit int64) (request, error) {
	file, err := versionFile(mv, suffix)
	if err == nil && mv.Version != module.CanonicalVersion(mv.Version) {
		err = fmt.Errorf("version %q of %s is not canonical", mv.Version, mv.Path)
	}
	if err != nil {
		return request{}, &Error{Op: op, Class: ErrNotFound, Err: err}
	}
	return newRequest(op, mv.Path, file, limit)
}

func versionFile(mv module.Version, suffix string) (string, error) {
	escaped, err := module.EscapeVersion(mv.Version)
	if err != nil {
		return "", err
	}
	return "@v/" + escaped + suffix, nil
}

// isListed reports whether v may be in the version list of path.
func isListed(path, v string) bool {
	if v != module.CanonicalVersion(v) || module.IsPseudoVersion(v) || module.Check(path, v) != nil {
		return false
	}
	if semver.Build(v) == "" {
		return true
	}
	// +incompatible, of which module.Check knows only half the rule.
	_, major, _ := module.SplitPathVersion(path)
	return major == "" && semver.Major(v) != "v0" && semver.Major(v) != "v1"
}
