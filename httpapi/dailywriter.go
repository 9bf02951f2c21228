package httpapi

import (
	"context"
	"errors"
	"os"
	"time"
)

// dailyKept bounds the bytes of lines that may not be dropped and can't be
// written. What is more goes to the log of the node, so that it is somewhere.
const dailyKept = 4 << 20

// dailyWriter is what the one goroutine owns that writes a dailyLog.
type dailyWriter[L any] struct {
	log   *dailyLog[L]
	file  *os.File    // nil if it could not be opened
	until time.Time   // when the file's day is over
	spare []queued[L] // see take

	buf      []byte // lines that are not in the file yet
	kept     []span // those of buf that may not be dropped
	lines    int64  // in buf
	unsynced bool   // the file has lines that are not synced
	told     int64  // of log.dropped, that the log says
	full     bool   // lines are dropped until the next flush
	spent    int64  // bytes of the day's lines that may be dropped, see dailyConfig.perDay
}

// span is a part of a buffer.
type span struct{ from, to int }

// run writes until ctx ends, and then what is left.
func (w *dailyWriter[L]) run(ctx context.Context) {
	var due <-chan time.Time
	for {
		select {
		case <-w.log.wake:
			w.takeAll()
			if due == nil {
				due = time.After(dailyFlush)
			}
		case <-due:
			due = nil
			if w.flush() {
				due = time.After(dailyFlush)
			}
		case done := <-w.log.flushes:
			w.takeAll()
			if w.flush() && due == nil {
				due = time.After(dailyFlush)
			}
			close(done)
		case <-ctx.Done():
			w.end()
			return
		}
	}
}

// takeAll takes all that is queued by now.
func (w *dailyWriter[L]) takeAll() {
	lines := w.log.take(w.spare)
	for _, q := range lines {
		w.write(q)
	}
	clear(lines)
	w.spare = lines
}

func (w *dailyWriter[L]) write(q queued[L]) {
	if w.full && !q.keep {
		w.log.dropped.Add(1)
		return
	}
	now := time.Now()
	if w.file == nil || !now.Before(w.until) {
		if err := w.rotate(now); err != nil {
			w.failed(0, err)
			if !q.keep {
				w.log.dropped.Add(1)
				return
			}
		}
	}
	if lost := w.log.dropped.Load(); lost > w.told {
		w.buf = appendGap(w.buf, now, lost-w.told)
		w.log.cfg.logger.Warn("lines are missing in the "+w.log.cfg.what, "lines", lost-w.told)
		w.told = lost
	}
	from := len(w.buf)
	w.buf = w.log.cfg.encode(w.buf, q.line)
	if !q.keep && !w.afford(len(w.buf)-from) {
		w.buf = w.buf[:from]
		w.log.dropped.Add(1)
		return
	}
	w.lines++
	if q.keep {
		w.kept = append(w.kept, span{from, len(w.buf)})
	}
	if len(w.buf) >= dailyBuffer {
		w.out()
	}
}

// afford takes the bytes of a line that may be dropped from those that a day has
// for them, and reports whether it has.
func (w *dailyWriter[L]) afford(size int) bool {
	bound := w.log.cfg.perDay
	if bound == 0 {
		return true
	}
	before := w.spent
	w.spent += int64(size)
	if before <= bound && w.spent > bound {
		w.log.cfg.logger.Warn("the "+w.log.cfg.what+" takes no more lines today of what was refused or failed", "bytes", before)
	}
	return w.spent <= bound
}

// flush brings all lines into the file, and looks whether there is room. It
// reports whether there will be something to write in a while.
func (w *dailyWriter[L]) flush() (again bool) {
	if late := w.log.cfg.late; late != nil {
		var lines []L
		lines, again = late()
		for _, l := range lines {
			w.write(queued[L]{line: l})
		}
	}
	w.full = false
	if w.log.cfg.full != nil {
		if err := w.log.cfg.full(); err != nil {
			w.full = true
			w.log.cfg.logger.Warn("the "+w.log.cfg.what+" is not written in full", "reason", err)
		}
	}
	w.out()
	if w.unsynced {
		w.sync()
	}
	return again || len(w.buf) > 0 || w.unsynced
}

// sync has what is in the file on the disk. What failed is tried again with the
// next flush.
func (w *dailyWriter[L]) sync() {
	if err := w.file.Sync(); err != nil {
		w.log.cfg.logger.Error(w.log.cfg.what+" is written, but not synced", "error", err)
		return
	}
	w.unsynced = false
}

// out writes what is in the buffer.
func (w *dailyWriter[L]) out() {
	if len(w.buf) == 0 {
		return
	}
	if w.file == nil {
		if err := w.rotate(time.Now()); err != nil {
			w.failed(0, err)
			return
		}
	}
	if n, err := w.file.Write(w.buf); err != nil {
		w.failed(n, err)
		return
	}
	w.log.written.Add(w.lines)
	w.buf, w.kept, w.lines, w.unsynced = w.buf[:0], w.kept[:0], 0, w.log.cfg.sync
}

// failed starts anew after the buffer, but for its first n bytes, could not be
// written. Its lines that may be dropped are, as are those until the next flush.
func (w *dailyWriter[L]) failed(n int, err error) {
	kept := w.kept[:0]
	size := 0
	for _, s := range w.kept {
		if s.to <= n {
			w.log.written.Add(1)
			w.lines--
			continue
		}
		kept = append(kept, span{size, size + copy(w.buf[size:], w.buf[s.from:s.to])})
		size = kept[len(kept)-1].to
	}
	lost := w.lines - int64(len(kept))
	w.log.dropped.Add(lost)
	w.buf, w.kept, w.lines, w.full = w.buf[:size], kept, int64(len(kept)), true
	w.log.cfg.logger.Error(w.log.cfg.what, "lines lost", lost, "lines kept", len(kept), "error", err)
	if size > dailyKept {
		w.tell()
	}
	if w.file != nil {
		if w.log.cfg.sync { // what came before, and a part of this
			w.sync()
		}
		w.file.Close() // after a failure that has been told
		w.file, w.unsynced = nil, false
	}
}

// tell gives the log of the node what is in the buffer.
func (w *dailyWriter[L]) tell() {
	for _, s := range w.kept {
		w.log.cfg.logger.Error("a line of the "+w.log.cfg.what+" that could not be written", "line", string(w.buf[s.from:s.to-1]))
	}
	w.log.dropped.Add(w.lines)
	w.buf, w.kept, w.lines = w.buf[:0], w.kept[:0], 0
}

// rotate goes on in the file of a day, and removes those that are too old.
func (w *dailyWriter[L]) rotate(now time.Time) error {
	w.closeFile()
	w.log.removeOld(now)
	day := now.UTC().Truncate(24 * time.Hour) // there are no leap seconds in Go
	if until := day.Add(24 * time.Hour); !until.Equal(w.until) {
		w.until, w.spent = until, 0
	}
	f, err := w.log.openDay(day)
	w.file = f
	return err
}

func (w *dailyWriter[L]) closeFile() {
	if w.file == nil {
		return
	}
	w.out()
	if w.file == nil { // that failed
		return
	}
	if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
		w.log.cfg.logger.Error(w.log.cfg.what, "error", err)
	}
	w.file, w.unsynced = nil, false
}

// end writes what is left.
func (w *dailyWriter[L]) end() {
	w.takeAll()
	w.flush()
	w.closeFile()
	w.tell()
}
