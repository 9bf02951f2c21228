package httpapi

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// AccessConfig says what an AccessLog keeps. Dir is required.
type AccessConfig struct {
	// Dir holds a file for each day (UTC), YYYY-MM-DD.ndjson. It is made with mode
	// 0700 if it is not there, the files with 0600.
	Dir string
	// All says that not only zips are kept, but info and go.mod, too.
	All bool
	// Days is for how many days files are kept, today included; default 90.
	Days int
	// Full reports why the disk has no room for the log, if so: then lines are
	// dropped. Nil: it always has.
	Full func() error
	// Logger gets failures. Nil discards them.
	Logger *slog.Logger
}

// Access is a line of an access log: one module file that a client asked for.
type Access struct {
	Time    time.Time `json:"time"` // when the request came in
	Client  string    `json:"client"`
	Actor   string    `json:"actor,omitempty"` // who it was, where that is known
	Repo    string    `json:"repository"`
	Via     string    `json:"via,omitempty"` // the member of a virtual repository that answered, of zips
	Module  string    `json:"module"`
	Version string    `json:"version"`
	Kind    string    `json:"kind"`          // zip, info or mod
	Status  int       `json:"status"`        // of HTTP
	Bytes   int64     `json:"bytes"`         // of the body, as far as they were sent
	Cut     bool      `json:"cut,omitempty"` // the answer was cut by the node, so that nobody takes it for whole

	// Dropped says how many lines are missing at this place; such a line has
	// nothing but this and the time.
	Dropped int64 `json:"dropped,omitempty"`
}

const (
	accessDays   = 90
	accessQueued = 4096          // lines between requests and the file
	accessFlush  = time.Second   // for how long a line may be in memory alone
	accessFile   = time.DateOnly // the name of a file, before accessSuffix
	accessSuffix = ".ndjson"
	accessBuffer = 256 << 10 // bytes
)

// AccessLog writes down who was given what. No request waits for it: lines that
// it can't take in time are dropped and counted, in the metrics and in the log
// itself. A crash loses those of the last second. All methods work on nil, which
// is a log that keeps nothing.
type AccessLog struct {
	cfg     AccessConfig
	root    *os.Root
	in      chan Access
	flushes chan chan struct{} // whose sender waits until all is in the file
	stop    context.CancelFunc
	writing sync.WaitGroup
	reading chan struct{} // has a place for the one who reads
	dropped atomic.Int64  // lines, ever
}

// OpenAccessLog opens the log in cfg.Dir and removes the files that are too old.
// Close it after the last request.
func OpenAccessLog(cfg AccessConfig) (*AccessLog, error) {
	cfg.Days = cmp.Or(cfg.Days, accessDays)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.Mkdir(cfg.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("access log: %w", err)
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &AccessLog{cfg: cfg, root: root, in: make(chan Access, accessQueued), flushes: make(chan chan struct{}), stop: stop, reading: make(chan struct{}, 1)}
	w := &accessWriter{log: l}
	if err := w.rotate(time.Now()); err != nil {
		stop()
		return nil, errors.Join(err, root.Close())
	}
	l.writing.Go(func() { w.run(ctx) })
	return l, nil
}

// Close writes what is left and closes the files.
func (l *AccessLog) Close() error {
	if l == nil {
		return nil
	}
	l.stop()
	l.writing.Wait()
	return l.root.Close()
}

// wants reports whether requests of a kind are kept.
func (l *AccessLog) wants(e endpoint) bool {
	return l != nil && (e == kindZip || l.cfg.All && (e == kindInfo || e == kindMod))
}

// note keeps a line, or counts that it is dropped.
func (l *AccessLog) note(a Access) {
	select {
	case l.in <- a:
	default:
		l.dropped.Add(1)
	}
}

// lost returns how many lines were dropped.
func (l *AccessLog) lost() float64 {
	if l == nil {
		return 0
	}
	return float64(l.dropped.Load())
}

// flush returns when all lines that were noted before are in the file, or ctx
// ends.
func (l *AccessLog) flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case l.flushes <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return nil
}

// accessWriter is what the one goroutine owns that writes.
type accessWriter struct {
	log     *AccessLog
	file    *os.File  // nil if it could not be opened
	until   time.Time // when the file's day is over
	buf     *bufio.Writer
	line    []byte // where a line is made
	pending int64  // lines in buf
	told    int64  // of log.dropped, that the log says
	full    bool   // lines are dropped until the next flush
}

// run writes until ctx ends, and then what is left.
func (w *accessWriter) run(ctx context.Context) {
	var due <-chan time.Time
	for {
		select {
		case a := <-w.log.in:
			w.write(a)
			if due == nil {
				due = time.After(accessFlush)
			}
		case <-due:
			due = nil
			w.flush()
		case done := <-w.log.flushes:
			w.drain()
			close(done)
		case <-ctx.Done():
			w.drain()
			w.closeFile()
			return
		}
	}
}

// drain writes all that is queued by now.
func (w *accessWriter) drain() {
	for range len(w.log.in) {
		w.write(<-w.log.in)
	}
	w.flush()
}

func (w *accessWriter) write(a Access) {
	if w.full {
		w.log.dropped.Add(1)
		return
	}
	now := time.Now()
	if w.file == nil || !now.Before(w.until) {
		if err := w.rotate(now); err != nil {
			w.failed(1, err)
			return
		}
	}
	if lost := w.log.dropped.Load(); lost > w.told {
		w.encode(Access{Time: now.UTC(), Dropped: lost - w.told})
		w.log.cfg.Logger.Warn("lines are missing in the access log", "lines", lost-w.told)
		w.told = lost
	}
	w.encode(a)
}

func (w *accessWriter) encode(a Access) {
	if host, _, err := net.SplitHostPort(a.Client); err == nil {
		a.Client = host
	} else if a.Dropped == 0 {
		a.Client = "admin.sock" // the only listener without addresses
	}
	a.Time = a.Time.UTC()
	w.pending++
	w.line = a.appendLine(w.line[:0])
	if _, err := w.buf.Write(w.line); err != nil {
		w.failed(w.pending, err)
	}
}

// flush brings what is written into the file, and looks whether there is room.
func (w *accessWriter) flush() {
	w.full = false
	if w.log.cfg.Full != nil {
		if err := w.log.cfg.Full(); err != nil {
			w.full = true
			w.log.cfg.Logger.Warn("the access log is not written", "reason", err)
		}
	}
	if w.file == nil {
		return
	}
	if err := w.buf.Flush(); err != nil {
		w.failed(w.pending, err)
		return
	}
	w.pending = 0
}

// failed counts lines as dropped, as are those until the next flush. Then there is
// a fresh start.
func (w *accessWriter) failed(lines int64, err error) {
	w.log.dropped.Add(lines)
	w.pending, w.full = 0, true
	w.log.cfg.Logger.Error("access log", "lines lost", lines, "error", err)
	if w.file != nil {
		w.file.Close() // after a failure that has been told
		w.file = nil
	}
}

// rotate goes on in the file of a day, and removes those that are too old.
func (w *accessWriter) rotate(now time.Time) error {
	w.closeFile()
	w.removeOld(now)
	day := now.UTC().Truncate(24 * time.Hour) // there are no leap seconds in Go
	w.until = day.Add(24 * time.Hour)
	f, err := w.log.root.OpenFile(day.Format(accessFile)+accessSuffix, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	if err := endLine(f); err != nil {
		return errors.Join(fmt.Errorf("access log: %w", err), f.Close())
	}
	w.file, w.buf = f, bufio.NewWriterSize(f, accessBuffer)
	return nil
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

func (w *accessWriter) closeFile() {
	if w.file == nil {
		return
	}
	w.flush()
	if w.file == nil { // that failed
		return
	}
	if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
		w.log.cfg.Logger.Error("access log", "error", err)
	}
	w.file = nil
}

func (w *accessWriter) removeOld(now time.Time) {
	oldest := now.UTC().AddDate(0, 0, 1-w.log.cfg.Days).Format(accessFile)
	days, err := w.log.days()
	for _, day := range days {
		if day < oldest {
			err = errors.Join(err, w.log.root.Remove(day+accessSuffix))
		}
	}
	if err != nil {
		w.log.cfg.Logger.Error("old files of the access log", "error", err)
	}
}

// days returns the days of which there are files, oldest first.
func (l *AccessLog) days() (days []string, err error) {
	entries, err := fs.ReadDir(l.root.FS(), ".")
	for _, e := range entries {
		day, ok := strings.CutSuffix(e.Name(), accessSuffix)
		if _, err := time.Parse(accessFile, day); ok && err == nil {
			days = append(days, day)
		}
	}
	return days, err
}
