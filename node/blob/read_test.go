package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/events"
)

func TestAbsenceIsAValue(t *testing.T) {
	s, dir := newStore(t)
	b, there := content(1, 10)
	put(t, s, b)
	_, inShard := sameShard(there, 10)
	_, noShard := content(2, 10)
	for _, d := range []events.Digest{inShard, noShard, {}} {
		if _, ok, err := s.Open(d); ok || err != nil {
			t.Errorf("Open = %v, %v", ok, err)
		}
		if _, ok, err := s.Has(d); ok || err != nil {
			t.Errorf("Has = %v, %v", ok, err)
		}
		if ok, err := s.Verify(t.Context(), d); ok || err != nil {
			t.Errorf("Verify = %v, %v", ok, err)
		}
		if _, ok, err := s.SetAside(t.Context(), d); ok || err != nil {
			t.Errorf("SetAside = %v, %v", ok, err)
		}
		if ok, err := s.Remove(d); ok || err != nil {
			t.Errorf("Remove = %v, %v", ok, err)
		}
	}
	checkTree(t, dir, map[string][]byte{blobPath(there): b})
}

// What is there and is not a blob is a fault, not an absence.
func TestNotAFileIsNotAbsence(t *testing.T) {
	s, dir := newStore(t)
	_, d := content(1, 10)
	if err := os.MkdirAll(filepath.Join(dir, blobPath(d)), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Open(d); ok || err == nil {
		t.Errorf("Open = %v, %v; want an error", ok, err)
	}
	if _, ok, err := s.Has(d); ok || err == nil {
		t.Errorf("Has = %v, %v; want an error", ok, err)
	}
}

func TestFaultIsNotAbsence(t *testing.T) {
	s, _ := newStore(t)
	b, _ := content(1, 10)
	d := put(t, s, b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Open(d); ok || err == nil {
		t.Errorf("Open of a closed store = %v, %v; want an error", ok, err)
	}
	if _, ok, err := s.Has(d); ok || err == nil {
		t.Errorf("Has of a closed store = %v, %v; want an error", ok, err)
	}
}

func TestServeContent(t *testing.T) {
	s, _ := newStore(t)
	b, _ := content(1, 100_000)
	d := put(t, s, b)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok, err := s.Open(d)
		if err != nil || !ok || f.Size != int64(len(b)) {
			t.Errorf("Open = %d bytes, %v, %v", f.Size, ok, err)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "", time.Time{}, f.File)
	}))
	defer srv.Close()
	for header, want := range map[string][]byte{"": b, "bytes=10-19": b[10:20], "bytes=-5": b[len(b)-5:]} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			req.Header.Set("Range", header)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("range %q: %d bytes, %v; want %d", header, len(got), err, len(want))
		}
	}
}

func TestOpenFileOutlivesItsBlob(t *testing.T) {
	s, _ := newStore(t)
	b, _ := content(1, 100_000)
	d := put(t, s, b)
	f, ok, err := s.Open(d)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer f.Close()
	if ok, err := s.Remove(d); !ok || err != nil {
		t.Fatalf("Remove = %v, %v", ok, err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestAll(t *testing.T) {
	s, dir := newStore(t)
	want := map[events.Digest]int64{}
	for i := range 20 {
		b, _ := content(uint64(i), i)
		want[put(t, s, b)] = int64(i)
	}
	_, d := content(3, 3)
	strays := []string{"README", "sha256x", d.Hex()[:2] + "/" + strings.ToUpper(d.Hex()), d.Hex()[:2] + "/x"}
	wrongShard := "00/" + d.Hex()
	if d[0] == 0 {
		wrongShard = "01/" + d.Hex()
	}
	for _, name := range append(strays, wrongShard) {
		path := filepath.Join(dir, "sha256", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := map[events.Digest]int64{}
	var order []events.Digest
	var errs []error
	for info, err := range s.All(t.Context()) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got[info.Digest] = info.Size
		order = append(order, info.Digest)
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %d blobs, want %d", len(got), len(want))
	}
	if !slices.IsSortedFunc(order, events.Digest.Compare) {
		t.Error("digests are not in order")
	}
	text := errors.Join(errs...).Error()
	for _, name := range append(strays, wrongShard) {
		if !strings.Contains(text, "sha256/"+name) {
			t.Errorf("no error names sha256/%s: %s", name, text)
		}
	}
	if len(errs) != len(strays)+1 {
		t.Errorf("%d errors, want %d", len(errs), len(strays)+1)
	}
}

func TestAllEnds(t *testing.T) {
	s, _ := newStore(t)
	for i := range 5 {
		b, _ := content(uint64(i), 10)
		put(t, s, b)
	}
	var seen int
	for range s.All(t.Context()) {
		seen++
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range s.All(ctx) {
		seen++
		last = err
		cancel()
	}
	if seen != 3 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d steps, the last with %v; want 1, then 1 and context.Canceled", seen, last)
	}
}
