package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"registry-node/events"
)

// AccessConfig says what an AccessLog keeps. Dir is required.
type AccessConfig struct {
	// Dir holds a file for each day (UTC), YYYY-MM-DD.ndjson. It is made with mode
	// 0700 if it is not there, the files with 0600.
	Dir string
	// Kept is what is kept of the requests to repositories that don't say it
	// themselves; default events.ZipReads.
	Kept events.Reads
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
	Time    time.Time `json:"time"`            // when the request came in
	Client  string    `json:"client"`          // its address, or admin.sock
	Actor   string    `json:"actor,omitempty"` // the user, where one has authenticated
	Token   string    `json:"token,omitempty"` // its id
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

const accessDays = 90

// AccessLog writes down who was given what. No request waits for it: lines that
// it can't take in time are dropped and counted, in the metrics and in the log
// itself. A crash loses those of the last second. All methods work on nil, which
// is a log that keeps nothing.
type AccessLog struct {
	kept events.Reads
	log  *dailyLog[Access]
	// opening opens the log, if need be: where nothing is kept unless a repository
	// wants it, there are no files before one does.
	opening func() error
}

// OpenAccessLog opens the log in cfg.Dir and removes the files that are too old.
// Close it after the last request.
func OpenAccessLog(cfg AccessConfig) (*AccessLog, error) {
	log := newDailyLog(dailyConfig[Access]{
		what: "access log", dir: cfg.Dir, days: cmp.Or(cfg.Days, accessDays), encode: appendAccess, full: cfg.Full, logger: cfg.Logger,
	})
	l := &AccessLog{cmp.Or(cfg.Kept, events.ZipReads), log, func() error { return nil }}
	if l.kept == events.NoReads {
		l.opening = sync.OnceValue(func() error {
			err := log.open()
			if err != nil {
				log.cfg.logger.Error("no access log, though a repository wants one", "error", err)
			}
			return err
		})
		return l, nil
	}
	if err := log.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// Close writes what is left and closes the files.
func (l *AccessLog) Close() error {
	if l == nil {
		return nil
	}
	return l.log.close()
}

// wants reports whether requests of a kind are kept, of which the repository says
// repo.
func (l *AccessLog) wants(e endpoint, repo events.Reads) bool {
	if l == nil {
		return false
	}
	switch cmp.Or(repo, l.kept) {
	case events.ZipReads:
		return e == kindZip
	case events.AllReads:
		return e == kindZip || e == kindInfo || e == kindMod
	}
	return false
}

// keeps reports whether there is a log: whether any line was ever wanted.
func (l *AccessLog) keeps() bool { return l != nil && l.log.isOpen() }

// note keeps a line, or counts that it is dropped.
func (l *AccessLog) note(a Access) {
	if err := l.opening(); err != nil {
		l.log.dropped.Add(1)
		return
	}
	l.log.note(a, false)
}

// lost returns how many lines were dropped.
func (l *AccessLog) lost() float64 {
	if l == nil {
		return 0
	}
	return float64(l.log.dropped.Load())
}

// flush returns when all lines that were noted before are in the file, or ctx
// ends.
func (l *AccessLog) flush(ctx context.Context) error { return l.log.flush(ctx) }

// appendAccess appends a line.
func appendAccess(b []byte, a Access) []byte {
	a.Time = a.Time.UTC()
	return a.appendLine(b)
}

// clientName returns how a client is called: by its address.
func clientName(addr netip.Addr) string {
	if !addr.IsValid() {
		return adminClient
	}
	return addr.String()
}

// adminClient stands for the address of clients of the only listener that has
// none.
const adminClient = "admin.sock"
