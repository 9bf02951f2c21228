package events_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"registry-node/events"
)

// filledEntry is what a replay meets: an entry of 16 fills, each with a small
// go.mod, about 600 bytes of data.
func filledEntry(tb testing.TB) events.Entry {
	var bodies []events.Body
	for i := range 16 {
		path := fmt.Sprintf("example.test/team%d/service", i)
		c := content(1)
		c.Mod = fmt.Appendf(nil, "module %s\n\ngo 1.24\n\nrequire (\n\tother.test/x/mod v0.29.0\n\tother.test/x/sync v0.1%d.0\n)\n", path, i)
		c.ModH1, c.Sumdb = events.HashMod(c.Mod), "sum.test"
		bodies = append(bodies, events.VersionFilled{ModuleVersion: events.Of(repoID("a/1/1/2"), modVersion(path, "v1.2.3")), Content: c, Upstream: "https://proxy.test"})
	}
	return sealed(tb, "1/9", bodies...)
}

func perEvent(b *testing.B, n int) {
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkDecodeEntry(b *testing.B) {
	e := filledEntry(b)
	b.SetBytes(int64(len(e.Raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.DecodeEntry(e.Raw); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, len(e.Events))
}

// What each entry of another site, or of a replay, costs before it is stored.
func BenchmarkDecodeVerifyApplyEncode(b *testing.B) {
	e := filledEntry(b)
	key := ed25519.PublicKey(public(1))
	b.SetBytes(int64(len(e.Raw)))
	for b.Loop() {
		e, err := events.DecodeEntry(e.Raw)
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Verify(key); err != nil {
			b.Fatal(err)
		}
		for _, ev := range e.Events {
			c, _, err := events.Apply(nil, ev)
			if err != nil {
				b.Fatal(err)
			}
			c.Encode()
		}
	}
	perEvent(b, len(e.Events))
}

// What a read of a version costs beside the index.
func BenchmarkDecodeContribution(b *testing.B) {
	c, _, err := events.Apply(nil, filledEntry(b).Events[0])
	if err != nil {
		b.Fatal(err)
	}
	raw := c.Encode()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.DecodeContribution(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPatternMatch(b *testing.B) {
	p := pattern("corp.test/**/internal")
	b.ReportAllocs()
	for b.Loop() {
		p.Match("corp.test/team/service/api/v2")
	}
}
