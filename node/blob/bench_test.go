package blob_test

import (
	"bytes"
	"sync/atomic"
	"testing"

	"registry-node/events"
)

// Durable puts of distinct blobs of 64 KiB; run with -benchtime=2000x or so.
func BenchmarkPut64KiB(b *testing.B) {
	const size = 64 << 10
	b.Run("serial", func(b *testing.B) {
		s, _ := newStore(b)
		p, _ := content(1, size)
		b.SetBytes(size)
		for i := 0; b.Loop(); i++ {
			stamp(p, uint64(i))
			put(b, s, p)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		s, _ := newStore(b)
		var n atomic.Uint64
		b.SetBytes(size)
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			p, _ := content(1, size)
			for pb.Next() {
				stamp(p, n.Add(1))
				d := events.DigestOf(p)
				if err := s.Put(b.Context(), d, size, bytes.NewReader(p)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// stamp makes p another content.
func stamp(p []byte, n uint64) {
	for i := range 8 {
		p[i] = byte(n >> (8 * i))
	}
}

func BenchmarkOpen(b *testing.B) {
	s, _ := newStore(b)
	p, _ := content(1, 1000)
	d := put(b, s, p)
	for b.Loop() {
		f, ok, err := s.Open(d)
		if err != nil || !ok {
			b.Fatal(ok, err)
		}
		f.Close()
	}
}
