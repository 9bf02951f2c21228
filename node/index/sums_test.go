package index_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node/index"
)

// total returns the sum of hashes as a number of 256 bits, modulo 2^256.
func total(hashes ...index.StateHash) (sum index.StateHash) {
	for _, h := range hashes {
		carry := 0
		for i := len(sum) - 1; i >= 0; i-- {
			carry += int(sum[i]) + int(h[i])
			sum[i], carry = byte(carry), carry>>8
		}
	}
	return sum
}

func hashesOf(sums []index.Sum) (list []index.StateHash) {
	for _, s := range sums {
		list = append(list, s.Hash)
	}
	return list
}

// At each place of a log the groups add up to its state hash, and each group to
// what its own groups, or its rows, add up to.
func TestSumsAddUpToTheStateHash(t *testing.T) {
	x, a, b := open(t), newWriter(t, "a"), newWriter(t, "b")
	a.history(rand.New(rand.NewPCG(8, 8)), 25)
	b.history(rand.New(rand.NewPCG(9, 9)), 25)
	apply(t, x, a.log...)
	apply(t, x, b.log...)
	keep(t, x, a.addUnknown())
	for _, e := range a.log[:25] {
		m := e.Position.Mark
		sums, err := x.Sums(a.site, m, "")
		want, ok, hashErr := x.StateHashAt(a.site, m)
		if err != nil || hashErr != nil || !ok || total(hashesOf(sums)...) != want {
			t.Fatalf("sums at %v: %v, %v, want %v in all", m, sums, err, want)
		}
		if m.Seq%8 == 1 {
			checkSums(t, x, a.site, m, "")
		}
	}
	if sums, err := x.Sums(a.site, events.Mark{}, ""); len(sums) != 0 || err != nil {
		t.Errorf("before the first entry: %v, %v", sums, err)
	}
	if _, err := x.Sums(a.site, a.last.Mark, ""); err == nil {
		t.Error("sums of entries that wait to be applied")
	}
	if _, err := x.Rows(site(t, "c"), a.last.Mark, ""); err == nil {
		t.Error("rows of a log that is not there")
	}
}

// checkSums goes down to the rows below a prefix and returns how many there are.
func checkSums(t *testing.T, x *index.Index, s events.Site, m events.Mark, prefix string) {
	t.Helper()
	sums, err := x.Sums(s, m, prefix)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(sums, func(a, b index.Sum) int { return int(a.Next) - int(b.Next) }) {
		t.Errorf("groups of %q are not sorted: %v", prefix, sums)
	}
	for _, g := range sums {
		p := prefix + string([]byte{g.Next})
		rows, err := x.Rows(s, m, p)
		if g.Next == 0 && len(rows) == 0 { // the key that ends there
			rows, err = x.Rows(s, m, prefix)
			rows = slices.DeleteFunc(rows, func(r index.RowHash) bool { return r.Key.Bytes() != prefix })
		}
		if err != nil || len(rows) != g.Rows || len(rows) == 0 {
			t.Fatalf("group %q has %d rows, the sum says %d, %v", p, len(rows), g.Rows, err)
		}
		var hashes []index.StateHash
		for _, r := range rows {
			if !strings.HasPrefix(r.Key.Bytes(), prefix) {
				t.Errorf("row %q under %q", r.Key, prefix)
			}
			hashes = append(hashes, r.Hash)
		}
		if total(hashes...) != g.Hash {
			t.Errorf("group %q: the rows do not add up", p)
		}
		if len(rows) > 1 || rows[0].Key.Bytes() != prefix {
			checkSums(t, x, s, m, p)
		}
	}
}

// Going down from the state hash finds the one row in which two sites differ.
func TestSumsFindTheRowThatDiffers(t *testing.T) {
	x, y, w := open(t), open(t), newWriter(t, "a")
	w.history(rand.New(rand.NewPCG(8, 8)), 25)
	key := events.KeyVersion(repo, version("m.test/odd", 3))
	w.add(publish(version("m.test/odd", 3), 1), publish(version("m.test/odd", 33), 1))
	apply(t, x, w.log...)
	apply(t, y, w.log...)
	if err := edit(y.DB(), index.ContributionKey(key, w.site), "ann", "bob"); err != nil {
		t.Fatal(err)
	}
	prefix := ""
	for steps := 0; prefix != key.Bytes(); steps++ {
		one, err := x.Sums(w.site, w.last.Mark, prefix)
		if err != nil {
			t.Fatal(err)
		}
		two, err := y.Sums(w.site, w.last.Mark, prefix)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(one, func(g index.Sum) bool { return !slices.Contains(two, g) })
		if i < 0 || steps > len(key.Bytes()) {
			t.Fatalf("no group below %q differs: %v", prefix, one)
		}
		prefix += string([]byte{one[i].Next})
	}
}

func TestRowsAreBounded(t *testing.T) {
	x, w := open(t), newWriter(t, "a")
	for i := range 3 {
		var bodies []events.Body
		for k := range 400 {
			bodies = append(bodies, seen("m.test/"+string(rune('a'+i))+strings.Repeat("x", k), 1))
		}
		w.add(bodies...)
	}
	apply(t, x, w.log...)
	rows, err := x.Rows(w.site, w.last.Mark, "")
	if err != nil || len(rows) != index.MaxRows {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if !slices.IsSortedFunc(rows, func(a, b index.RowHash) int { return strings.Compare(a.Key.Bytes(), b.Key.Bytes()) }) {
		t.Error("rows are not sorted")
	}
}
