package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"registry-node/events"
	"registry-node/node/blob"
)

func TestPutRefusesWhatIsNotPromised(t *testing.T) {
	b, d := content(1, 100_000)
	_, other := content(2, 1)
	broken := errors.New("connection reset")
	tests := map[string]struct {
		want events.Digest
		size int64
		r    io.Reader
		err  error
	}{
		"other digest": {other, 100_000, bytes.NewReader(b), blob.ErrMismatch},
		"short":        {d, 100_000, bytes.NewReader(b[:99_999]), blob.ErrMismatch},
		"short by its own digest": {
			events.DigestOf(b[:99_999]), 100_000, bytes.NewReader(b[:99_999]), blob.ErrMismatch},
		"long":         {d, 99_999, iotest.OneByteReader(bytes.NewReader(b)), blob.ErrTooLarge},
		"reader fails": {d, 100_000, io.MultiReader(bytes.NewReader(b[:5]), iotest.ErrReader(broken)), broken},
		"no digest":    {events.Digest{}, 100_000, bytes.NewReader(b), nil},
		"negative":     {d, -1, bytes.NewReader(b), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t)
			err := s.Put(t.Context(), test.want, test.size, test.r)
			if err == nil || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("Put = %v, want %v", err, test.err)
			}
			if s.Err() != nil {
				t.Errorf("store is unhealthy: %v", s.Err())
			}
			checkTree(t, dir, nil)
		})
	}
}

func TestPutTwiceKeepsTheFirst(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 100_000)
	d := put(t, s, b)
	put(t, s, b)
	checkTree(t, dir, map[string][]byte{blobPath(d): b})
}

func TestPutVerifiesEvenWhatExists(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 100)
	d := put(t, s, b)
	wrong, _ := content(2, 100)
	err := s.Put(t.Context(), d, 100, bytes.NewReader(wrong))
	if !errors.Is(err, blob.ErrMismatch) {
		t.Errorf("Put of other bytes under an existing digest = %v, want ErrMismatch", err)
	}
	checkTree(t, dir, map[string][]byte{blobPath(d): b})
}

func TestPutReplacesBlobOfWrongSize(t *testing.T) {
	s, dir := newStore(t)
	b, _ := content(1, 100)
	d := put(t, s, b)
	overwrite(t, dir, d, b[:50])
	put(t, s, b)
	checkTree(t, dir, map[string][]byte{blobPath(d): b, "aside/" + d.Hex(): b[:50]})
}

// Many writers of few digests, all in two shards: each succeeds, and what is
// there is whole.
func TestConcurrentWritersOfOneDigest(t *testing.T) {
	s, dir := newStore(t)
	a, da := content(1, 200_000)
	b, db := sameShard(da, 100_000)
	c, dc := content(2, 0)
	want := map[string][]byte{blobPath(da): a, blobPath(db): b, blobPath(dc): c}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 8 {
		for _, p := range [][]byte{a, b, c} {
			wg.Go(func() {
				<-start
				d := events.DigestOf(p)
				if err := s.Put(t.Context(), d, int64(len(p)), bytes.NewReader(p)); err != nil {
					t.Error(err)
				}
				f, ok, err := s.Open(d)
				if err != nil || !ok {
					t.Errorf("Open after Put = %v, %v", ok, err)
					return
				}
				defer f.Close()
				if got, err := io.ReadAll(f); !bytes.Equal(got, p) {
					t.Errorf("read %d bytes, %v; want the %d of %v", len(got), err, len(p), d)
				}
			})
		}
	}
	close(start)
	wg.Wait()
	checkTree(t, dir, want)
}

func TestExactlyOneCommitFindsTheBlobNew(t *testing.T) {
	s, _ := newStore(t)
	b, d := content(1, 1000)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex // guards created
		created int
	)
	for range 8 {
		st := newStage(t, s, 1000)
		write(t, st, b)
		wg.Go(func() {
			existed, err := st.Commit(d)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !existed {
				created++
			}
		})
	}
	wg.Wait()
	if created != 1 {
		t.Errorf("%d of 8 commits made the blob, want 1", created)
	}
}

func TestPutEndsWithItsContext(t *testing.T) {
	s, dir := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	b, d := content(1, 100_000)
	r := io.MultiReader(bytes.NewReader(b[:50_000]), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	}), bytes.NewReader(b[50_000:]))
	if err := s.Put(ctx, d, 100_000, r); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want context.Canceled", err)
	}
	checkTree(t, dir, nil)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
