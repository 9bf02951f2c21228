package events_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// A state is what a site keeps: the contributions to each record.
type state map[events.Key]events.Contributions

func (st state) apply(ev events.Event) error {
	k := ev.Body.Key(ev.ID)
	prev := st[k].Of(ev.ID.Site)
	next, changed, err := events.Apply(prev, ev)
	if err != nil {
		return err
	}
	if changed == bytes.Equal(prev.Encode(), next.Encode()) {
		return fmt.Errorf("event %v: changed is %t, but the contribution went from %s to %s", ev.ID, changed, prev.Encode(), next.Encode())
	}
	if changed {
		st[k] = st[k].With(ev.ID.Site, next)
	}
	return nil
}

func fold(evs []events.Event) (state, error) {
	st := state{}
	for _, ev := range evs {
		if err := st.apply(ev); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// reload does to a state what a restart does: it is written and read.
func (st state) reload() error {
	for k, cs := range st {
		for i, c := range cs {
			facts, err := events.DecodeContribution(c.Facts.Encode())
			if err != nil {
				return fmt.Errorf("%v of %s: %w", k, c.Site, err)
			}
			cs[i].Facts = facts
		}
	}
	return nil
}

// rows is all of a state as it is stored: key, site, contribution.
func (st state) rows() map[string]string {
	rows := map[string]string{}
	for k, cs := range st {
		for _, c := range cs {
			rows[k.String()+" "+c.Site.String()] = string(c.Facts.Encode())
		}
	}
	return rows
}

func (st state) directory(h *history) *events.Directory {
	recs := events.Records{}
	for k, cs := range st {
		if events.InDirectory(k.Kind()) {
			recs[k] = cs
		}
	}
	return events.ResolveDirectory(h.registry, recs)
}

// answers is the answer to every read: what is served to clients comes from
// nothing else.
func (st state) answers(h *history) string {
	d := st.directory(h)
	out := map[string]any{
		"homes": d.Homes, "home": d.Home(), "level": d.Level, "recovery": d.Recovery, "sites": d.Sites(),
		"repos": d.Repos(), "blocks": d.Blocks(), "cutoffs": maps.Collect(d.CutsOff()), "webhooks": d.Webhooks(),
	}
	for _, id := range h.repos {
		out["repo "+id.String()] = d.Repo(id)
	}
	for _, n := range repoNames {
		out["name "+n.String()] = d.RepoNamed(n)
	}
	for _, mv := range modules {
		block, blocked := d.Blocked(mv)
		out["blocked "+mv.String()] = []any{block, blocked}
		out["owner "+mv.Path] = d.Owner(mv.Path)
	}
	for k, cs := range st {
		switch k.Kind() {
		case events.KindVersion:
			id, _, _ := k.Version()
			if r := d.Repo(id); r != nil {
				out[k.String()] = d.ResolveVersion(r, cs)
			}
		case events.KindModule:
			out[k.String()] = d.ResolveSeen(repoOf(d, k), cs)
		case events.KindProperties:
			out[k.String()] = d.ResolveProperties(repoOf(d, k), cs)
		case events.KindBuild:
			out[k.String()] = d.ResolveBuilds(cs)
		case events.KindUser, events.KindGroup, events.KindPermission, events.KindToken, events.KindIssuer, events.KindWebhook:
			id, ok := d.ResolveIdentity(cs)
			out[k.String()] = []any{id, ok}
		}
	}
	return string(must(json.MarshalIndent(out, "", " ")))
}

// histories is how many a test tries by default.
var histories = uint64(300)

// eachHistory runs check with many random histories. REGISTRY_NODE_SEEDS says
// how many, REGISTRY_NODE_SEED runs a single one.
func eachHistory(t *testing.T, check func(seed uint64, h *history) error) {
	t.Helper()
	from, n := uint64(0), histories
	if s := os.Getenv("REGISTRY_NODE_SEEDS"); s != "" {
		n = must(strconv.ParseUint(s, 10, 64))
	}
	if s := os.Getenv("REGISTRY_NODE_SEED"); s != "" {
		from, n = must(strconv.ParseUint(s, 10, 64)), 1
	}
	for seed := from; seed < from+n; seed++ {
		if err := check(seed, newHistory(seed)); err != nil {
			t.Fatalf("seed %d: %v\nagain: REGISTRY_NODE_SEED=%d go test ./events -run '^%s$'", seed, err, seed, t.Name())
		}
	}
}

// However the logs of all sites reach a node, it ends with the same state and
// the same answer to every read.
func TestConverges(t *testing.T) {
	types := map[events.Type]int{}
	eachHistory(t, func(seed uint64, h *history) error {
		var rows map[string]string
		var answers string
		for n := range 3 {
			rng := rand.New(rand.NewPCG(seed, uint64(n+1)))
			st := state{}
			for _, ev := range h.delivery(rng) {
				if err := st.apply(ev); err != nil {
					return err
				}
				if rng.IntN(200) == 0 {
					if err := st.reload(); err != nil {
						return err
					}
				}
			}
			gotRows, gotAnswers := st.rows(), st.answers(h)
			if n == 0 {
				rows, answers = gotRows, gotAnswers
			}
			if !maps.Equal(gotRows, rows) {
				return fmt.Errorf("delivery %d gives another state:\n%s", n, difference(rows, gotRows))
			}
			if gotAnswers != answers {
				return fmt.Errorf("delivery %d gives other answers:\n%s\nwant\n%s", n, gotAnswers, answers)
			}
			if err := st.reload(); err != nil {
				return err
			}
			if again := st.answers(h); again != answers {
				return fmt.Errorf("asked again it gives other answers:\n%s\nwant\n%s", again, answers)
			}
		}
		for _, log := range h.logs {
			for _, ev := range log {
				types[ev.Type]++
			}
		}
		return nil
	})
	for _, typ := range events.Types() {
		if types[typ] == 0 && os.Getenv("REGISTRY_NODE_SEED") == "" {
			t.Errorf("no history has an event of type %s", typ)
		}
	}
}

// repoOf returns the repository that the key of a module names, or one without
// settings.
func repoOf(d *events.Directory, k events.Key) *events.Repo {
	parts := strings.Split(k.Bytes(), "\x00")
	if r := d.Repo(must(events.ParseRepoID(parts[1]))); r != nil {
		return r
	}
	return &events.Repo{}
}

func difference(want, got map[string]string) string {
	var out []byte
	for k := range want {
		if got[k] != want[k] {
			out = fmt.Appendf(out, "%s\n got  %s\n want %s\n", k, got[k], want[k])
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			out = fmt.Appendf(out, "%s\n got  %s\n want none\n", k, got[k])
		}
	}
	return string(out)
}

// What readers see is what an oracle says that knows no contributions.
func TestAnswersAreRight(t *testing.T) {
	seen := map[events.Status]int{}
	eachHistory(t, func(seed uint64, h *history) error {
		st, err := fold(h.delivery(h.rng))
		if err != nil {
			return err
		}
		o, d := newOracle(h), st.directory(h)
		if err := checkDirectory(h, o, d); err != nil {
			return err
		}
		for _, id := range h.repos {
			r := d.Repo(id)
			if r == nil {
				continue
			}
			for _, mv := range modules {
				got := answerOf(d.ResolveVersion(r, st[events.KeyVersion(id, mv)]))
				want := o.version(id, r.Kind, mv)
				if !reflect.DeepEqual(got, want) {
					return fmt.Errorf("%v in %v (%v): got\n%+v, want\n%+v", mv, id, r.Kind, got, want)
				}
				seen[got.Status]++
				if got, want := d.ResolveSeen(r, st[events.KeyModule(id, mv.Path)]), o.seen(id, mv.Path); !maps.Equal(got, want) {
					return fmt.Errorf("%s in %v seen %v, want %v", mv.Path, id, got, want)
				}
			}
		}
		return checkIdentities(o, d, st)
	})
	for s := events.Absent; s <= events.Purged; s++ {
		if seen[s] == 0 && os.Getenv("REGISTRY_NODE_SEED") == "" {
			t.Errorf("no history has a version that is %v", s)
		}
	}
}

func checkDirectory(h *history, o *oracle, d *events.Directory) error {
	if got := spansOf(d.Homes); !slices.Equal(got, o.registry) {
		return fmt.Errorf("homes of the registry %+v, want %+v", got, o.registry)
	}
	for _, s := range siteNames {
		m, _ := d.Site(s)
		want := o.members[s]
		joined := len(m.Keys) > 0
		if joined != (want != nil) || joined && (m.Left != want.left || m.Left && m.CutOff != want.cut) {
			return fmt.Errorf("site %s is %+v, want %+v", s, m, want)
		}
	}
	for _, id := range h.repos {
		r, spans := d.Repo(id), o.repos[id]
		settings, exists := o.settings(id)
		switch {
		case r == nil && spans == nil:
		case r == nil || spans == nil:
			return fmt.Errorf("repository %v is %v, want homes %+v", id, r, spans)
		case !slices.Equal(spansOf(r.Homes), spans) || r.Deleted == exists || !reflect.DeepEqual(r.Settings, settings):
			return fmt.Errorf("repository %+v, want homes %+v, settings %+v, to exist: %t", r, spans, settings, exists)
		}
	}
	for _, mv := range modules {
		if _, got := d.Blocked(mv); got != o.blocked(mv) {
			return fmt.Errorf("%v is blocked: %t, want %t", mv, got, o.blocked(mv))
		}
	}
	return nil
}

func checkIdentities(o *oracle, d *events.Directory, st state) error {
	for _, name := range users {
		id, ok := d.ResolveIdentity(st[events.UserCreated{Name: name}.Key(events.EventID{})])
		var got events.Body
		if ok && !id.Deleted {
			got = id.Body
		}
		if want := o.user(name); got != want {
			return fmt.Errorf("user %s is %+v, want %+v", name, got, want)
		}
	}
	id, ok := d.ResolveIdentity(st[events.TokenIssued{ID: "t"}.Key(events.EventID{})])
	if got, want := ok && !id.Deleted, o.token("t"); got != want {
		return fmt.Errorf("the token is good: %t, want %t", got, want)
	}
	return nil
}

func spansOf(homes []events.Tenure) (list []span) {
	for _, t := range homes {
		list = append(list, span{t.Site, t.After, t.Until, t.Forced})
	}
	return list
}

func answerOf(v events.Version) versionAnswer {
	a := versionAnswer{Status: v.Status, Seen: map[events.Site]time.Time{}}
	for _, c := range v.Contents {
		a.Contents = append(a.Contents, contentAnswer{c.ModH1, c.ZipH1, string(c.Info), slices.Clone(c.Zips)})
	}
	for _, r := range v.Rejected {
		a.Rejected = append(a.Rejected, r.Event)
	}
	for _, s := range v.Seen {
		a.Seen[s.Site] = s.Time
	}
	a.normalise()
	return a
}

// Folding the start of a log gives what Until says of the whole: nothing that
// comes later changes what a log said before. It is what makes cut-offs work.
func TestUntilIsTheFoldOfAPrefix(t *testing.T) {
	eachHistory(t, func(seed uint64, h *history) error {
		s := pick(h, h.sites)
		cut := h.mark(s)
		whole, err := fold(h.logs[s])
		if err != nil {
			return err
		}
		start, err := fold(upTo(h.logs[s], cut))
		if err != nil {
			return err
		}
		for k, cs := range whole {
			got, want := cs.Of(s).Until(cut).Encode(), start[k].Of(s).Encode()
			if !bytes.Equal(got, want) {
				return fmt.Errorf("%v of %s until %v: got\n%s, want\n%s", k, s, cut, got, want)
			}
		}
		return nil
	})
}

func upTo(log []events.Event, m events.Mark) []events.Event {
	i := slices.IndexFunc(log, func(ev events.Event) bool { return ev.ID.Mark.Compare(m) > 0 })
	if i < 0 {
		return log
	}
	return log[:i]
}

// A node that refuses what lies behind a cut-off, since it learnt of that first,
// gives the same answers as one that had stored it.
func TestCutOffMeetsWhoeverLearntItFirst(t *testing.T) {
	cut := 0
	eachHistory(t, func(seed uint64, h *history) error {
		all, err := fold(h.delivery(h.rng))
		if err != nil {
			return err
		}
		want := all.answers(h)
		refused := state{}
		for s := range h.logs {
			log := h.logs[s]
			for site, m := range all.directory(h).CutsOff() {
				if site == s {
					log = upTo(log, m)
				}
			}
			cut += len(h.logs[s]) - len(log)
			for _, ev := range log {
				if err := refused.apply(ev); err != nil {
					return err
				}
			}
		}
		for k := range all {
			if _, ok := refused[k]; !ok {
				refused[k] = nil // the same reads
			}
		}
		if got := refused.answers(h); got != want {
			return fmt.Errorf("got\n%s, want\n%s", got, want)
		}
		return nil
	})
	if cut == 0 {
		t.Error("no history has an event behind a cut-off")
	}
}

// Histories are logs that could be: sealed, decoded, verified and chained they
// say the same.
func TestHistoriesAreLogs(t *testing.T) {
	for seed := range uint64(20) {
		h := newHistory(seed)
		for _, s := range h.sites {
			var got []events.Event
			prev, prevTime := events.Position{Site: s, Hash: h.registry}, time.Time{}
			for _, e := range must(h.entries(s)) {
				if err := e.Verify(ed25519.PublicKey(public(1))); err != nil {
					t.Fatal(err)
				}
				if err := e.Follows(h.registry, prev, prevTime); err != nil {
					t.Fatal(err)
				}
				got, prev, prevTime = append(got, e.Events...), e.Position, e.Time
			}
			want := must(fold(h.logs[s])).rows()
			if rows := must(fold(got)).rows(); !maps.Equal(rows, want) {
				t.Fatalf("seed %d: the log of %s says\n%s", seed, s, difference(want, rows))
			}
		}
	}
}

// The resolves ask for records that nobody wrote to as well.
func TestNothingIsAbsent(t *testing.T) {
	h := newHistory(1)
	d := state{}.directory(h)
	if !d.Home().IsZero() || d.Repos() != nil || d.Sites() != nil || d.Owner("m.test/a") != nil || d.RepoNamed(repoNames[0]) != nil {
		t.Errorf("nothing gives %+v", d)
	}
	if v := d.ResolveVersion(&events.Repo{Kind: events.Remote}, nil); v.Status != events.Absent || !v.FirstSeen(&events.Repo{}).IsZero() {
		t.Errorf("nothing gives %+v", v)
	}
	if _, ok := d.ResolveIdentity(nil); ok {
		t.Error("nothing gives an identity")
	}
	if _, blocked := d.Blocked(module.Version{Path: "m.test/a", Version: "v1.0.0"}); blocked {
		t.Error("nothing gives a block")
	}
}
