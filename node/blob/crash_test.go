package blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"registry-node/events"
	"registry-node/node/blob"
)

// A tape records the calls that change the disk. It can make one of them fail,
// and everything after it too, as the end of the process does.
type tape struct {
	mu    sync.Mutex // guards the rest
	armed bool
	calls []string
	fault fault
}

type fault struct {
	at      int   // index of the call that fails
	err     error // nil: none fails
	happens bool  // the call fails but its effect is there
	crash   bool  // no call after it happens
}

func (r *tape) hook(call, name string, do func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.armed {
		return do()
	}
	if strings.HasPrefix(name, "tmp/") {
		name = "tmp/*"
	}
	i := len(r.calls)
	r.calls = append(r.calls, call+" "+name)
	f := r.fault
	switch {
	case f.err == nil || i < f.at || i > f.at && !f.crash:
		return do()
	case i == f.at && f.happens:
		return errors.Join(do(), f.err)
	default:
		return f.err
	}
}

func (r *tape) arm(f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.fault, r.calls = true, f, nil
}

// failed returns the calls up to and with the one that failed, and those after.
func (r *tape) failed() (last string, after []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[r.fault.at], slices.Clone(r.calls[r.fault.at+1:])
}

// A scenario is one operation that changes the disk, from a given start.
type scenario struct {
	name  string
	start func(t *testing.T, dir string)
	act   func(t *testing.T, s *blob.Store) error
	calls []string            // what act does when nothing fails
	holds []map[string][]byte // what the store may hold, the last when act is done
}

func scenarios() []scenario {
	b, d := content(1, 100_000)
	other, e := sameShard(d, 10)
	half := b[:50_000]
	shard, name, aside := "sha256/"+d.Hex()[:2], blobPath(d), "aside/"+d.Hex()
	has := func(files map[string][]byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for name, b := range files {
				path := filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	putB := func(t *testing.T, s *blob.Store) error {
		return s.Put(t.Context(), d, int64(len(b)), struct{ io.Reader }{bytes.NewReader(b)})
	}
	staged := []string{"create tmp/*", "write tmp/*", "write tmp/*", "write tmp/*", "write tmp/*", "sync tmp/*"}
	return []scenario{
		{"put into a new shard", has(nil), putB,
			slices.Concat(staged, []string{"mkdir " + shard, "sync sha256", "rename " + name, "sync " + shard}),
			[]map[string][]byte{{}, {name: b}}},
		{"put into a known shard", has(map[string][]byte{blobPath(e): other}), putB,
			slices.Concat(staged, []string{"rename " + name, "sync " + shard}),
			[]map[string][]byte{{blobPath(e): other}, {blobPath(e): other, name: b}}},
		{"put what exists", has(map[string][]byte{name: b}), putB,
			slices.Concat(staged, []string{"sync " + name, "sync " + shard, "remove tmp/*"}),
			[]map[string][]byte{{name: b}}},
		{"put over a blob of another size", has(map[string][]byte{name: half}), putB,
			slices.Concat(staged, []string{"rename " + aside, "sync aside", "sync " + shard, "rename " + name, "sync " + shard}),
			[]map[string][]byte{{name: half}, {aside: half}, {aside: half, name: b}}},
		{"set aside", has(map[string][]byte{name: half, aside: b, aside + ".1": b}),
			func(t *testing.T, s *blob.Store) error { _, _, err := s.SetAside(t.Context(), d); return err },
			[]string{"rename " + aside + ".2", "sync aside", "sync " + shard},
			[]map[string][]byte{{name: half, aside: b, aside + ".1": b}, {aside: b, aside + ".1": b, aside + ".2": half}}},
		{"remove", has(map[string][]byte{name: b}),
			func(_ *testing.T, s *blob.Store) error { _, err := s.Remove(d); return err },
			[]string{"remove " + name, "sync " + shard},
			[]map[string][]byte{{name: b}, {}}},
	}
}

// begin returns a store at the scenario's start.
func (sc scenario) begin(t *testing.T) (*blob.Store, string, *tape) {
	t.Helper()
	dir := newDir(t)
	sc.start(t, dir)
	r := new(tape)
	return openStore(t, dir, r.hook), dir, r
}

func (sc scenario) checkHolds(t *testing.T, dir string) {
	t.Helper()
	got := tree(t, dir)
	for _, want := range sc.holds {
		if maps.EqualFunc(got, want, bytes.Equal) {
			return
		}
	}
	t.Errorf("store holds %s", describe(got))
}

func (sc scenario) done() map[string][]byte { return sc.holds[len(sc.holds)-1] }

// faults runs test for every call of every scenario and both ways to fail.
func faults(t *testing.T, crash bool, test func(*testing.T, scenario, fault)) {
	for _, sc := range scenarios() {
		for at, call := range sc.calls {
			for _, happens := range []bool{false, true} {
				name := fmt.Sprintf("%s/%d %s/happens=%v", sc.name, at, strings.ReplaceAll(call, "/", "_"), happens)
				t.Run(name, func(t *testing.T) {
					test(t, sc, fault{at, errors.New("fault"), happens, crash})
				})
			}
		}
	}
}

// This is the test that fails when an fsync is dropped or moved.
func TestOrderOfCalls(t *testing.T) {
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			s, dir, r := sc.begin(t)
			r.arm(fault{})
			if err := sc.act(t, s); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.calls, sc.calls) {
				t.Errorf("got  %q\nwant %q", r.calls, sc.calls)
			}
			checkTree(t, dir, sc.done())
		})
	}
}

func TestOrderOfCallsCreateAndOpen(t *testing.T) {
	r, dir := new(tape), filepath.Join(t.TempDir(), "blobs")
	r.arm(fault{})
	if err := blob.CreateHooked(dir, r.hook); err != nil {
		t.Fatal(err)
	}
	want := []string{"mkdir blobs", "mkdir sha256", "sync sha256", "mkdir tmp", "sync tmp", "mkdir aside", "sync aside",
		"sync .", "sync ."} // the store's directory, then its parent
	if !slices.Equal(r.calls, want) {
		t.Errorf("Create: got %q\nwant %q", r.calls, want)
	}
	for _, name := range []string{"sha256/0a", "sha256/fe", "sha256/stray"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "LEFT"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.arm(fault{})
	openStore(t, dir, r.hook)
	want = []string{"remove tmp/*", "sync sha256", "sync sha256/0a", "sync sha256/fe"}
	if !slices.Equal(r.calls, want) {
		t.Errorf("Open: got %q\nwant %q", r.calls, want)
	}
}

// The process ends at each call in turn. The next one finds all or nothing, and
// can do the same again.
func TestCrashAtEachCall(t *testing.T) {
	faults(t, true, func(t *testing.T, sc scenario, f fault) {
		s, dir, r := sc.begin(t)
		r.arm(f)
		actErr := sc.act(t, s)
		s.Close()

		s = openStore(t, dir, nil)
		if actErr == nil {
			checkTree(t, dir, sc.done())
		}
		sc.checkHolds(t, dir)
		if err := sc.act(t, s); err != nil {
			t.Errorf("again, after the crash: %v", err)
		}
		checkTree(t, dir, sc.done())
	})
}

func TestCrashInCreateAndOpen(t *testing.T) {
	for at := range 9 {
		for _, happens := range []bool{false, true} {
			r, dir := new(tape), filepath.Join(t.TempDir(), "blobs")
			r.arm(fault{at, errors.New("fault"), happens, true})
			if err := blob.CreateHooked(dir, r.hook); err == nil {
				t.Fatalf("Create with a fault at call %d succeeded", at)
			}
			if err := blob.Create(dir); err != nil {
				t.Fatalf("Create after a crash at call %d: %v", at, err)
			}
			if err := os.WriteFile(filepath.Join(dir, "tmp", "LEFT"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			r.arm(fault{at % 2, errors.New("fault"), happens, true})
			if _, err := blob.OpenHooked(dir, r.hook); err == nil {
				t.Fatalf("Open with a fault at call %d succeeded", at%2)
			}
			openStore(t, dir, nil)
			checkTree(t, dir, nil)
		}
	}
}

// Each call fails in turn and the process lives on. Only a failed fsync makes
// the store unhealthy, and it is not tried again.
func TestFaultAtEachCall(t *testing.T) {
	faults(t, false, func(t *testing.T, sc scenario, f fault) {
		s, dir, r := sc.begin(t)
		r.arm(f)
		err := sc.act(t, s)
		failed, after := r.failed()
		r.arm(fault{})
		// Everything is durable by then; only the spare file is not gone yet.
		spare := failed == "remove tmp/*"
		if !errors.Is(err, f.err) && !spare || err != nil && spare {
			t.Errorf("got error %v", err)
		}
		sc.checkHolds(t, dir)
		if strings.HasPrefix(failed, "sync ") {
			if slices.ContainsFunc(after, func(c string) bool { return !strings.HasPrefix(c, "remove tmp/") }) {
				t.Errorf("after a failed fsync: %q", after)
			}
			if err := s.Err(); !errors.Is(err, blob.ErrUnhealthy) || !errors.Is(err, f.err) {
				t.Errorf("Err = %v, want ErrUnhealthy and its cause", err)
			}
			checkRefuses(t, s, dir)
			return
		}
		if s.Err() != nil {
			t.Errorf("Err = %v after a fault that was no fsync", s.Err())
		}
		if err := sc.act(t, s); err != nil {
			t.Errorf("again, after the fault: %v", err)
		}
		checkTree(t, dir, sc.done())
	})
}

// checkRefuses checks that an unhealthy store changes nothing and can be read.
func checkRefuses(t *testing.T, s *blob.Store, dir string) {
	t.Helper()
	before := tree(t, dir)
	b, d := content(7, 10)
	_, stage := s.Stage(t.Context(), 10)
	for name, err := range map[string]error{
		"Stage":  stage,
		"Put":    s.Put(t.Context(), d, 10, bytes.NewReader(b)),
		"Remove": second(s.Remove(d)),
	} {
		if !errors.Is(err, blob.ErrUnhealthy) {
			t.Errorf("%s of an unhealthy store = %v, want ErrUnhealthy", name, err)
		}
	}
	for info, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		f, ok, err := s.Open(info.Digest)
		if err != nil || !ok {
			t.Fatalf("Open of an unhealthy store = %v, %v", ok, err)
		}
		defer f.Close()
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, before[blobPath(info.Digest)]) {
			t.Errorf("unhealthy store reads %d bytes, %v", len(got), err)
		}
		if whole, _ := s.Verify(t.Context(), info.Digest); !whole {
			continue
		}
		if _, _, err := s.SetAside(t.Context(), info.Digest); err != nil && !errors.Is(err, blob.ErrUnhealthy) {
			t.Errorf("SetAside of an unhealthy store = %v", err)
		}
	}
	checkTree(t, dir, before)
}

func second[T any](_ T, err error) error { return err }

// A stage that was begun while the store was healthy is refused after it ceased
// to be, even when it comes to the fsync that failed at the same moment.
func TestFailedSyncRefusesWhoWaitsForIt(t *testing.T) {
	a, d := content(1, 100)
	b, e := sameShard(d, 100)
	atSync, fail, bSynced := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var tmpSyncs int // of a, then of b
	hook := func(call, name string, do func() error) error {
		switch {
		case call == "sync" && strings.HasPrefix(name, "tmp/"):
			if tmpSyncs++; tmpSyncs == 2 {
				close(bSynced)
			}
		case call == "sync" && name == "sha256/"+d.Hex()[:2]:
			close(atSync) // a second sync would panic here
			<-fail
			return errors.New("fault")
		}
		return do()
	}
	s := openStore(t, newDir(t), hook)
	commit := func(b []byte, d events.Digest) <-chan error {
		st := newStage(t, s, 100)
		write(t, st, b)
		result := make(chan error, 1)
		go func() { result <- second(st.Commit(d)) }()
		return result
	}
	first := commit(a, d)
	<-atSync
	other := commit(b, e)
	<-bSynced
	close(fail)
	for _, result := range []<-chan error{first, other} {
		if err := <-result; !errors.Is(err, blob.ErrUnhealthy) {
			t.Errorf("Commit = %v, want ErrUnhealthy", err)
		}
	}
	if _, ok, err := s.Has(e); ok || err != nil {
		t.Errorf("blob that was refused: Has = %v, %v", ok, err)
	}
}
