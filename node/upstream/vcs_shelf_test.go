package upstream

import (
	"errors"
	"testing"
)

// TestShelfGrown: directories in which commands run count together, and the
// largest has to give way.
func TestShelfGrown(t *testing.T) {
	t.Parallel()
	s, err := openShelf(t.TempDir(), 100)
	if err != nil {
		t.Fatal(err)
	}
	var books []*book
	for _, target := range []string{"https://a.test/r", "https://b.test/r"} {
		b, err := s.borrow(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer s.giveBack(b)
		books = append(books, b)
	}
	for _, step := range []struct {
		book int
		size int64
		want error
	}{{0, 40, nil}, {1, 60, nil}, {0, 50, nil}, {1, 60, errDisk}, {1, 50, nil}, {1, 10, nil}} {
		if err := s.grown(books[step.book], step.size); !errors.Is(err, step.want) {
			t.Errorf("book %d has %d bytes: %v, want %v", step.book, step.size, err, step.want)
		}
	}
}
