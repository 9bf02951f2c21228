package main

import (
	"fmt"
	"io"
	"time"
)

// progress shows a person how far long work is, in one line that is written
// over. Where no person watches it writes nothing. It is used by one goroutine
// at a time.
type progress struct {
	w    io.Writer // nil: nobody watches
	text func(done uint64, perSecond float64) string

	what          string // of the phase that is shown
	began, showed time.Time
}

// showEvery bounds how often the line changes.
const showEvery = 100 * time.Millisecond

// countProgress shows a number of things done in phases.
func countProgress(w io.Writer) *progress {
	return newProgress(w, func(done uint64, rate float64) string {
		return fmt.Sprintf("%d (%.0f/s)", done, rate)
	})
}

// byteProgress shows how many of total bytes have gone.
func byteProgress(w io.Writer, total int64) *progress {
	return newProgress(w, func(done uint64, rate float64) string {
		return fmt.Sprintf("%s of %s (%s/s)", bytesText(done), bytesText(total), bytesText(int64(rate)))
	})
}

func newProgress(w io.Writer, text func(uint64, float64) string) *progress {
	if !isTerminal(w) {
		w = nil
	}
	return &progress{w: w, text: text}
}

// show says how far the phase called what is.
func (p *progress) show(what string, done uint64) {
	now := time.Now()
	if p.w == nil || what == p.what && now.Sub(p.showed) < showEvery {
		return
	}
	if what != p.what {
		p.what, p.began = what, now
	}
	p.showed = now
	rate := 0.0
	if took := now.Sub(p.began).Seconds(); took > 0 {
		rate = float64(done) / took
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s %s", what, p.text(done, rate))
}

// end clears the line.
func (p *progress) end() {
	if p.w != nil && p.what != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// reader shows how much has been read of r.
func (p *progress) reader(what string, r io.Reader) io.Reader {
	return &countingReader{r: r, progress: p, what: what}
}

type countingReader struct {
	r        io.Reader
	progress *progress
	what     string
	done     uint64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.done += uint64(n)
	c.progress.show(c.what, c.done)
	return n, err
}
