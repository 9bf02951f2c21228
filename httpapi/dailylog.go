package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dailyQueued = 4096          // lines between requests and the file, beyond which some are dropped
	dailyFlush  = time.Second   // for how long a line may be in memory alone
	dailyFile   = time.DateOnly // the name of a file, before dailySuffix
	dailySuffix = ".ndjson"
	dailyBuffer = 256 << 10 // bytes
)

// dailyConfig says how a dailyLog keeps its lines.
type dailyConfig[L any] struct {
	what string // the log, in what is said of it: "access log"
	// dir holds a file for each day (UTC), YYYY-MM-DD.ndjson. It is made with mode
	// 0700 if it is not there, the files with 0600.
	dir  string
	days int // for how many days files are kept, today included
	// perDay bounds the bytes of lines in a day that may be dropped; 0 is no bound.
	// A restart begins anew.
	perDay int64
	// sync says that lines are synced to disk, not only written.
	sync bool
	// encode appends a line, its newline included.
	encode func([]byte, L) []byte
	// late returns the lines that come up with time, and whether there may be more
	// in dailyFlush. Nil: there are none.
	late func() (lines []L, more bool)
	// full reports why the disk has no room for lines that may be dropped, if so.
	// Nil: it always has.
	full   func() error
	logger *slog.Logger
}

// dailyLog keeps lines in files, one for each day. No request waits for the disk.
// A line that may be dropped is, and counted, if the disk can't take it in time;
// one that may not stays in memory until it can.
type dailyLog[L any] struct {
	cfg     dailyConfig[L]
	root    *os.Root // from open to close
	opened  atomic.Bool
	wake    chan struct{}
	flushes chan chan struct{} // whose sender waits until all is in the file
	stop    context.CancelFunc
	writing sync.WaitGroup
	reading chan struct{} // has a place for the one who reads
	dropped atomic.Int64  // lines, ever
	written atomic.Int64  // lines, ever

	mu    sync.Mutex
	queue []queued[L] // guarded by mu
}

// queued is a line on its way to the file.
type queued[L any] struct {
	line L
	keep bool // it may not be dropped
}

// newDailyLog returns a log that takes lines, and keeps them in memory until it is
// opened.
func newDailyLog[L any](cfg dailyConfig[L]) *dailyLog[L] {
	if cfg.logger == nil {
		cfg.logger = slog.New(slog.DiscardHandler)
	}
	return &dailyLog[L]{cfg: cfg, wake: make(chan struct{}, 1), flushes: make(chan chan struct{}), reading: make(chan struct{}, 1)}
}

// open opens the files, and removes those that are too old.
func (l *dailyLog[L]) open() error {
	if err := os.Mkdir(l.cfg.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", l.cfg.what, err)
	}
	root, err := os.OpenRoot(l.cfg.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", l.cfg.what, err)
	}
	l.root = root
	w := &dailyWriter[L]{log: l}
	if err := w.rotate(time.Now()); err != nil {
		return errors.Join(err, root.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.writing.Go(func() { w.run(ctx) })
	l.opened.Store(true)
	return nil
}

func (l *dailyLog[L]) isOpen() bool { return l.opened.Load() }

// close writes what is left and closes the files. Nothing may be noted after it.
func (l *dailyLog[L]) close() error {
	if !l.isOpen() {
		return nil
	}
	l.stop()
	l.writing.Wait()
	return l.root.Close()
}

// note takes a line; if keep is false it may be dropped.
func (l *dailyLog[L]) note(line L, keep bool) {
	l.mu.Lock()
	room := keep || len(l.queue) < dailyQueued
	if room {
		l.queue = append(l.queue, queued[L]{line, keep})
	}
	l.mu.Unlock()
	if !room {
		l.dropped.Add(1)
		return
	}
	select {
	case l.wake <- struct{}{}:
	default: // it is told already
	}
}

// take returns the lines that wait, and has room for others in an array that
// nobody uses any more.
func (l *dailyLog[L]) take(room []queued[L]) []queued[L] {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.queue
	l.queue = room[:0]
	return lines
}

// flush returns when all lines that were noted before are in the file, or ctx
// ends.
func (l *dailyLog[L]) flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case l.flushes <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return nil
}

// daysKept returns the days of which there are files, oldest first.
func (l *dailyLog[L]) daysKept() (days []string, err error) {
	entries, err := fs.ReadDir(l.root.FS(), ".")
	for _, e := range entries {
		day, ok := strings.CutSuffix(e.Name(), dailySuffix)
		if _, err := time.Parse(dailyFile, day); ok && err == nil {
			days = append(days, day)
		}
	}
	return days, err
}

func (l *dailyLog[L]) removeOld(now time.Time) {
	oldest := now.UTC().AddDate(0, 0, 1-l.cfg.days).Format(dailyFile)
	days, err := l.daysKept()
	for _, day := range days {
		if day < oldest {
			err = errors.Join(err, l.root.Remove(day+dailySuffix))
		}
	}
	if err != nil {
		l.cfg.logger.Error("old files of the "+l.cfg.what, "error", err)
	}
}

// openDay opens the file of a day, to go on with it.
func (l *dailyLog[L]) openDay(day time.Time) (*os.File, error) {
	f, err := l.root.OpenFile(day.Format(dailyFile)+dailySuffix, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.cfg.what, err)
	}
	if err := endLine(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", l.cfg.what, err), f.Close())
	}
	return f, nil
}

// endLine ends the last line of a file, which a crash may have cut.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = io.WriteString(f, "\n")
	return err
}
