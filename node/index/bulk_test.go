package index

import (
	"fmt"
	"testing"
)

func TestKeyFilterNeverMissesWhatWasAdded(t *testing.T) {
	f := newKeyFilter()
	key := func(i int) []byte { return fmt.Appendf(nil, "c%d", i) }
	for i := range 100_000 {
		f.add(key(i))
	}
	wrong := 0
	for i := range 200_000 {
		lacks := f.lacks(key(i))
		if i < 100_000 && lacks {
			t.Fatalf("key %d was added, and is said to be lacking", i)
		}
		if i >= 100_000 && !lacks {
			wrong++
		}
	}
	if wrong > 100 {
		t.Errorf("%d of 100000 keys that were not added may be there", wrong)
	}
}
