package node

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"registry-node/events"
)

// Ten million names that are nowhere take the memory that was set aside for them,
// and no more; one that is remembered is not taken for another.
func TestAbsencesAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("ten million names take seconds")
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	repo, err := events.ParseRepoID("a/1/2/0")
	if err != nil {
		t.Fatal(err)
	}
	before, now := heap(), time.Now()
	n := newNegatives(negativeSlots)
	key := func(i int) askKey { return askKey{repo, "https://up.example", fmt.Sprintf("none.example/m%d", i), ""} }
	for i := range 10_000_000 {
		n.put(key(i), now)
	}
	const set = negativeSlots*16 + 1<<20
	if grown := heap() - before; grown > set {
		t.Errorf("memory grew by %d bytes, want at most %d", grown, set)
	}
	if _, ok := n.since(key(9_999_999)); !ok {
		t.Error("the last one is forgotten")
	}
	for i := range 1_000_000 {
		if _, ok := n.since(key(-1 - i)); ok {
			t.Fatalf("%v was never absent", key(-1-i))
		}
	}
	runtime.KeepAlive(n)
}
