package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

func TestKeysOrderAsPebbleDemands(t *testing.T) {
	alphabet := []byte{0, 1, 2, 'a', 'c', 0xff}
	key := func(r *rand.Rand) []byte {
		b := make([]byte, 1+r.IntN(7))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		if r.IntN(4) > 0 {
			b[0] = 'c'
		}
		return b
	}
	rule := func(seed uint64) bool {
		r := rand.New(rand.NewPCG(seed, 0))
		a, b := key(r), key(r)
		if bytes.Compare(a, b) > 0 {
			a, b = b, a
		}
		pa, pb := a[:index.Split(a)], b[:index.Split(b)]
		next := index.Comparer.ImmediateSuccessor(nil, pa)
		return bytes.Compare(pa, pb) <= 0 && // prefixes order as keys
			index.Split(pa) == len(pa) && // a prefix is its own
			index.Split(next) == len(next) && bytes.Compare(pa, next) < 0 &&
			(bytes.Equal(pa, pb) || bytes.Compare(next, pb) <= 0) // no prefix between
	}
	if err := quick.Check(rule, &quick.Config{MaxCount: 200_000}); err != nil {
		t.Error(err)
	}
}

func TestGetAndPrefixFindWhatIsThere(t *testing.T) {
	a, b, c, x := newWriter(t, "a"), newWriter(t, "b"), newWriter(t, "c"), open(t)
	mv := version("m.test/a", 1)
	apply(t, x, c.add(fill(mv, 1)))
	apply(t, x, a.add(fill(mv, 1), fill(version("m.test/a", 2), 2), fill(version("m.test/a/b", 1), 3)))
	apply(t, x, b.add(events.VersionBlocked{Module: "m.test/a", Reason: "bad"},
		events.VersionBlocked{Module: "m.test/a", Version: "v1.1.0", Reason: "worse"}))

	cs, err := x.Get(events.KeyVersion(repo, mv))
	if err != nil || !slices.Equal(sitesOf(cs), []string{"a", "c"}) {
		t.Errorf("get: %v, %v", sitesOf(cs), err)
	}
	if got := string(cs.Of(a.site)[0].Data); got != string(a.log[0].Events[0].Data) {
		t.Errorf("fact %s, want %s", got, a.log[0].Events[0].Data)
	}
	if cs, err := x.Get(events.KeyVersion(repo, version("m.test/a", 3))); err != nil || cs != nil {
		t.Errorf("get of what is not there: %v, %v", cs, err)
	}
	whole := events.KeyBlock(module("m.test/a", ""))
	if cs, err := x.Get(whole); err != nil || len(cs) != 1 || len(cs[0].Facts) != 1 {
		t.Errorf("the block of a module also holds that of a version: %v, %v", cs, err)
	}
	for prefix, want := range map[string][]string{
		events.VersionsPrefix(repo, "m.test/a"):   {"v1.1.0", "v1.2.0"},
		events.VersionsPrefix(repo, "m.test/a/b"): {"v1.1.0"},
		events.VersionsPrefix(repo, "m.test/"):    nil,
		events.KindPrefix(events.KindBlock):       {"", "v1.1.0"},
		events.KindPrefix(events.KindUser):        nil,
	} {
		var got []string
		for rec, err := range x.Prefix(prefix) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rec.Key.Bytes()[strings.LastIndexByte(rec.Key.Bytes(), 0)+1:])
		}
		if !slices.Equal(got, want) {
			t.Errorf("prefix %q: %q, want %q", prefix, got, want)
		}
	}
}

func TestModulesSkipsOverVersions(t *testing.T) {
	w, x := newWriter(t, "a"), open(t)
	paths := []string{"m.test/a", "m.test/a-b", "m.test/a/b", "m.test/a.b", "m.test/ab", "m.test/b"}
	for i, p := range paths {
		for n := range 5 {
			apply(t, x, w.add(fill(version(p, n), uint64(10*i+n))))
		}
	}
	other, err := events.ParseRepoID("a/1/1/1")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, x, w.add(
		events.VersionFilled{ModuleVersion: events.Of(other, version("m.test/z", 1)), Content: content(1, 10)},
		seen("m.test/only-seen", 1)))
	slices.Sort(paths)
	all := func(after string) (got []string) {
		for p, err := range x.Modules(repo, after) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p)
		}
		return got
	}
	if got := all(""); !slices.Equal(got, paths) {
		t.Errorf("modules %q, want %q", got, paths)
	}
	for i, p := range paths {
		if got := all(p); !slices.Equal(got, paths[i+1:]) {
			t.Errorf("modules after %s: %q, want %q", p, got, paths[i+1:])
		}
	}
	if got := all("m.test/a!"); !slices.Equal(got, paths[1:]) {
		t.Errorf("modules after a path that is not there: %q", got)
	}
	for range x.Modules(repo, "") {
		break
	}
}

func TestEntriesComeInLogOrder(t *testing.T) {
	a, ab, x := newWriter(t, "a"), newWriter(t, "a-b"), open(t)
	for i := range 300 { // more than a byte of seq
		apply(t, x, a.add(seen("m.test/a", i)))
	}
	apply(t, x, ab.add(seen("m.test/a", 1)))
	for _, after := range []uint64{0, 1, 255, 256, 299, 300, 400} {
		var want []string
		for _, e := range a.log[min(after, 300):] {
			want = append(want, string(e.Raw))
		}
		var got []string
		for raw, err := range x.Entries(a.site, events.Mark{Epoch: 1, Seq: after}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(raw))
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %d: %d entries, want %d", after, len(got), len(want))
		}
	}
	if raw, ok, err := x.Entry(a.site, a.log[6].Position.Mark); err != nil || !ok || string(raw) != string(a.log[6].Raw) {
		t.Errorf("entry 7: %q, %v, %v", raw, ok, err)
	}
	if _, ok, err := x.Entry(a.site, events.Mark{Epoch: 2, Seq: 7}); ok || err != nil {
		t.Errorf("entry of another epoch: %v, %v", ok, err)
	}
	heads, err := x.Heads()
	if err != nil || len(heads) != 2 || heads[0].Position != a.last || heads[1].Position != ab.last {
		t.Errorf("heads %+v, %v", heads, err)
	}
}

func TestBlobsAreWhatRecordsReferTo(t *testing.T) {
	a, b, x := newWriter(t, "a"), newWriter(t, "b"), open(t)
	c1, c2 := content(1, 10), content(2, 10)
	c3 := c2
	c3.Zip.Size++ // another claim about the same bytes
	filled := func(p string, c events.Content) events.Body {
		return events.VersionFilled{ModuleVersion: events.Of(repo, version(p, 1)), Content: c}
	}
	apply(t, x, a.add(filled("m.test/a", c1), filled("m.test/b", c1), filled("m.test/c", c2)))
	apply(t, x, b.add(filled("m.test/a", c1), filled("m.test/c", c3)))
	got := map[events.Blob]int{}
	for blob, err := range x.Blobs() {
		if err != nil {
			t.Fatal(err)
		}
		got[blob]++
	}
	if want := map[events.Blob]int{c1.Zip: 1, c2.Zip: 1, c3.Zip: 1}; !maps.Equal(got, want) {
		t.Errorf("blobs %v, want %v", got, want)
	}
	for d, want := range map[events.Digest]bool{c1.Zip.Digest: true, events.DigestOf(nil): false} {
		if ok, err := x.Refers(d); err != nil || ok != want {
			t.Errorf("refers to %v: %v, %v", d, ok, err)
		}
	}
	if r := checkAudit(t, x, a, b); r.BlobRefs != 4 || r.Records != 3 || r.Contributions != 5 || r.Entries != 2 || r.Events != 5 {
		t.Errorf("audit counted %+v", r)
	}
}

func TestLocalIsApart(t *testing.T) {
	dir := t.TempDir()
	if err := index.Create(dir, registry); err != nil {
		t.Fatal(err)
	}
	with(t, dir, index.Options{}, func(x *index.Index) {
		a, ab := x.Local("a"), x.Local("ab")
		for _, k := range []string{"x", "x/1", "x/2", "y", ""} {
			if err := a.Set(k, []byte("a"+k)); err != nil {
				t.Fatal(err)
			}
		}
		if err := ab.Set("x", nil); err != nil {
			t.Fatal(err)
		}
		if err := a.Delete("x/1"); err != nil {
			t.Fatal(err)
		}
	})
	x := reopen(t, dir) // a clean close keeps what was not synced
	if v, ok, err := x.Local("a").Get("x/2"); err != nil || !ok || string(v) != "ax/2" {
		t.Errorf("get: %q, %v, %v", v, ok, err)
	}
	if v, ok, err := x.Local("ab").Get("x"); err != nil || !ok || v == nil || len(v) > 0 {
		t.Errorf("get of an empty value: %q, %v, %v", v, ok, err)
	}
	for _, k := range []string{"x/1", "z"} {
		if _, ok, err := x.Local("a").Get(k); ok || err != nil {
			t.Errorf("get of %s: %v, %v", k, ok, err)
		}
	}
	var got []string
	for row, err := range x.Local("a").All("x") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row.Key+"="+string(row.Value))
	}
	if want := []string{"x=ax", "x/2=ax/2"}; !slices.Equal(got, want) {
		t.Errorf("all: %q, want %q", got, want)
	}
	if heads, err := x.Heads(); err != nil || len(heads) > 0 {
		t.Errorf("local state made a log: %v, %v", heads, err)
	}
}

// What is written to the local state of an index while another takes its place is
// in that one, whoever writes it to which.
func TestSucceed(t *testing.T) {
	old, none, x := open(t), open(t), open(t)
	local := old.Local("work")
	const writers, rows = 4, 300
	var writing sync.WaitGroup
	begun := make(chan struct{}, writers)
	for w := range writers {
		writing.Go(func() {
			for i := range rows {
				if err := local.Set(fmt.Sprintf("%d/%d", w, i), []byte{1}); err != nil {
					t.Error(err)
				}
				if i == rows/3 {
					begun <- struct{}{}
				}
				if i%10 == 9 {
					if err := local.Delete(fmt.Sprintf("%d/%d", w, i)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range writers {
		<-begun
	}
	failed := errors.New("not now")
	if err := none.Succeed(old, func() error { return failed }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if err := local.Set("still/old", nil); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := none.Local("work").Get("still/old"); ok || err != nil {
		t.Errorf("written to the one that failed to take its place: %t, %v", ok, err)
	}
	late := make(chan error, 1)
	if err := x.Succeed(old, func() error {
		go func() { late <- local.Set("late", nil) }()
		select {
		case <-late:
			t.Error("the old one is written to after it was copied")
			late <- nil
		case <-time.After(20 * time.Millisecond): // it waits
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	writing.Wait()
	if err := <-late; err != nil {
		t.Fatal(err)
	}
	n := 0
	for row, err := range x.Local("work").All("") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(row.Key, "9") {
			t.Errorf("%s was deleted", row.Key)
		}
		n++
	}
	if want := writers*rows*9/10 + 2; n != want {
		t.Errorf("%d rows, want %d", n, want)
	}
}
