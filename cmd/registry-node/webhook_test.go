package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// From the secret to an event that was refused and given up.
func TestWebhooksAtANode(t *testing.T) {
	configured(t)
	var status atomic.Int32
	status.Store(http.StatusOK)
	seen := make(chan string, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r.Header.Get("webhook-signature") + " " + string(body)
		http.Error(w, "said\x1b[2J", int(status.Load()))
	}))
	defer srv.Close()
	s := startedClosed(t, "serve", filepath.Join(t.TempDir(), "data"), "--init")
	t.Setenv(serverEnv, s.url)
	admin := func(args ...string) []string { return append(args, "--data", s.data) }

	if r := fed(t, "whsec_short\n", admin("secret", "set", "hook", "--kind", "webhook")...); r.code != exitNo || strings.Contains(r.stderr, "short") {
		t.Errorf("%+v", r)
	}
	refused(t, exitUsage, admin("secret", "set", "hook", "--kind", "basic"), "--kind is webhook")
	set := admin("webhook", "set", "ci", "--url", srv.URL+"/in?token=canary", "--secret", "hook", "--types", "version.blocked", "--modules", "evil.test/**")
	ok(t, set...)
	refused(t, exitNo, admin("webhook", "test", "ci"), "the secret hook is missing at this site")
	key := ok(t, admin("secret", "set", "hook", "--kind", "webhook", "--generate")...)
	if r := fed(t, key, admin("secret", "set", "hook", "--kind", "webhook")...); r.code != exitOK || r.stdout != "kept hook (webhook)\n" || !strings.HasPrefix(key, "whsec_") {
		t.Errorf("%q: %+v", key, r)
	}
	if out := ok(t, admin("webhook", "test", "ci")...); !strings.HasPrefix(out, "taken (200) after") || !strings.HasSuffix(out, ": said?[2J?\n") {
		t.Errorf("test prints %q", out)
	}
	if got := <-seen; !strings.HasPrefix(got, "v1,") || !strings.Contains(got, `"type":"ping"`) {
		t.Errorf("sent: %s", got)
	}
	if out := ok(t, admin("webhook", "list")...); !strings.Contains(out, "version.blocked") || !strings.Contains(out, "evil.test/**") || strings.Contains(out, "canary") {
		t.Errorf("list prints\n%s", out)
	}
	status.Store(http.StatusGone)
	ok(t, admin("block", "evil.test/x", "--reason", "x")...)
	if got := <-seen; !strings.Contains(got, `"module":"evil.test/x"`) {
		t.Errorf("sent: %s", got)
	}
	out := ok(t, admin("webhook", "show", "ci")...)
	for giveUp := time.Now().Add(10 * time.Second); !strings.Contains(out, "the receiver answered 410 Gone: said?[2J?") && time.Now().Before(giveUp); {
		time.Sleep(10 * time.Millisecond) // the receiver has answered, and the node has yet to see it
		out = ok(t, admin("webhook", "show", "ci")...)
	}
	if !strings.Contains(out, "/in?token=canary") || !strings.Contains(out, "the receiver answered 410 Gone: said?[2J?") {
		t.Errorf("show prints\n%s", out)
	}
	if out := ok(t, admin("webhook", "show", "ci", "--json")...); !strings.Contains(out, `"due": "`) {
		t.Errorf("show --json prints\n%s", out)
	}
	if out := ok(t, admin("webhook", "retry", "ci")...); out != "0 events that were refused are sent again\n" {
		t.Errorf("retry prints %q", out)
	}
	refused(t, exitUsage, admin("webhook", "drop", "ci"), "say --yes")
	if out := ok(t, admin("webhook", "drop", "ci", "--yes")...); out != "0 events are given up\n" {
		t.Errorf("drop prints %q", out)
	}
	refused(t, exitNo, []string{"webhook", "list"}, "credentials")
	refused(t, exitNo, []string{"webhook", "show", "ci"}, "credentials")
	refused(t, exitUsage, admin("webhook", "set", "ci", "--url", "http://x.test/", "--secret", "hook"), "is https")
	refused(t, exitNo, admin("webhook", "set", "ci", "--url", "https://x.test/", "--secret", "hook", "--types", "token.*"), "no webhook is told")
	ok(t, admin("webhook", "delete", "ci")...)
	refused(t, exitNo, admin("webhook", "delete", "ci"), `no webhook called "ci"`)
}
