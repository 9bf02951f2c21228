package blob_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node/blob"
)

func newStage(t *testing.T, s *blob.Store, limit int64) *blob.Stage {
	t.Helper()
	st, err := s.Stage(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Discard() })
	return st
}

func write(t *testing.T, st *blob.Stage, b []byte) {
	t.Helper()
	if n, err := st.Write(b); n != len(b) || err != nil {
		t.Fatalf("Write of %d bytes = %d, %v", len(b), n, err)
	}
}

func TestCommitMismatchNamesBoth(t *testing.T) {
	s, dir := newStore(t)
	b, got := content(1, 1000)
	_, want := content(2, 1000)
	st := newStage(t, s, 1000)
	write(t, st, b)
	_, err := st.Commit(want)
	if !errors.Is(err, blob.ErrMismatch) {
		t.Fatalf("Commit = %v, want ErrMismatch", err)
	}
	for _, d := range []events.Digest{got, want} {
		if !strings.Contains(err.Error(), d.String()) {
			t.Errorf("error %q does not name %v", err, d)
		}
	}
	checkTree(t, dir, nil)
}

func TestCommitWithoutWantTakesWhatWasWritten(t *testing.T) {
	s, dir := newStore(t)
	st := newStage(t, s, math.MaxInt64)
	b, d := content(1, 1000)
	write(t, st, b[:400])
	write(t, st, b[400:])
	if existed, err := st.Commit(events.Digest{}); existed || err != nil {
		t.Fatalf("Commit = %v, %v", existed, err)
	}
	if st.Digest() != d {
		t.Errorf("Digest = %v, want %v", st.Digest(), d)
	}
	checkTree(t, dir, map[string][]byte{blobPath(d): b})
}

func TestEmptyBlob(t *testing.T) {
	s, dir := newStore(t)
	d := put(t, s, nil)
	if size, ok, err := s.Has(d); size != 0 || !ok || err != nil {
		t.Errorf("Has = %d, %v, %v", size, ok, err)
	}
	checkTree(t, dir, map[string][]byte{blobPath(d): {}})
}

func TestStageIsReadWhileWritten(t *testing.T) {
	s, _ := newStore(t)
	st := newStage(t, s, math.MaxInt64)
	w := zip.NewWriter(st)
	f, err := w.Create("m.test/a@v1.0.0/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "module m.test/a\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		r, err := zip.NewReader(st, st.Size())
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		f, err := r.Open("m.test/a@v1.0.0/go.mod")
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer f.Close()
		if b, err := io.ReadAll(f); string(b) != "module m.test/a\n" || err != nil {
			t.Fatalf("%s: read %q, %v", when, b, err)
		}
	}
	check("before Commit")
	if n, err := st.ReadAt(make([]byte, 1), st.Size()); n != 0 || err != io.EOF {
		t.Errorf("ReadAt the end = %d, %v; want EOF", n, err)
	}
	if _, err := st.Commit(events.Digest{}); err != nil {
		t.Fatal(err)
	}
	check("after Commit")
	if err := st.Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("ReadAt after Discard = %v, want ErrClosed", err)
	}
}

func TestStageIsReadAfterCommitOfExisting(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 100)
	d := put(t, s, b)
	st := newStage(t, s, 100)
	write(t, st, b)
	if existed, err := st.Commit(d); !existed || err != nil {
		t.Fatalf("Commit = %v, %v", existed, err)
	}
	checkTree(t, dir, map[string][]byte{blobPath(d): b})
	got := make([]byte, 100)
	if n, err := st.ReadAt(got, 0); n != 100 || !bytes.Equal(got, b) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
}

func TestTooLarge(t *testing.T) {
	s, dir := newStore(t)
	b, d := content(1, 1000)
	st := newStage(t, s, 999)
	write(t, st, b[:999])
	if n, err := st.Write(b[999:]); n != 0 || !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("Write above the limit = %d, %v; want ErrTooLarge", n, err)
	}
	checkTree(t, dir, nil)
	if _, err := st.Commit(d); !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("Commit after it = %v, want ErrTooLarge", err)
	}
	if _, err := s.Stage(t.Context(), -1); err == nil {
		t.Error("Stage with a negative limit succeeded")
	}
}

func TestDiscard(t *testing.T) {
	b, d := content(1, 100)
	t.Run("before Commit", func(t *testing.T) {
		s, dir := newStore(t)
		st := newStage(t, s, 100)
		write(t, st, b)
		for range 2 {
			if err := st.Discard(); err != nil {
				t.Error(err)
			}
		}
		if _, err := st.Write(nil); err == nil {
			t.Error("Write after Discard succeeded")
		}
		if _, err := st.Commit(d); err == nil {
			t.Error("Commit after Discard succeeded")
		}
		checkTree(t, dir, nil)
	})
	t.Run("after Commit", func(t *testing.T) {
		s, dir := newStore(t)
		st := newStage(t, s, 200)
		write(t, st, b)
		if _, err := st.Commit(d); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Write(b); err == nil {
			t.Error("Write after Commit succeeded")
		}
		if _, err := st.Commit(d); err == nil {
			t.Error("second Commit succeeded")
		}
		if err := st.Discard(); err != nil {
			t.Error(err)
		}
		checkTree(t, dir, map[string][]byte{blobPath(d): b})
	})
}

func TestStageEndsWithItsContext(t *testing.T) {
	cause := errors.New("the client has gone")
	b, d := content(1, 100)
	for name, last := range map[string]func(*blob.Stage) error{
		"write":  func(st *blob.Stage) error { _, err := st.Write(b); return err },
		"commit": func(st *blob.Stage) error { _, err := st.Commit(d); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			st, err := s.Stage(ctx, 200)
			if err != nil {
				t.Fatal(err)
			}
			write(t, st, b)
			cancel(cause)
			if err := last(st); !errors.Is(err, cause) {
				t.Errorf("got %v, want %v", err, cause)
			}
			checkTree(t, dir, nil)
			if _, err := s.Stage(ctx, 1); !errors.Is(err, cause) {
				t.Errorf("Stage = %v, want %v", err, cause)
			}
		})
	}
}
