package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressIsForPeople(t *testing.T) {
	var buf bytes.Buffer
	p := countProgress(&buf)
	p.show("log", 1)
	p.end()
	if buf.Len() > 0 {
		t.Errorf("where nobody watches it writes %q", buf.String())
	}
}

func TestProgressLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		p := countProgress(nil)
		p.w = &buf // as if it were a terminal
		for i := range uint64(2001) {
			p.show("log", i)
			time.Sleep(time.Millisecond)
		}
		p.show("blobs", 1)
		p.end()
		lines := strings.Split(strings.TrimPrefix(buf.String(), "\r\x1b[K"), "\r\x1b[K")
		if len(lines) != 23 { // one each 100 ms, one for the new phase, and none
			t.Errorf("%d lines: %q", len(lines), lines)
		}
		if got := lines[20]; got != "log 2000 (1000/s)" {
			t.Errorf("the last line of the phase is %q", got)
		}
		if lines[len(lines)-1] != "" {
			t.Errorf("the line is not cleared: %q", lines[len(lines)-1])
		}
	})
}
