package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"registry-node/httpapi"
	"registry-node/node/access"
)

// TestRefusalsOfAnybodyAreSummedUp floods the audit log with what strangers may
// not, and looks for what they wrote there.
func TestRefusalsOfAnybodyAreSummedUp(t *testing.T) {
	g := newRegistry(t)
	public := g.server.Handler(httpapi.Public)
	const flood = 50
	for i := range flood {
		for _, body := range []string{`{"module":"evil.test/a","reason":"scribble"}`, `{"reason":"scribble"`} {
			r := httptest.NewRequest("POST", "/api/v1/blocks", strings.NewReader(body))
			r.RemoteAddr = fmt.Sprintf("[2001:db8::%x]:1", i+1)
			w := httptest.NewRecorder()
			public.ServeHTTP(w, r)
			if w.Code < 400 || w.Code >= 500 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
	}
	g.audited("") // what is summed up is written with it
	lines := g.audited("action=block").Lines
	count := 0
	for _, l := range lines {
		count += max(1, int(l.Count))
		if l.Module+l.Reason+l.Name != "" || l.Outcome != "refused" {
			t.Errorf("%+v", l)
		}
	}
	if len(lines) > 6 || count != 2*flood {
		t.Errorf("%d lines of %d refusals", len(lines), count)
	}
}

// TestFailedLoginsAreSummedUpByWhom: those as one user don't hide those as another,
// and no client has more sums than its share.
func TestFailedLoginsAreSummedUpByWhom(t *testing.T) {
	dir := t.TempDir()
	log := httpapi.NewAuditLog(httpapi.AuditConfig{Dir: dir})
	if err := log.Open(nil); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		log.FailedLogin(httpapi.Audit{Client: "192.0.2.1", Name: "ann: GET /go/*"})
		log.FailedLogin(httpapi.Audit{Client: "192.0.2.1", Name: "bob: GET /go/*"})
		log.FailedLogin(httpapi.Audit{Client: "192.0.2.1", Token: "tabcdefghijk"})
	}
	for i := range 1000 {
		log.FailedLogin(httpapi.Audit{Client: "192.0.2.2", Token: fmt.Sprint(i)})
	}
	log.Summed(httpapi.Audit{Client: "192.0.2.3", Action: "block"})
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	of, all := map[string]int64{}, 0
	for _, a := range auditLines(t, dir) {
		of[a.Client+a.Name+a.Token] += max(1, a.Count)
		all++
	}
	for _, key := range []string{"192.0.2.1ann: GET /go/*", "192.0.2.1bob: GET /go/*", "192.0.2.1tabcdefghijk"} {
		if of[key] != 10 {
			t.Errorf("%s: %d, want 10", key, of[key])
		}
	}
	if of["192.0.2.3"] != 1 || all > 200 {
		t.Errorf("%d lines: %v", all, of)
	}
}

// TestRefusedLinesOfADayAreBounded: what was done is written all the same.
func TestRefusedLinesOfADayAreBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	log := httpapi.NewAuditLog(httpapi.AuditConfig{Dir: dir})
	log.SetPerDay(1000)
	for i := range 100 {
		log.Note(refusedLine)
		log.Note(done(i))
	}
	if err := log.Open(nil); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	n, refused, dropped := tally(auditLines(t, dir))
	if n != 100 || refused == 0 || refused > 20 || int64(refused)+dropped != 100 {
		t.Errorf("%d done, %d refused, %d dropped", n, refused, dropped)
	}
	if _, err := os.Stat(auditFile(dir)); err != nil {
		t.Error(err)
	}
}

// TestForeignPagesAreLimited: a request of another origin's page takes a turn as
// any other.
func TestForeignPagesAreLimited(t *testing.T) {
	g := newRegistry(t)
	g.server.SetLimits(httpapi.Limits{Address: 1})
	h := g.server.Handler(httpapi.Public)
	last := 0
	for range 11 {
		r := httptest.NewRequest("POST", "/api/v1/blocks", strings.NewReader(`{}`))
		r.RemoteAddr = "192.0.2.1:1"
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if last = w.Code; last != http.StatusForbidden && last != http.StatusTooManyRequests {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the last: %d", last)
	}
}

// TestThrottledLoginsAreRefusals, below /go/ too, where they are a 503.
func TestThrottledLoginsAreRefusals(t *testing.T) {
	g := newRegistry(t)
	last := answer{}
	for range 21 {
		last = g.get("/go/all/corp.test/a/@v/list", "Authorization", "Bearer "+access.NewToken(false).Secret())
	}
	if last.status != http.StatusServiceUnavailable {
		t.Fatalf("%d %s", last.status, last.body)
	}
	g.audited("")
	throttled := 0
	for _, l := range g.audited("action=login.failed").Lines {
		if l.Code == "throttled" {
			throttled++
		}
		if l.Outcome != "refused" {
			t.Errorf("%+v", l)
		}
	}
	if throttled != 1 {
		t.Errorf("%d lines of throttled logins", throttled)
	}
}

// TestFailedExchangesAreFailedLogins shows ID tokens that are none.
func TestFailedExchangesAreFailedLogins(t *testing.T) {
	g := newRegistry(t)
	if a := g.do("PUT", "/api/v1/users/reader", strings.NewReader(`{"service":true}`)); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := g.do("PUT", "/api/v1/issuers/ci", strings.NewReader(goodCI)); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	last := answer{}
	for i := range 21 {
		last = g.do("POST", "/api/v1/oidc/exchange", strings.NewReader(fmt.Sprintf(`{"issuer":"ci","token":"x.y.%d"}`, i)))
		if i == 0 && last.status != http.StatusUnauthorized {
			t.Fatalf("%d %s", last.status, last.body)
		}
	}
	if last.status != http.StatusTooManyRequests {
		t.Errorf("the last: %d %s", last.status, last.body)
	}
	g.audited("")
	count := 0
	for _, l := range g.audited("action=login.failed").Lines {
		count += max(1, int(l.Count))
	}
	if count != 21 || len(g.audited("action=token.exchange").Lines) != 0 {
		t.Errorf("%d failed logins", count)
	}
}
