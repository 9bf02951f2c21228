package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	serverEnv     = "REGISTRY_NODE_SERVER"
	tokenEnv      = "REGISTRY_NODE_TOKEN"
	defaultServer = "http://127.0.0.1:8080"
)

// target says which node a command speaks to.
type target struct {
	server string // URL
	token  string
	// tokenFile holds the token, or - for standard input.
	tokenFile string
	stdin     func() io.Reader
	data      string // directory; its admin.sock stands for server and token
	ca        string // PEM file with a certificate to trust
}

// addFlags adds the flags that choose the node to cmd and what is below it.
func (t *target) addFlags(cmd *cobra.Command) {
	fs := cmd.PersistentFlags()
	fs.StringVar(&t.server, "server", "", "`URL` of the node (default $"+serverEnv+" or "+defaultServer+")")
	fs.StringVar(&t.token, "token", "", "what says who you are (default $"+tokenEnv+", or what login stored); others on this machine can see it while the command runs, unlike with --token-file")
	fs.StringVar(&t.tokenFile, "token-file", "", "`file` that holds the token; - is standard input")
	t.stdin = cmd.InOrStdin
	must(cmd.MarkPersistentFlagFilename("token-file"))
	fs.StringVar(&t.data, "data", "", "data `directory` of a node that runs here, to speak to it as its administrator")
	must(cmd.MarkPersistentFlagDirname("data"))
	t.addCAFlag(cmd)
}

// must is for errors that only a mistake in this program can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// client speaks to one node.
type client struct {
	http  *http.Client
	base  *url.URL
	where string // for messages: the URL, or the socket
	token string
}

// client returns a client for the node; close it with close.
func (t *target) client() (*client, error) {
	if t.data != "" {
		if t.server != "" {
			return nil, usagef("--data and --server name two different ways to a node; give one")
		}
		return socketClient(t.data), nil
	}
	u, err := t.url()
	if err != nil {
		return nil, err
	}
	given, err := t.given()
	if err != nil {
		return nil, err
	}
	token, err := tokenFor(u, given)
	if err != nil {
		return nil, err
	}
	return t.clientTo(u, token)
}

// given returns the token that flags or the environment give, if they do.
func (t *target) given() (string, error) {
	switch {
	case t.token != "" && t.tokenFile != "":
		return "", usagef("--token and --token-file both give a token; give one")
	case t.tokenFile == "-":
		return readToken(t.stdin(), io.Discard, true)
	case t.tokenFile == "":
		return cmp.Or(t.token, os.Getenv(tokenEnv)), nil
	}
	f, err := os.Open(t.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer f.Close()
	token, err := readToken(f, io.Discard, true)
	if err != nil {
		return "", fmt.Errorf("--token-file %s: %w", t.tokenFile, err)
	}
	return token, nil
}

// url returns the URL of the node, where no --data names it.
func (t *target) url() (*url.URL, error) {
	server := cmp.Or(t.server, os.Getenv(serverEnv), defaultServer)
	u, err := url.Parse(strings.TrimRight(server, "/"))
	switch {
	case err != nil:
		return nil, usagef("server %q is not a URL", server)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, usagef("server %q is not a URL like %s", u.Redacted(), defaultServer)
	case u.User != nil:
		return nil, usagef("server %q holds a password; use --token-file or %s", u.Redacted(), tokenEnv)
	}
	return u, nil
}

// clientTo returns a client for the node at a URL.
func (t *target) clientTo(u *url.URL, token string) (*client, error) {
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	c := newClient(u, u.String(), token, dialer.DialContext)
	c.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return c, nil
}

// socketClient returns a client for the node that runs on the data directory
// dir.
func socketClient(dir string) *client {
	u := &url.URL{Scheme: "http", Host: "localhost"}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialAdmin(ctx, dir) }
	return newClient(u, filepath.Join(dir, adminSocket), "", dial)
}

func newClient(base *url.URL, where, token string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *client {
	return &client{base: base, where: where, token: token, http: &http.Client{
		Transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: dial,
			// A refusal arrives before a large body is sent in vain.
			ExpectContinueTimeout: 10 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   maxImportWorkers,
		},
		CheckRedirect: func(req *http.Request, _ []*http.Request) error {
			return fmt.Errorf("the server redirects to %s; name the right one", req.URL.Redacted())
		},
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// apiError is a refusal by the node.
type apiError struct {
	Status  int    // of HTTP
	Code    string // for programs; empty if the answer was not the API's
	Message string // for people
}

func (e *apiError) Error() string { return e.Message }

// call sends in as JSON, unless it is nil, and decodes the answer into out,
// unless it is nil.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := c.request(ctx, method, path, nil, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(req, out)
}

// do sends a request and decodes the answer into out, unless it is nil.
func (c *client) do(req *http.Request, out any) error {
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("answer from %s: %w", c.where, err)
	}
	return nil
}

// request makes a request; path is escaped already where it has to be.
func (c *client) request(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Request, error) {
	u := c.base.String() + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// send returns the answer if it is one of success; the caller closes its body.
// A refusal is an *apiError.
func (c *client) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", "registry-node/"+programVersion())
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp, c.where)
}

// unreachable explains why a request got no answer.
func (c *client) unreachable(err error) error {
	if e := new(url.Error); errors.As(err, &e) {
		err = e.Err // without the URL, which where says
	}
	if op := new(net.OpError); errors.As(err, &op) && op.Op == "dial" {
		return &dialError{fmt.Errorf("can't reach %s: %w; does `registry-node serve` run there?", c.where, err)}
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return fmt.Errorf("%s: %w; if it is a certificate of your own, name its file with --ca", c.where, err)
	}
	return fmt.Errorf("%s: %w", c.where, err)
}

// dialError says that there was no connection: the node got nothing.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// maxRefusal bounds what is read of a refusal, in bytes.
const maxRefusal = 64 << 10

func refusal(resp *http.Response, where string) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	var answer struct {
		Error struct{ Code, Message string }
	}
	if err == nil && json.Unmarshal(text, &answer) == nil && answer.Error.Message != "" {
		return &apiError{resp.StatusCode, answer.Error.Code, answer.Error.Message}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if len(line) > 200 || strings.HasPrefix(line, "<") {
		line = "no registry-node's answer"
	}
	return &apiError{resp.StatusCode, "", fmt.Sprintf("%s answers %s: %s", where, resp.Status, line)}
}

// progressLine is a line of the answer to long work: how far it is, and last
// what came of it.
type progressLine struct {
	What   string          `json:"what"`
	Done   uint64          `json:"done"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Code, Message string }
}

// work has the node do something long, shows how far it is, and decodes what
// came of it into out.
func (c *client) work(ctx context.Context, path string, p *progress, out any) error {
	req, err := c.request(ctx, http.MethodPost, path, nil, nil)
	if err != nil {
		return err
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer p.end()
	for lines := json.NewDecoder(resp.Body); ; {
		var l progressLine
		if err := lines.Decode(&l); err != nil {
			return fmt.Errorf("%s: the answer broke off before the end: %w", c.where, err)
		}
		switch {
		case l.Error != nil:
			return &apiError{resp.StatusCode, l.Error.Code, l.Error.Message}
		case l.Result != nil:
			io.Copy(io.Discard, resp.Body) // to its end: then the node is done with it
			return json.Unmarshal(l.Result, out)
		}
		p.show(l.What, l.Done)
	}
}
