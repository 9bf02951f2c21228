package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"registry-node/node"
)

func TestStatus(t *testing.T) {
	s := published(t)
	out := ok(t, "status")
	for _, want := range []string{"site          main", "takes writes  yes", "agreement: equal; this is the only site", "here"} {
		if !strings.Contains(out, want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
	var fromStatus, fromAPI node.Replication
	if err := json.Unmarshal([]byte(ok(t, "status", "--json")), &fromStatus); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(get(t, s.url+"/api/v1/replication")), &fromAPI); err != nil {
		t.Fatal(err)
	}
	if fromStatus.Sites[0].StateHash != fromAPI.Sites[0].StateHash || fromStatus.Agreement != "equal" {
		t.Errorf("status --json: %+v, API: %+v", fromStatus, fromAPI)
	}
}

func TestStatusNeedsAPerson(t *testing.T) {
	good := `{"writable":true,"reasons":[],"replication":{"agreement":"equal","sites":[{"name":"a","self":true,"reasons":[]}]}}`
	for body, code := range map[string]int{
		good: exitOK,
		strings.Replace(good, `true,"reasons":[]`, `false,"reasons":["the disk is full"]`, 1):          exitNo,
		strings.Replace(good, `"equal"`, `"different"`, 1):                                             exitNo,
		strings.Replace(good, `"equal"`, `"catching-up"`, 1):                                           exitOK,
		strings.Replace(good, `true,"reasons":[]}]`, `true,"reasons":["its log is frozen"]}]`, 1):      exitNo,
		strings.Replace(good, `true,"reasons":[]}]`, `true,"reasons":[],"conflicts":1}]`, 1):           exitNo,
		strings.Replace(good, `true,"reasons":[]}]`, `true,"reasons":[],"lag_entries":7}]`, 1):         exitOK,
		strings.Replace(good, `true,"reasons":[]}]`, `true,"reasons":[],"some_later_field":true}]`, 1): exitOK,
	} {
		url := answers(t, 200, "application/json", body)
		r := try(t, "status", "--server", url)
		if r.code != code {
			t.Errorf("%s: exit code %d, want %d\n%s%s", body, r.code, code, r.stdout, r.stderr)
		}
		for _, reason := range []string{"the disk is full", "its log is frozen"} {
			if strings.Contains(body, reason) && !strings.Contains(r.stdout, reason) {
				t.Errorf("status lacks %q:\n%s", reason, r.stdout)
			}
		}
	}
}

// ago is a time in JSON.
func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }

// TestStatusTable shows what each situation of a site looks like.
func TestStatusTable(t *testing.T) {
	here := `{"name":"here","self":true,"connected":true,"agrees":"equal","version":"v1.2.3","free_bytes":3221225472}`
	for _, c := range []struct {
		site string // its JSON, after the name
		line string // its line
		more string // what is said below
		code int
	}{
		{`"connected":true,"agrees":"equal","version":"v1.2.3","free_bytes":1048576`,
			"oslo  connected  –       –              yes     1.0 MiB free  v1.2.3", "", exitOK},
		{`"connected":true,"agrees":"catching-up","lag_entries":12,"lag_seconds":75.2,"blobs_missing":3,"bytes_missing":2048`,
			"oslo  connected  12 entries, 1m15s  3, 2.0 KiB     catching up  –             –", "", exitOK},
		{`"connected":true,"agrees":"different"`,
			"oslo  connected  –       –              NO      –             –", "registry-node diff oslo", exitNo},
		{`"connected":true,"conflicts":2`, "oslo  connected", "2 conflicts there need a person", exitNo},
		{`"connected":true,"reasons":["its log is frozen; do this"]`, "oslo  connected", "! oslo: its log is frozen; do this", exitNo},
		{`"connected":false,"last_heard":"` + ago(12*time.Minute) + `"`, "oslo  not heard for 12m", "registry-node site remove oslo", exitNo},
		{`"connected":false,"last_heard":"` + ago(12*time.Minute) + `","reasons":["off for repairs"]`, "oslo  not heard for 12m", "! oslo: off for repairs", exitNo}, // and that it is silent
		{`"connected":false,"last_heard":"` + ago(5*time.Second) + `"`, "oslo  not heard for ", "", exitOK},
		{`"connected":false`, "oslo  never heard", "registry-node site remove oslo", exitNo},
	} {
		site := `{"name":"oslo",` + c.site + `}`
		body := fmt.Sprintf(`{"writable":true,"reasons":[],"replication":{"site":"here","agreement":"equal","sites":[%s,%s]}}`, here, site)
		r := try(t, "status", "--server", answers(t, 200, "application/json", body))
		if r.code != c.code || !strings.Contains(r.stdout, c.line) || !strings.Contains(r.stdout, c.more) {
			t.Errorf("%s: exit code %d, want %d, with %q and %q:\n%s%s", c.site, r.code, c.code, c.line, c.more, r.stdout, r.stderr)
		}
		if n := strings.Count(r.stdout, "! "); (n > 0) != (c.code == exitNo) {
			t.Errorf("%s: %d alarms:\n%s", c.site, n, r.stdout)
		}
	}
}

func TestAgoText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 400 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Second: "1m1s",
		90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 754 * time.Second: "12m", 49 * time.Hour: "2d1h", 130 * time.Second: "2m10s",
	} {
		if got := agoText(d); got != want {
			t.Errorf("agoText(%v) = %q, want %q", d, got, want)
		}
	}
}

// TestStatusWatch follows a real node: a line at first, and one for a change.
func TestStatusWatch(t *testing.T) {
	s := fresh(t)
	out := watch("; main here", "the end of the test")
	cmd := command(t, "status", "--watch", "--server", s.url)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-out.seen:
	case err := <-ended:
		t.Fatalf("status --watch ended: %v\n%s", err, out)
	}
	s.end(t) // a stream must not hold up the end of the node
	if err := <-ended; err == nil || !strings.Contains(out.String(), "the stream broke off") {
		t.Errorf("after the end of the node: %v\n%s", err, out)
	}
	if strings.Contains(s.log.String(), "requests are cut") {
		t.Errorf("the node waited for the stream to end:\n%s", s.log)
	}
}

func TestStatusWatchJSON(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, ": hello\n\ndata: {\"agreement\":\"equal\",\"later\":1}\n\n: still here\n\ndata: {\"agreement\":\"catching-up\"}\n\n")
	}))
	t.Cleanup(s.Close)
	r := try(t, "status", "--watch", "--json", "--server", s.URL)
	if want := "{\"agreement\":\"equal\",\"later\":1}\n{\"agreement\":\"catching-up\"}\n"; r.stdout != want || r.code != exitNo {
		t.Errorf("exit code %d, prints %q, want %q", r.code, r.stdout, want)
	}
}

// TestStatusWatchLines prints a line for a change that shows, and none else.
func TestStatusWatchLines(t *testing.T) {
	equal := `{"agreement":"equal","sites":[{"name":"a","self":true},{"name":"b","connected":true%s}]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, more := range []string{"", `,"free_bytes":7`, `,"lag_entries":3,"blobs_missing":1`} {
			fmt.Fprintf(w, "data: "+equal+"\n\n", more)
		}
	}))
	t.Cleanup(s.Close)
	r := try(t, "status", "--watch", "--server", s.URL)
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], " equal; a here; b connected") || !strings.HasSuffix(lines[1], "b connected, behind 3 entries, 0s, blobs missing 1, 0 B") {
		t.Errorf("prints %q", lines)
	}
}

// TestStatusDoesNotRepeatItself where a node says of itself what it tells others.
func TestStatusDoesNotRepeatItself(t *testing.T) {
	url := answers(t, 200, "application/json", `{"reasons":["the disk is full"],"replication":{"sites":[{"name":"a","self":true,"reasons":["the disk is full"]}]}}`)
	if r := try(t, "status", "--server", url); strings.Count(r.stdout, "the disk is full") != 1 {
		t.Errorf("prints\n%s", r.stdout)
	}
}
