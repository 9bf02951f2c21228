package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// roundTrip is an http.RoundTripper made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type readCloser struct {
	io.Reader
	io.Closer
}

// get returns the body of an answer, which has to be one of success.
func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v\n%s", url, resp.Status, err, body)
	}
	return string(body)
}

// answers starts a server that answers everything in one way.
func answers(t *testing.T, status int, contentType, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		args   string
		want   string
	}{
		{403, `{"error":{"code":"forbidden","message":"you may not"}}`, "status", "registry-node: status: you may not"},
		{502, "<html>gateway", "status", "answers 502 Bad Gateway: no registry-node's answer"},
		{500, "boom\nmore", "status", "answers 500 Internal Server Error: boom"},
		{404, `{"error":{}}`, "repo list", "answers 404 Not Found"},
		{200, "hello", "status", "invalid character"},
		{200, "", "status", "EOF"},
		{301, "", "status", "301"},
		{200, `{"what":"log","done":1}` + "\n", "verify", "the answer broke off before the end"},
		{200, `{"error":{"code":"internal","message":"the disk is gone"}}`, "verify", "verify: the disk is gone"},
		{200, `{"what":"log","done":1}` + "\n" + `{"error":{"code":"internal","message":"no"}}`, "rebuild", "rebuild: no"},
	} {
		url := answers(t, c.status, "application/json", c.body)
		refused(t, exitNo, append(strings.Fields(c.args), "--server", url), c.want)
	}
}

func TestBrokenLogIsAnError(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"id":"main/1/1/0"}`)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	r := try(t, "log", "--server", s.URL)
	if r.code != exitNo || !strings.Contains(r.stderr, "the log broke off") || r.stdout == "" {
		t.Errorf("%+v", r)
	}
}

func TestToken(t *testing.T) {
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		io.WriteString(w, `{"repositories":[]}`)
	}))
	t.Cleanup(s.Close)
	for _, c := range []struct{ env, flag, want string }{
		{"", "", ""}, {"fromenv", "", "Bearer fromenv"}, {"fromenv", "fromflag", "Bearer fromflag"},
	} {
		t.Setenv(tokenEnv, c.env)
		ok(t, "repo", "list", "--server", s.URL+"/", "--token", c.flag)
		if auth := <-got; auth != c.want {
			t.Errorf("token %q in the environment and %q as a flag: sent %q, want %q", c.env, c.flag, auth, c.want)
		}
	}
}

// TestRedirectsAreNotFollowed keeps the token from going where nobody sent it.
func TestRedirectsAreNotFollowed(t *testing.T) {
	s := httptest.NewServer(http.RedirectHandler("http://elsewhere.invalid/", http.StatusTemporaryRedirect))
	t.Cleanup(s.Close)
	refused(t, exitNo, []string{"repo", "list", "--server", s.URL}, "redirects to http://elsewhere.invalid/")
}
