package node_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
)

// message is what a receiver of webhooks was sent.
type message struct {
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	Repository    string          `json:"repository"`
	Module        string          `json:"module"`
	ModuleVersion string          `json:"moduleversion"`
	SpecVersion   string          `json:"specversion"`
	Data          json.RawMessage `json:"data"`
}

// log returns the site whose log it is of.
func (m message) log() string { return m.ID[:strings.IndexByte(m.ID, '/')] }

func (m message) String() string { return m.Type + " " + m.Module }

// receiver takes what webhooks are sent, over TLS, and checks that it is signed.
type receiver struct {
	t     testing.TB
	addr  string
	cert  tls.Certificate
	roots *x509.CertPool
	srv   *httptest.Server // nil: it is down

	mu      sync.Mutex                                                     // guards what follows
	got     []message                                                      // that was answered with 2xx
	refused []message                                                      // with anything else
	answer  func(http.ResponseWriter, *http.Request, message) (status int) // 0: none; nil: 204
}

const hookPath = "/in?token=" + canary

// newReceiver returns one that is up.
func newReceiver(t testing.TB) *receiver {
	r := &receiver{t: t}
	first := httptest.NewTLSServer(nil) // for its certificate
	r.cert, r.roots, r.addr = first.TLS.Certificates[0], x509.NewCertPool(), "127.0.0.1:0"
	r.roots.AddCert(first.Certificate())
	first.Close()
	r.up()
	t.Cleanup(r.down)
	return r
}

func (r *receiver) up() {
	r.t.Helper()
	var l net.Listener
	waitFor(r.t, "the port, which a connection may have for a while", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", r.addr)
		return err == nil
	})
	r.addr = l.Addr().String()
	r.srv = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.srv.Listener.Close()
	r.srv.Listener, r.srv.TLS = l, &tls.Config{Certificates: []tls.Certificate{r.cert}}
	r.srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that are cut
	r.srv.StartTLS()
}

func (r *receiver) down() {
	if r.srv != nil {
		r.srv.CloseClientConnections()
		r.srv.Close()
		r.srv = nil
	}
}

func (r *receiver) url() string { return "https://" + r.addr + hookPath }

func (r *receiver) answers(f func(http.ResponseWriter, *http.Request, message) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) serve(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Errorf("%v in %s", err, body)
	}
	if err := signed(q.Header, m.ID, body); err != nil || m.SpecVersion != "1.0" || q.Header.Get("Content-Type") != "application/cloudevents+json" {
		r.t.Errorf("%v: %v, %s", err, q.Header, body)
	}
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	status := http.StatusNoContent
	if answer != nil {
		status = answer(w, q, m)
	}
	r.mu.Lock()
	if status/100 == 2 {
		r.got = append(r.got, m)
	} else {
		r.refused = append(r.refused, m)
	}
	r.mu.Unlock()
	if status == 0 { // or who has given up might still read a 200
		panic(http.ErrAbortHandler)
	}
	if status > 0 {
		w.WriteHeader(status)
	}
}

// hookKey is the key that all webhooks here are signed with.
var hookKey = node.NewWebhookKey()

// signed checks a signature as Standard Webhooks says.
func signed(h http.Header, id string, body []byte) error {
	seconds, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age < -time.Minute || age > time.Minute {
		return fmt.Errorf("time %q: %v", h.Get("webhook-timestamp"), err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(hookKey, "whsec_"))
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", h.Get("webhook-id"), seconds, body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || h.Get("webhook-signature") != want || h.Get("webhook-id") != id {
		return fmt.Errorf("signature %q, want %q", h.Get("webhook-signature"), want)
	}
	return nil
}

// messages returns what was taken, of one log.
func (r *receiver) messages(log string) (list []message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.got {
		if log == "" || m.log() == log {
			list = append(list, m)
		}
	}
	return list
}

// modules returns the modules that were told of, of one log, in order.
func (r *receiver) modules(log string) string {
	var list []string
	for _, m := range r.messages(log) {
		list = append(list, strings.TrimPrefix(m.Module, "m.test/"))
	}
	return strings.Join(list, " ")
}

// wants waits until the receiver has been told of modules, in this order.
func (r *receiver) wants(log, modules string) {
	r.t.Helper()
	waitFor(r.t, fmt.Sprintf("%q of log %s", modules, log), func() bool {
		got := r.modules(log)
		if !strings.HasPrefix(modules, got) {
			r.t.Fatalf("log %q: told of %q, want %q", log, got, modules)
		}
		return got == modules
	})
}

// hooked returns the options of a node that sends to the receiver without delay.
func (r *receiver) hooked(o node.Options) node.Options {
	return o.Webhooks(r.roots, time.Millisecond, patience)
}

// hooks is a site with a receiver.
type hooks struct {
	*receiver
	dir  string
	log  *testLog
	node *node.Node
}

// newHooked returns a site that is open, with the webhook "ci".
func newHooked(t testing.TB, w events.Webhook) *hooks {
	h := &hooks{receiver: newReceiver(t), dir: t.TempDir()}
	opts, _ := options(t)
	if _, err := node.Init(t.Context(), h.dir, site("a"), node.Fresh{Repos: defaults(nil)}, opts); err != nil {
		t.Fatal(err)
	}
	h.open()
	setHookSecret(t, h.dir)
	h.put(w)
	return h
}

func (h *hooks) open() {
	h.t.Helper()
	opts, log := options(h.t)
	n, err := node.Open(h.t.Context(), h.dir, h.hooked(opts))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { n.Close() })
	h.node, h.log = n, log
}

// wants waits until the receiver has been told of modules, and the node has seen all
// its answers: before that, who ends it has the last one told again.
func (h *hooks) wants(log, modules string) {
	h.t.Helper()
	h.receiver.wants(log, modules)
	sawAnswers(h.t, h.node)
}

// sawAnswers waits until nothing is left for a node to tell.
func sawAnswers(t testing.TB, n *node.Node) {
	t.Helper()
	waitFor(t, "the answers to be seen", func() bool {
		for _, l := range must(n.Deliveries(op, "ci")).Logs {
			if l.LagEntries > 0 || !l.Due.IsZero() {
				return false
			}
		}
		return true
	})
}

// put sets the webhook "ci", which goes to the receiver if it says nothing else.
func (h *hooks) put(w events.Webhook) {
	h.t.Helper()
	if w.URL == "" {
		w.URL = h.url()
	}
	w.Secret = "hook"
	if _, _, err := h.node.PutWebhook(h.t.Context(), op, "ci", w); err != nil {
		h.t.Fatal(err)
	}
}

func setHookSecret(t testing.TB, dir string) {
	t.Helper()
	secrets, err := node.OpenSecrets(dir)
	if err == nil {
		err = secrets.Set(name("hook"), must(node.ParseSecret([]byte(`{"webhook":{"key":"`+hookKey+`"}}`))))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stateBlocks states blocks of modules m.test/…, in one entry for each argument: those
// events that any site may state.
func stateBlocks(t testing.TB, n *node.Node, entries ...string) {
	t.Helper()
	for _, e := range entries {
		var bodies []events.Body
		for m := range strings.FieldsSeq(e) {
			bodies = append(bodies, events.VersionBlocked{Module: "m.test/" + m, Reason: "x"})
		}
		if err := n.Record(t.Context(), bodies...); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *hooks) deliveries() node.WebhookDeliveries {
	h.t.Helper()
	d, err := h.node.Deliveries(op, "ci")
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// reasons returns what a person should know of the site.
func (h *hooks) reasons() string {
	h.t.Helper()
	r, err := h.node.Replication(op)
	if err != nil {
		h.t.Fatal(err)
	}
	i := slices.IndexFunc(r.Sites, func(s node.SiteStatus) bool { return s.Self })
	return strings.Join(r.Sites[i].Reasons, "\n")
}
