package upstream

import (
	"errors"
	"net/http"
	"net/url"
	"sync"
)

// maxModClients bounds the clients that are kept for targets of kind mod.
const maxModClients = 64

// modClients are the Clients of targets of kind mod, by URL. Their connections
// and redirects are judged as all of a VCS.
type modClients struct {
	v *VCS

	mu      sync.Mutex
	clients map[string]*Client // guarded by mu
}

func newModClients(v *VCS) *modClients {
	return &modClients{v: v, clients: make(map[string]*Client)}
}

// of returns the client for u, which has been checked.
func (m *modClients) of(u *url.URL) (*Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.clients[u.String()]; ok {
		return c, nil
	}
	list, err := ParseList(u.String())
	if err != nil {
		return nil, &Error{Op: opPage, URL: safeURL(u), Class: ErrBadAnswer, Err: err}
	}
	if len(m.clients) >= maxModClients {
		m.closeLocked()
	}
	m.clients[u.String()] = m.client(list)
	return m.clients[u.String()], nil
}

// client returns a Client for a list of one URL. That URL is not configured, as
// those of other Clients are, but named by a page: all its hosts come under the
// rule for such hosts.
func (m *modClients) client(list List) *Client {
	r := m.v.reach
	c := New(list, Options{TLS: r.tls, Credential: r.credential, Proxy: r.through, Via: m.v.cfg.Via, OfflineFor: m.v.cfg.OfflineFor})
	c.guard = r.guard
	c.http = &http.Client{
		CheckRedirect: m.checkRedirect,
		Transport: newBound(func() *http.Transport {
			t := c.transport()
			t.DialContext = r.dial
			return t
		}),
	}
	return c
}

// checkRedirect judges each hop as if the tag had named it.
func (m *modClients) checkRedirect(hr *http.Request, via []*http.Request) error {
	if err := m.v.reach.guard.checkRedirect(hr, via); err != nil {
		return err
	}
	return errors.Join(m.v.reach.checkURL(hr.URL), m.v.allowed(hr.URL))
}

func (m *modClients) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closeLocked()
}

func (m *modClients) closeLocked() {
	for _, c := range m.clients {
		c.Close()
	}
	clear(m.clients)
}

// asked returns what ask returns of s's client. What a rule of this node stopped
// is ErrForbidden.
func asked[T any](s source, ask func(*Client) (T, error)) (T, error) {
	value, err := ask(s.mod)
	if e := asError(err); e != nil && errors.Is(e.Err, errPolicy) {
		return value, s.fail(ErrForbidden, e.Err)
	}
	return value, err
}
