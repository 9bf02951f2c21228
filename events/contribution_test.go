package events_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"registry-node/events"
)

// A contribution is bounded in facts and in bytes; what comes later is dropped.
func TestContributionIsBounded(t *testing.T) {
	for name, reason := range map[string]string{"facts": "x", "bytes": strings.Repeat("x", 1000)} {
		t.Run(name, func(t *testing.T) {
			b := events.VersionBlocked{Module: v1.Path, Reason: reason}
			data := must(events.EncodeBody(b))
			if name == "bytes" { // of fields that this version doesn't know
				data = append(data[:len(data)-1], `,"later":"`+strings.Repeat("x", 50_000)+`"}`...)
			}
			var c events.Contribution
			kept, spare := 0, 0 // facts that still fit when there is room for few
			for n := range 5000 {
				if c.FullBut(64) && !c.Full() {
					spare++
				}
				next, changed, err := events.Apply(c, events.Event{ID: events.EventID{site("a"), events.Mark{1, uint64(n + 1)}, 0}, Time: at(n), Type: b.Type(), Data: data, Body: b})
				if err != nil || changed == c.Full() {
					t.Fatalf("event %d: changed %t, full %t, %v", n, changed, c.Full(), err)
				}
				c, kept = next, len(next)
			}
			if size := len(c.Encode()); !c.Full() || kept == 5000 || size > 10<<20 {
				t.Errorf("%d facts, %d bytes, full: %t", kept, size, c.Full())
			}
			if spare < 2 || spare > 64 {
				t.Errorf("%d facts fit when 64 small ones are kept free", spare)
			}
		})
	}
}

func TestApplyLeavesItsArgumentsAlone(t *testing.T) {
	b := events.VersionBlocked{Module: v1.Path, Reason: "x"}
	ev := func(n uint64, i int) events.Event {
		return events.Event{ID: events.EventID{site("a"), events.Mark{1, n}, i}, Time: at(int(n)), Type: b.Type(), Data: must(events.EncodeBody(b)), Body: b}
	}
	base, _, _ := events.Apply(nil, ev(1, 0))
	base = append(make(events.Contribution, 0, 8), base...)
	one, _, _ := events.Apply(base, ev(2, 0))
	two, _, _ := events.Apply(base, ev(3, 0))
	if one[1].Mark == two[1].Mark || len(base) != 1 {
		t.Error("two applications to one contribution share memory")
	}
	for _, again := range []events.Event{ev(1, 0), ev(2, 0)} {
		if next, changed, err := events.Apply(one, again); changed || err != nil || !reflect.DeepEqual(next, one) {
			t.Errorf("%v again: changed %t, %v", again.ID, changed, err)
		}
	}
	if next, changed, _ := events.Apply(one, ev(2, 1)); !changed || len(next) != 3 {
		t.Error("a second event of the same entry is taken for the first")
	}
}

func TestContributionsWith(t *testing.T) {
	var cs events.Contributions
	for i, s := range []string{"b", "a", "c", "b"} {
		before := fmt.Sprint(cs)
		old := cs
		cs = cs.With(site(s), make(events.Contribution, i+1))
		if fmt.Sprint(old) != before {
			t.Error("With changed what it was given")
		}
	}
	var got []string
	for _, c := range cs {
		got = append(got, fmt.Sprint(c.Site, len(c.Facts)))
	}
	if want := []string{"a 2", "b 4", "c 3"}; !slices.Equal(got, want) || cs.Of(site("d")) != nil || len(cs.Of(site("b"))) != 4 {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestDecodeContributionRefuses(t *testing.T) {
	good := `[{"at":"1/7","i":1,"time":"2026-03-01T12:00:00.250Z","type":"feature.raised","data":{"level":2}}]`
	if _, err := events.DecodeContribution([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`[{`, `{`}, {`"1/7"`, `"1/07"`}, {`"at":"1/7",`, ``}, {`"i":1`, `"i":0`}, {`"i":1`, `"i":-1`}, {`250Z`, `25Z`}, {`250Z`, `250+00:00`}, {`feature.raised`, `feature.lowered`},
		{`{"level":2}`, `{"level":0}`}, {`{"level":2}`, `{ "level":2}`}, {`]`, `,]`}, {`]`, `]x`}, {`]`, ``}, {`"i":1,`, `"i":1,"j":1,`},
		{`"at":"1/7","i":1`, `"i":1,"at":"1/7"`}, {`[{`, good[:len(good)-1] + `,{`}, {`{"level":2}`, `null`},
	} {
		raw := strings.Replace(good, change[0], change[1], 1)
		if c, err := events.DecodeContribution([]byte(raw)); err == nil {
			t.Errorf("%s was taken, as %+v", raw, c)
		}
	}
	if c, err := events.DecodeContribution(nil); c != nil || err != nil {
		t.Errorf("no bytes are %v, %v", c, err)
	}
}
