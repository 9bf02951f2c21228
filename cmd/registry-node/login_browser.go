package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// browser is where an issuer sends the browser back to.
type browser struct {
	url    string // of this machine alone
	state  string // that the issuer must send back
	issuer string
	server *http.Server
	came   chan came // holds one
	ended  chan struct{}
}

// came is what the browser came back with.
type came struct {
	code string
	err  error
}

// awaitBrowser listens for the browser; close ends it.
func awaitBrowser(issuer string) (*browser, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &browser{url: "http://" + l.Addr().String() + "/callback", state: rand.Text(), issuer: issuer, came: make(chan came, 1), ended: make(chan struct{})}
	b.server = &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	go func() {
		defer close(b.ended)
		b.server.Serve(l)
	}()
	return b, nil
}

// wait returns the code with which the issuer sent the browser.
func (b *browser) wait(ctx context.Context) (code string, err error) {
	select {
	case c := <-b.came:
		return c.code, c.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", fmt.Errorf("the browser did not come back within %v", loginPatience)
		}
		return "", context.Cause(ctx)
	}
}

// close lets the browser have its page, for a moment.
func (b *browser) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if b.server.Shutdown(ctx) != nil {
		b.server.Close()
	}
	<-b.ended
}

// ServeHTTP takes the one request that knows the state; any page in the browser
// can make others.
func (b *browser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.URL.Path != "/callback" || r.Method != http.MethodGet || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(b.state)) != 1 {
		http.Error(w, "This is not the login that registry-node waits for.", http.StatusBadRequest)
		return
	}
	c := came{code: q.Get("code")}
	switch iss := q.Get("iss"); { // RFC 9207
	case iss != "" && iss != b.issuer:
		c.err = fmt.Errorf("the browser comes from %q", iss)
	case q.Get("error") != "":
		c.err = fmt.Errorf("it says %q", oneLine(q.Get("error")+" "+q.Get("error_description")))
	case c.code == "":
		c.err = errors.New("the browser came back without a code")
	}
	select {
	case b.came <- c:
	default: // it came before
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	if c.err != nil {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "You are not signed in. The terminal says why.\n")
		return
	}
	io.WriteString(w, "You can close this page; the terminal goes on.\n")
}
