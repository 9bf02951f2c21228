package events_test

import (
	"testing"

	"registry-node/events"
)

// A world is a registry in which tests let sites say one thing after the other:
// founded by a; b and c are members, x is not.
type world struct {
	t       testing.TB
	h       *history
	st      state
	ends    map[string]events.Mark
	seconds int
}

func newWorld(t testing.TB) *world {
	first := events.SiteJoined{Name: site("a"), PublicKey: public(1), Genesis: events.Genesis{Nonce: make([]byte, 32), Recovery: public(operator)}}
	w := &world{t: t, h: &history{registry: events.RegistryID(first)}, st: state{}, ends: map[string]events.Mark{}}
	w.say("a", first)
	w.say("a", events.SiteJoined{Name: site("b"), PublicKey: public(2)})
	w.say("a", events.SiteJoined{Name: site("c"), PublicKey: public(3)})
	return w
}

// say appends an entry to a site's log and applies it.
func (w *world) say(s string, b events.Body) events.EventID {
	w.t.Helper()
	m := w.ends[s]
	m = events.Mark{Epoch: 1, Seq: m.Seq + 1}
	w.ends[s] = m
	w.seconds++
	data, err := events.EncodeBody(b)
	if err != nil {
		w.t.Fatal(err)
	}
	ev := events.Event{ID: events.EventID{Site: site(s), Mark: m}, Time: at(w.seconds), Type: b.Type(), Data: data, Body: b}
	if err := w.st.apply(ev); err != nil {
		w.t.Fatal(err)
	}
	return ev.ID
}

func (w *world) repo(kind events.RepoKind, home string) events.RepoID {
	settings := events.RepoSettings{}
	if kind == events.Remote {
		settings = events.RepoSettings{Upstream: "https://p.test", Sumdb: "off"}
	}
	return events.RepoID{EventID: w.say("a", events.RepoCreated{Name: repoName("r"), Kind: kind, Home: site(home), Settings: settings})}
}

func (w *world) directory() *events.Directory { return w.st.directory(w.h) }

var v1 = modVersion("m.test/a", "v1.0.0")

func (w *world) version(id events.RepoID) events.Version {
	d := w.directory()
	return d.ResolveVersion(d.Repo(id), w.st[events.KeyVersion(id, v1)])
}

// publish lets a site publish content n of v1 into a repository.
func (w *world) publish(s string, id events.RepoID, n byte) events.EventID {
	w.t.Helper()
	return w.say(s, events.VersionPublished{ModuleVersion: events.Of(id, v1), Content: content(n), Actor: "ann"})
}

func (w *world) fill(s string, id events.RepoID, c events.Content) events.EventID {
	w.t.Helper()
	return w.say(s, events.VersionFilled{ModuleVersion: events.Of(id, v1), Content: c})
}

// is checks the status and the content of v1, 0 for none.
func (w *world) is(id events.RepoID, status events.Status, n byte) {
	w.t.Helper()
	v := w.version(id)
	if v.Status != status || n > 0 != (len(v.Contents) == 1) || n > 0 && v.Contents[0].ZipH1 != content(n).ZipH1 {
		w.t.Errorf("%v with %d contents %+v, want %v with content %d", v.Status, len(v.Contents), v.Contents, status, n)
	}
}
