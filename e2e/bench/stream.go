package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/mod/module"
)

const (
	streamLatency = 2 * time.Millisecond // of the upstream's answers
	streamRate    = 10 << 20             // bytes per second of the slow upstream
	streamSize    = 100 << 20
	besideSize    = 40 << 20 // of a zip beside which info and go.mod are asked for
)

// stream looks at zips that a node lacks while they come from the upstream: how
// soon clients get the first byte and the last, and whether what is small waits
// for them.
func (b *bench) stream(ctx context.Context) error {
	up, err := newUpstream(streamLatency)
	if err != nil {
		return err
	}
	defer up.Close()
	for i := range 2*rounds + 1 {
		size := streamSize
		if i == 0 {
			size = besideSize
		}
		if err := up.add(b.dir, module.Version{Path: fmt.Sprintf("stream.example/m%d", i), Version: "v1.0.0"}, size); err != nil {
			return err
		}
	}
	s, err := b.serve(ctx, filepath.Join(b.dir, "stream"), "GOPROXY="+up.URL, "GOSUMDB="+up.key, "GONOSUMDB=", "GOPRIVATE=")
	if err != nil {
		return err
	}
	defer s.stop()
	through := s.addr + "/go/all"
	up.rate = streamRate
	if err := b.beside(ctx, through); err != nil {
		return err
	}
	if err := b.firstByte(ctx, up, through, 1, modHeld); err != nil {
		return err
	}
	if err := b.firstByte(ctx, up, through, 1+rounds, "nothing held"); err != nil {
		return err
	}
	without, err := b.serve(ctx, filepath.Join(b.dir, "stream-unchecked"), "GOPROXY="+up.URL, "GOSUMDB=off", "GONOSUMDB=", "GOPRIVATE=")
	if err != nil {
		return err
	}
	defer without.stop()
	return b.firstByte(ctx, up, without.addr+"/go/all", 1, "nothing held, no checksum database")
}

// beside asks for info and go.mod while the zip comes.
func (b *bench) beside(ctx context.Context, through string) error {
	const base = "/stream.example/m0/@v/v1.0.0"
	came := make(chan fetched, 1)
	go func() { came <- fetch(ctx, through+base+".zip", nil) }()
	info, mod := fetch(ctx, through+base+".info", nil), fetch(ctx, through+base+".mod", nil)
	zip := <-came
	for _, f := range []fetched{info, mod, zip} {
		if f.err != nil {
			return f.err
		}
	}
	b.add("info and go.mod beside a cold 40 MB zip at 10 MB/s", fmt.Sprintf("%.1fms, %.1fms", ms(info.whole), ms(mod.whole)),
		fmt.Sprintf("zip %.0fms", ms(zip.whole)), fmt.Sprintf("%.4f", float64(info.whole+mod.whole)/float64(zip.whole)), "milliseconds")
	return nil
}

// modHeld is how the go command asks: for the go.mod first.
const modHeld = "go.mod held"

// firstByte compares cold zips with the upstream's own.
func (b *bench) firstByte(ctx context.Context, up *upstream, through string, from int, known string) error {
	var first, direct, ratios, whole []float64
	for i := from; i < from+rounds; i++ {
		base := fmt.Sprintf("/stream.example/m%d/@v/v1.0.0", i)
		want := up.files[base[1:]+".zip"]
		if known == modHeld {
			if f := fetch(ctx, through+base+".mod", nil); f.err != nil {
				return f.err
			}
		}
		own := fetch(ctx, up.URL+base+".zip", want)
		node := fetch(ctx, through+base+".zip", want)
		if own.err != nil || node.err != nil {
			return fmt.Errorf("upstream: %w, node: %w", own.err, node.err)
		}
		first, direct = append(first, ms(node.first)), append(direct, ms(own.first))
		ratios, whole = append(ratios, float64(node.first)/float64(own.first)), append(whole, float64(node.whole)/float64(own.whole))
	}
	what := "cold 100 MB zip at 10 MB/s, " + known
	b.add("first byte of a "+what, fmt.Sprintf("%.1fms", median(first)), fmt.Sprintf("direct %.1fms", median(direct)), fmt.Sprintf("%.2f", median(ratios)), "≤ 2")
	b.add("all of a "+what, "", "direct", fmt.Sprintf("%.3f", median(whole)), "≤ 1.05")
	return nil
}

// fetched is how long a body took to begin and to end.
type fetched struct {
	first, whole time.Duration
	err          error
}

// fetch reads a body, which must be want if that is not nil.
func fetch(ctx context.Context, url string, want []byte) fetched {
	begin := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fetched{err: err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fetched{err: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fetched{err: fmt.Errorf("%s: %s", url, resp.Status)}
	}
	head := make([]byte, 1)
	_, err = io.ReadFull(resp.Body, head)
	f := fetched{first: time.Since(begin), err: err}
	rest, err := io.ReadAll(resp.Body)
	f.whole = time.Since(begin)
	switch {
	case f.err != nil:
	case err != nil:
		f.err = err
	case want != nil && !bytes.Equal(append(head, rest...), want):
		f.err = fmt.Errorf("%s: other bytes than the upstream's", url)
	}
	return f
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
