package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"registry-node/node"
)

// catchUpProgress shows how far a new site is: on a terminal a bar in one line
// that is written over, elsewhere a line every so often. It is used by one
// goroutine at a time.
type catchUpProgress struct {
	w        io.Writer
	terminal bool
	every    time.Duration // between two changes
	showed   time.Time
	last     node.JoinProgress
	began    bool
}

// plainEvery is the least time between two lines where no person watches.
const plainEvery = 2 * time.Second

func newCatchUpProgress(w io.Writer) *catchUpProgress {
	p := &catchUpProgress{w: w, terminal: isTerminal(w), every: plainEvery}
	if p.terminal {
		p.every = showEvery
	}
	return p
}

func (p *catchUpProgress) show(j node.JoinProgress) {
	p.last = j
	now := time.Now()
	if p.began && now.Sub(p.showed) < p.every {
		return
	}
	p.began, p.showed = true, now
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s %s", bar(j), catchUpText(j))
	} else {
		fmt.Fprintln(p.w, "joining: "+catchUpText(j))
	}
}

// end clears the bar, and says what there is now if all went well.
func (p *catchUpProgress) end(well bool) {
	if p.terminal && p.began {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	if well && p.began {
		fmt.Fprintln(p.w, "joined: "+catchUpText(p.last))
	}
}

// catchUpText says how far a join is.
func catchUpText(j node.JoinProgress) string {
	text := fmt.Sprintf("%d of %d logs, %d of %d entries (%.0f/s), %d blobs", j.Logs, j.LogsTotal, j.Entries, max(j.EntriesTotal, j.Entries), j.Rate, j.Blobs)
	if j.BlobsMissing > 0 {
		text += fmt.Sprintf(", %d to come (%s)", j.BlobsMissing, bytesText(j.BytesMissing))
	}
	if j.Left > 0 {
		text += fmt.Sprintf(", %v left", max(j.Left.Round(time.Second), time.Second))
	}
	return text
}

// bar shows the part of the entries that is here.
func bar(j node.JoinProgress) string {
	const width = 20
	full := width
	if j.Entries < j.EntriesTotal {
		full = int(float64(width) * float64(j.Entries) / float64(j.EntriesTotal))
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}
