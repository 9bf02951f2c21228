package replication_test

import (
	"bytes"
	"testing"
)

// kib is an entry of 1 KiB.
var kib = bytes.Repeat([]byte("x"), 1<<10)

func kibs(n int) func(func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		for range n {
			if !yield(kib, nil) {
				return
			}
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, b.TempDir())
	b.SetBytes(int64(len(kib)))
	seq := uint64(0)
	for b.Loop() {
		seq++
		if err := l.Append(b.Context(), seq, kib); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead reads 100,000 entries of 1 KiB per round.
func BenchmarkRead(b *testing.B) {
	const count = 100_000
	l := open(b, b.TempDir())
	if err := l.Rewrite(b.Context(), kibs(count), nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		for _, err := range l.Read(b.Context(), 1) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != count {
			b.Fatalf("read %d, want %d", n, count)
		}
	}
	b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkRewrite writes 20,000 entries of 1 KiB per round.
func BenchmarkRewrite(b *testing.B) {
	const count = 20_000
	l := open(b, b.TempDir())
	for b.Loop() {
		if err := l.Rewrite(b.Context(), kibs(count), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
