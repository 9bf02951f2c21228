package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
)

// oracle knows what publishers were told, and holds a node to it: what was
// acknowledged is there for ever as it was; what was refused is not; of what
// had no answer, all is there or nothing.
type oracle struct {
	t testing.TB

	mu    sync.Mutex // guards what follows
	tried map[module.Version]*trial
	acked []module.Version // in the order of their answers
}

// trial is what became of the attempts to publish one version.
type trial struct {
	tags  []string   // of the contents that were tried
	acked *published // of the one that was acknowledged
	tag   string     // of that one
}

func newOracle(t testing.TB) *oracle { return &oracle{t: t, tried: map[module.Version]*trial{}} }

// content returns a version with a tag: some bytes that compress badly, so that
// zips are of 1 to 100 KiB, and can be made again.
func content(mv module.Version, tag string) tree {
	name := mv.String() + " " + tag
	var seed [32]byte
	copy(seed[:], name)
	copy(seed[24:], fmt.Sprintf("%8d", len(name)))
	r := rand.New(rand.NewChaCha8(seed))
	text := make([]byte, 1<<10<<r.IntN(7))
	for i := range text {
		text[i] = byte('!' + r.IntN(90))
	}
	return library(mv.Path, name).with("noise.txt", string(text))
}

// publish publishes content and notes the outcome. It returns the status, 0 if
// there was no answer.
func (o *oracle) publish(s *server, mv module.Version, tag string) int {
	o.mu.Lock()
	tr := o.tried[mv]
	if tr == nil {
		tr = &trial{}
		o.tried[mv] = tr
	}
	if !slices.Contains(tr.tags, tag) {
		tr.tags = append(tr.tags, tag)
	}
	o.mu.Unlock()

	a, err := s.put(mv, zipOf(mv, content(mv, tag)))
	if err != nil {
		return 0 // the node is gone
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch a.status {
	case http.StatusCreated, http.StatusOK:
		o.acknowledged(mv, tr, tag, a.body)
	case http.StatusConflict:
		if len(tr.tags) == 1 || tr.tag == tag {
			o.t.Errorf("%v: refused as other content than itself: %s", mv, a.body)
		}
	}
	return a.status
}

// acknowledged notes a success, which must not contradict an earlier one. o.mu
// is held.
func (o *oracle) acknowledged(mv module.Version, tr *trial, tag string, body []byte) {
	var p published
	if err := json.Unmarshal(body, &p); err != nil {
		o.t.Errorf("%v: %q: %v", mv, body, err)
		return
	}
	if want := h1(mv, content(mv, tag)); p.H1 != want {
		o.t.Errorf("%v: acknowledged as %s, not %s", mv, p.H1, want)
	}
	if tr.acked == nil {
		tr.acked, tr.tag = &p, tag
		o.acked = append(o.acked, mv)
		return
	}
	if first := tr.acked; tr.tag != tag || first.Position != p.Position || !first.Time.Equal(p.Time) || first.Digest != p.Digest {
		o.t.Errorf("%v: acknowledged as %+v, then as %+v", mv, *first, p)
	}
}

// some returns an acknowledged version, if there is one.
func (o *oracle) some(r *rand.Rand) (mv module.Version, tag string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.acked) == 0 {
		return mv, "", false
	}
	mv = o.acked[r.IntN(len(o.acked))]
	return mv, o.tried[mv].tag, true
}

// errGone says that the node went away before it answered.
var errGone = errors.New("no answer")

// read reads an acknowledged version and compares it.
func (o *oracle) read(s *server, mv module.Version, tag string) error {
	a, err := send(http.MethodGet, s.URL+"/go/all/"+mv.Path+"/@v/"+mv.Version+".zip", nil)
	switch {
	case err != nil:
		return errGone
	case a.status != http.StatusOK:
		return fmt.Errorf("%v was acknowledged and is answered with %d %.200q", mv, a.status, a.body)
	case string(a.body) != string(zipOf(mv, content(mv, tag))):
		return fmt.Errorf("%v has other bytes than were acknowledged", mv)
	}
	return nil
}

// check holds the node to the versions that the filter names, while nobody
// publishes. It publishes those again that had no answer, as a publisher would.
func (o *oracle) check(s *server, filter func(module.Version) bool) (checked int) {
	o.t.Helper()
	for mv, tr := range o.tried {
		if !filter(mv) {
			continue
		}
		checked++
		if tr.acked == nil {
			o.settle(s, mv, tr)
		}
		if tr.acked == nil {
			o.t.Errorf("%v: published again and not acknowledged", mv)
			continue
		}
		if err := o.read(s, mv, tr.tag); err != nil {
			o.t.Error(err)
		}
		if o.t.Failed() {
			o.t.FailNow()
		}
	}
	return checked
}

// settle finds out what became of a version whose publishers got no answer: one
// of its contents is there, whole, or none.
func (o *oracle) settle(s *server, mv module.Version, tr *trial) {
	o.t.Helper()
	a := s.get("/go/all/" + mv.Path + "/@v/" + mv.Version + ".zip")
	there := slices.IndexFunc(tr.tags, func(tag string) bool { return string(a.body) == string(zipOf(mv, content(mv, tag))) })
	switch {
	case a.status == http.StatusOK && there < 0:
		o.t.Errorf("%v: half of what was published without an answer is there", mv)
	case a.status != http.StatusOK && a.status != http.StatusNotFound:
		o.t.Errorf("%v, published without an answer: %d %.200q", mv, a.status, a.body)
	}
	for i, tag := range tr.tags {
		status := o.publish(s, mv, tag)
		switch {
		case (i == there) != (status == http.StatusOK):
			o.t.Errorf("%v, of which content %d was there: publishing content %d again: %d", mv, there, i, status)
		case status != http.StatusOK && status != http.StatusCreated && status != http.StatusConflict:
			o.t.Errorf("%v: publishing it again: %d", mv, status)
		}
	}
}

// checkLists checks that lists have what was acknowledged and nothing else.
func (o *oracle) checkLists(s *server) {
	o.t.Helper()
	want := map[string]map[string]bool{}
	for _, mv := range o.acked {
		if want[mv.Path] == nil {
			want[mv.Path] = map[string]bool{}
		}
		want[mv.Path][mv.Version] = true
	}
	for path, versions := range want {
		a := s.get("/go/all/" + path + "/@v/list")
		got := strings.Fields(string(a.body))
		if a.status != http.StatusOK || len(got) != len(versions) {
			o.t.Errorf("%s: the list has %d versions (status %d), want %d", path, len(got), a.status, len(versions))
		}
		for _, v := range got {
			if !versions[v] {
				o.t.Errorf("%s: the list has %s, which was not acknowledged", path, v)
			}
		}
	}
}
