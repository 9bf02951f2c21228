package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// published is what the node says of a publication.
type published struct {
	Module, Version string
	Position        string // SITE/EPOCH/ENTRY/EVENT
	Time            time.Time
	Existed         bool
	H1, Digest      string
	Size            int64
}

// owns makes the repository "local" the owner of all of corp.example.
func (s *server) owns() {
	s.t.Helper()
	s.must("repo", "set", "local", "--owns", "corp.example/**")
}

// put publishes a module zip. The module must be the caller's to escape.
func (s *server) put(mv module.Version, zip []byte) (answer, error) {
	return send(http.MethodPut, s.URL+"/api/v1/repos/local/modules/"+mv.Path+"/@v/"+mv.Version, zip)
}

// publish publishes a tree, which must succeed.
func (s *server) publish(mv module.Version, files tree) published {
	s.t.Helper()
	a, err := s.put(mv, zipOf(mv, files))
	var p published
	if err == nil && a.status/100 == 2 {
		err = json.Unmarshal(a.body, &p)
	}
	if err != nil || a.status/100 != 2 {
		s.t.Fatalf("publish %v: %d %s: %v", mv, a.status, a.body, err)
	}
	return p
}

// refusal returns the code and the message of an error of the API.
func refusal(t testing.TB, a answer) (code, message string) {
	t.Helper()
	var e struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(a.body, &e); err != nil {
		t.Fatalf("%d %q is no error of the API: %v", a.status, a.body, err)
	}
	return e.Error.Code, e.Error.Message
}

// cloudEvent is a line of the log.
type cloudEvent struct {
	SpecVersion, ID, Source, Type, Subject string
	Time                                   time.Time
	Data                                   json.RawMessage
}

// log returns the events from an entry on.
func (s *server) log(from int) (list []cloudEvent) {
	s.t.Helper()
	for line := range strings.Lines(s.must("log", "--from", fmt.Sprint(from))) {
		var e cloudEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("log: line %q: %v", line, err)
		}
		list = append(list, e)
	}
	return list
}

func TestPublishTwice(t *testing.T) {
	s := serve(t, "GOPROXY=off")
	s.owns()
	mv := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	zip := zipOf(mv, library(mv.Path, mv.Version))

	first, err := s.put(mv, zip)
	if err != nil || first.status != http.StatusCreated {
		t.Fatalf("first: %d %s, %v", first.status, first.body, err)
	}
	again, err := s.put(mv, zip)
	if err != nil || again.status != http.StatusOK {
		t.Fatalf("again: %d %s, %v", again.status, again.body, err)
	}
	var a, b published
	if err := json.Unmarshal(first.body, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again.body, &b); err != nil {
		t.Fatal(err)
	}
	if a.Existed || !b.Existed || a.Position == "" || a.Position != b.Position || !a.Time.Equal(b.Time) {
		t.Errorf("first %+v, again %+v", a, b)
	}
	if want := h1(mv, library(mv.Path, mv.Version)); a.H1 != want {
		t.Errorf("h1 is %s, want %s", a.H1, want)
	}

	other, err := s.put(mv, zipOf(mv, library(mv.Path, "another content")))
	if err != nil || other.status != http.StatusConflict {
		t.Fatalf("other content: %d %s, %v", other.status, other.body, err)
	}
	code, text := refusal(t, other)
	if code != "exists" || !strings.Contains(text, a.H1) || !strings.Contains(text, a.Time.Format("2006-01-02T15:04:05Z")) {
		t.Errorf("other content: %s %q, want the first h1 and time", code, text)
	}
}

func TestOneOfManyContentsWins(t *testing.T) {
	s := serve(t, "GOPROXY=off")
	s.owns()
	mv := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	before := len(s.log(1))
	const publishers = 50
	answers := make([]answer, publishers)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			a, err := s.put(mv, zipOf(mv, library(mv.Path, fmt.Sprint("content ", i))))
			if err != nil {
				t.Error(err)
			}
			answers[i] = a
		})
	}
	wg.Wait()

	winner := -1
	for i, a := range answers {
		switch {
		case a.status == http.StatusCreated && winner < 0:
			winner = i
		case a.status != http.StatusConflict:
			t.Errorf("publisher %d: %d %s", i, a.status, a.body)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	want := zipOf(mv, library(mv.Path, fmt.Sprint("content ", winner)))
	if got := s.get("/go/local/corp.example/lib/@v/v1.0.0.zip"); string(got.body) != string(want) {
		t.Errorf("the content is not the winner's: status %d", got.status)
	}
	var made []cloudEvent
	for _, e := range s.log(1)[before:] {
		if strings.HasSuffix(e.Type, "version.published") {
			made = append(made, e)
		}
	}
	if len(made) != 1 {
		t.Errorf("the log holds %d publications, want 1: %+v", len(made), made)
	}
}

// TestLogAndVerify holds the output of the two commands by which people judge a
// node to what was agreed.
func TestLogAndVerify(t *testing.T) {
	up := newUpstream(t)
	pub := up.add("pub.example/lib", "v1.0.0", library("pub.example/lib", "v1.0.0"))
	s := serve(t, up.settings()...)
	s.owns()
	mv := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	p := s.publish(mv, library(mv.Path, mv.Version))
	if a := s.get("/go/all/" + pub.Path + "/@v/" + pub.Version + ".zip"); a.status != http.StatusOK {
		t.Fatalf("fill: %d %s", a.status, a.body)
	}

	all := s.log(1)
	ids := map[string]bool{}
	var last cloudEvent
	for _, e := range all {
		if e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || e.Type == "" || e.Time.IsZero() || len(e.Data) == 0 {
			t.Errorf("not a whole CloudEvent: %+v", e)
		}
		if ids[e.ID] {
			t.Errorf("two events have the id %s", e.ID)
		}
		ids[e.ID] = true
		last = e
	}
	if !ids[p.Position] {
		t.Errorf("no event has the position %s of the publication: %v", p.Position, ids)
	}
	seq := entryOf(t, last.ID)
	tail := s.log(seq)
	if len(tail) == 0 || len(tail) >= len(all) || entryOf(t, tail[0].ID) != seq {
		t.Errorf("log --from %d prints %d of %d events", seq, len(tail), len(all))
	}

	now := s.status() // what was seen upstream may have been recorded since
	want := fmt.Sprintf("%d entries, chain intact, state hash %s, 2 blobs\n", now.Seq, now.StateHash)
	if got := s.must("verify"); got != want {
		t.Errorf("verify prints %q, want %q", got, want)
	}
	s.stop()
	if got := s.must("verify", "--data", s.dir); got != want {
		t.Errorf("verify of a stopped node prints %q, want %q", got, want)
	}
}

// entryOf returns the number of the entry in an event's id.
func entryOf(t testing.TB, id string) (seq int) {
	t.Helper()
	parts := strings.Split(id, "/")
	if len(parts) != 4 {
		t.Fatalf("event id %q is not SITE/EPOCH/ENTRY/EVENT", id)
	}
	if _, err := fmt.Sscan(parts[2], &seq); err != nil {
		t.Fatalf("event id %q: %v", id, err)
	}
	return seq
}

// logStatus is how far a site is in its own log.
type logStatus struct {
	Epoch, Seq int
	StateHash  string `json:"state_hash"`
}

// status returns how far the node is, as "status --json" says it.
func (s *server) status() logStatus {
	s.t.Helper()
	var st struct {
		Site, Agreement string
		Sites           []struct {
			Name string
			Self bool
			Logs map[string]logStatus
		}
	}
	if err := json.Unmarshal([]byte(s.must("status", "--json")), &st); err != nil {
		s.t.Fatalf("status: %v", err)
	}
	if len(st.Sites) != 1 || !st.Sites[0].Self || st.Agreement != "equal" {
		s.t.Fatalf("status: %+v", st)
	}
	return st.Sites[0].Logs[st.Site]
}
