package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestPagesKept: of a page only what is for its path is kept, and of all no more
// than a bound.
func TestPagesKept(t *testing.T) {
	t.Parallel()
	all := []goImport{{"a.test/r", "git", "https://a.test/git", ""}, {"b.test/" + strings.Repeat("b", 1000), "git", "https://b.test/git", ""}}
	if tags := tagsFor("a.test/r/sub", all); len(tags) != 1 || tags[0] != all[0] {
		t.Errorf("tags %v", tags)
	}
	p := newPages(context.Background(), nil)
	large := []goImport{{"a.test", "git", strings.Repeat("x", 1<<20), ""}}
	for i := range 200 {
		path := fmt.Sprintf("a.test/%d", i)
		p.keep(path, large)
		p.keep(path, large) // again: not counted twice
		if sum := len(p.kept) << 20; p.size < sum || p.size > sum+len(p.kept)<<10 || p.size > maxAllPages {
			t.Fatalf("%d pages count as %d bytes", len(p.kept), p.size)
		}
	}
}

// TestRefsBeingRead: refs that are being read count together, until they are read.
func TestRefsBeingRead(t *testing.T) {
	t.Parallel()
	var of refsOf
	of.reading.Store(maxAllRefs - 500)
	r := &refs{tags: make(map[string]string), heads: make(map[string]string), spend: &of.reading}
	object := strings.Repeat("ab", 20)
	var err error
	for i := range 10 {
		if err = r.add(object, fmt.Sprintf("refs/tags/v1.0.%d", i)); err != nil {
			break
		}
	}
	if !errors.Is(err, errBusy) {
		t.Errorf("more than may be: %v", err)
	}
	r.spent()
	if left := of.reading.Load(); left != maxAllRefs-500 {
		t.Errorf("%d bytes are reserved after all is read", left)
	}
}
