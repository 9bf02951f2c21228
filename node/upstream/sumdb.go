package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"registry-node/events"
)

// State keeps what a Sumdb has verified, under the keys
//
//	NAME/latest                    the pinned head, a signed note
//	NAME/lookup/<module>@<version> a record with its id, escaped as in the URL
//	NAME/tile/8/<level>/<n>        the widest verified form of a hash tile
//
// where NAME is the database's. It is safe for concurrent use. A crash
// may lose the latest Sets, but no Set without all later ones. A slice that Get
// returns or Set is given is not changed afterwards by either side.
type State interface {
	// Get returns the value of key, and whether there is one.
	Get(key string) (value []byte, ok bool, err error)
	// Set replaces the value of key.
	Set(key string, value []byte) error
}

// SumdbConfig says what a Sumdb verifies against, and with what.
type SumdbConfig struct {
	Database Database
	// NoSumdb lists, as GONOSUMDB does, path patterns of modules that are not
	// in the database (module.MatchPrefixPatterns).
	NoSumdb string
	// Client reaches the database: through the first of its upstreams that
	// supports it, else directly. Its limits apply.
	Client *Client
	State  State
	// Others, if not nil, is asked for what is at a path below the database when
	// the database can't be reached: another Sumdb's Held, say. It needs no trust,
	// as all is proved.
	Others func(ctx context.Context, path string) ([]byte, error)
	// Closed, if not nil, says why the database is not to be asked now, nil if it
	// may be. What Others have is used all the same.
	Closed func() error
}

// Sums are the hashes that the checksum database has for one module version.
type Sums struct {
	Zip events.H1
	Mod events.H1 // of go.mod
}

// lookupTime bounds one lookup with all its requests. A first lookup makes the
// database fetch the module, which can take long.
const lookupTime = 2 * time.Minute

const maxLookup = 1 << 20 // bytes of a lookup answer

// Sumdb verifies module versions against a checksum database and serves the
// database to go commands. The package comment tells how the two go together.
// It is safe for concurrent use.
type Sumdb struct {
	db      Database
	nosumdb string
	remote  *sumdbRemote
	state   State
	stop    context.CancelFunc // ends all flights

	lookups *flights[record]
	tiles   *flights[[]byte] // requests for tiles to the database

	head    atomic.Pointer[head] // the pinned one; written by the holder of advance
	newest  atomic.Pointer[head] // the largest head offered, signed but not proven
	advance chan struct{}        // held (a value in it) while the head moves
	tileMu  sync.Mutex           // guards reading and writing a tile in state as one step
}

// head is a signed tree head. The zero head is the empty tree, unsigned.
type head struct {
	tree tlog.Tree
	note []byte
}

// record is what the database holds for one module version.
type record struct {
	id   int64
	text []byte // go.sum lines
}

// NewSumdb returns a Sumdb that goes on from where state is. A stored head that
// the database's key did not sign is an error.
func NewSumdb(cfg SumdbConfig) (*Sumdb, error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &Sumdb{
		db:      cfg.Database,
		nosumdb: cfg.NoSumdb,
		remote:  newSumdbRemote(ctx, cfg),
		state:   cfg.State,
		stop:    stop,
		lookups: newFlights[record](ctx),
		tiles:   newFlights[[]byte](ctx),
		advance: make(chan struct{}, 1),
	}
	if err := s.loadHead(); err != nil {
		stop()
		return nil, err
	}
	return s, nil
}

func (s *Sumdb) loadHead() error {
	s.head.Store(&head{})
	if s.db.Off() {
		return nil
	}
	msg, ok, err := s.state.Get(s.key("latest"))
	if err != nil {
		return fmt.Errorf("checksum database %s: read the stored head: %w", s.db.Name(), err)
	}
	if !ok {
		return nil
	}
	h, err := s.openHead(msg)
	if err != nil {
		return fmt.Errorf("checksum database %s: stored head: %w", s.db.Name(), err)
	}
	s.head.Store(h)
	return nil
}

// Close ends lookups under way and waits for them.
func (s *Sumdb) Close() {
	s.stop()
	s.lookups.wait()
	s.tiles.wait()
	s.remote.probes.wait()
}

func (s *Sumdb) key(name string) string { return s.db.Name() + "/" + name }

// Covers reports whether a module must be verified with Lookup before it is
// recorded: there is a database and no pattern excludes the path. The toolchain
// is always covered; with the database off its Lookup fails.
func (s *Sumdb) Covers(path string) bool {
	return path == toolchainPath || !s.db.Off() && !module.MatchPrefixPatterns(s.nosumdb, path)
}

// admit returns the error that path may not be asked for.
func (s *Sumdb) admit(path string) error {
	if s.Covers(path) {
		if s.db.Off() {
			return sumdbError(ErrPrivate, errors.New("the checksum database is off, and "+path+" must be verified"))
		}
		return nil
	}
	if s.db.Off() {
		return sumdbError(ErrPrivate, errors.New("the checksum database is off"))
	}
	pattern := s.nosumdb
	for p := range strings.SplitSeq(s.nosumdb, ",") {
		if module.MatchPrefixPatterns(p, path) {
			pattern = p
			break
		}
	}
	return sumdbError(ErrPrivate, fmt.Errorf("%s is private and not in %s: set GONOSUMDB=%s (or GOPRIVATE)", path, s.db.Name(), pattern))
}

func sumdbError(class, err error) error {
	return &Error{Op: "sumdb", Class: class, Err: err}
}

// Lookup returns the hashes of mv, a canonical version, after their proof was
// verified. Concurrent lookups of one version are one.
//
// Errors: ErrPrivate (nothing is asked), ErrNotInDatabase, ErrForbidden,
// ErrTimeout, ErrUnavailable, ErrBadAnswer, ErrSecurity; without a class if
// State failed or ctx was canceled.
func (s *Sumdb) Lookup(ctx context.Context, mv module.Version) (Sums, error) {
	rec, err := s.record(ctx, mv)
	if err != nil {
		return Sums{}, err
	}
	return rec.sums(mv)
}

// HeldSums is Lookup from State alone: it asks nobody, and reports whether State
// has the record.
func (s *Sumdb) HeldSums(mv module.Version) (sums Sums, ok bool, err error) {
	path, err := lookupPath(mv)
	if err != nil {
		return Sums{}, false, sumdbError(ErrNotInDatabase, err)
	}
	rec, ok, err := s.storedRecord(path)
	if err != nil || !ok {
		return Sums{}, false, err
	}
	sums, err = rec.sums(mv)
	return sums, err == nil, err
}

// record returns the verified record of mv. Its id is below the pinned head's
// size.
func (s *Sumdb) record(ctx context.Context, mv module.Version) (record, error) {
	if err := s.admit(mv.Path); err != nil {
		return record{}, err
	}
	path, err := lookupPath(mv)
	if err != nil {
		return record{}, sumdbError(ErrNotInDatabase, err)
	}
	if rec, ok, err := s.storedRecord(path); ok || err != nil {
		return rec, err
	}
	rec, err := s.lookups.do(ctx, path, func(ctx context.Context) (record, error) {
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		defer cancel()
		return s.fetchRecord(ctx, mv, path)
	})
	if err != nil {
		return record{}, fmt.Errorf("lookup of %s: %w", mv, err)
	}
	return rec, nil
}

// lookupPath returns the path of the lookup of mv, below the database's URL.
func lookupPath(mv module.Version) (string, error) {
	if mv.Version != module.CanonicalVersion(mv.Version) {
		return "", fmt.Errorf("version %q of %s is not canonical", mv.Version, mv.Path)
	}
	if err := module.Check(mv.Path, mv.Version); err != nil {
		return "", err
	}
	path, err := module.EscapePath(mv.Path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(mv.Version)
	if err != nil {
		return "", err
	}
	return "lookup/" + path + "@" + version, nil
}

// storedRecord returns the record under path, if it is in state and below the
// pinned head (which it is, unless parts of state were lost).
func (s *Sumdb) storedRecord(path string) (record, bool, error) {
	msg, ok, err := s.state.Get(s.key(path))
	if err != nil {
		return record{}, false, fmt.Errorf("read stored %s: %w", path, err)
	}
	if !ok {
		return record{}, false, nil
	}
	id, text, _, err := tlog.ParseRecord(msg)
	if err != nil || id >= s.head.Load().tree.N {
		return record{}, false, nil // not usable: look it up again
	}
	return record{id, text}, true, nil
}

// fetchRecord asks the database, verifies, and stores.
func (s *Sumdb) fetchRecord(ctx context.Context, mv module.Version, path string) (record, error) {
	msg, err := s.remote.get(ctx, path, maxLookup)
	if errors.Is(err, ErrNotFound) {
		return record{}, notInDatabase(err)
	}
	if err != nil {
		return record{}, err
	}
	id, text, signed, err := tlog.ParseRecord(msg)
	if err != nil || id < 0 {
		return record{}, sumdbError(ErrBadAnswer, errors.New("the answer is no checksum record"))
	}
	rec := record{id, bytes.Clone(text)}
	if err := s.prove(ctx, mv, rec, signed); err != nil {
		return record{}, err
	}
	if _, err := rec.sums(mv); err != nil {
		return record{}, err
	}
	stored, err := tlog.FormatRecord(rec.id, rec.text)
	if err != nil {
		return record{}, sumdbError(ErrBadAnswer, err)
	}
	if err := s.state.Set(s.key(path), stored); err != nil {
		return record{}, fmt.Errorf("store %s: %w", path, err)
	}
	return rec, nil
}

// notInDatabase makes a 404 of the database what it is: not the absence of a
// module.
func notInDatabase(err error) error {
	e := Error{Op: "sumdb"}
	var last *Error
	if errors.As(err, &last) {
		e = *last
	}
	e.Class = ErrNotInDatabase
	return &e
}

// sums returns the hashes in the lines that are exactly for mv.
func (r record) sums(mv module.Version) (Sums, error) {
	zip, err := r.hash(mv.Path + " " + mv.Version)
	if err != nil {
		return Sums{}, err
	}
	mod, err := r.hash(mv.Path + " " + mv.Version + "/go.mod")
	if err != nil {
		return Sums{}, err
	}
	return Sums{Zip: zip, Mod: mod}, nil
}

// hash returns the one h1 of the lines that begin with name and a space.
func (r record) hash(name string) (events.H1, error) {
	var found events.H1
	for line := range strings.Lines(string(r.text)) {
		text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), name+" ")
		if !ok || !strings.HasPrefix(text, "h1:") {
			continue
		}
		h, err := events.ParseH1(text)
		if err != nil {
			return events.H1{}, sumdbError(ErrBadAnswer, fmt.Errorf("record of %s: %w", name, err))
		}
		if !found.IsZero() && found != h {
			return events.H1{}, sumdbError(ErrBadAnswer, fmt.Errorf("the record has two hashes for %s", name))
		}
		found = h
	}
	if found.IsZero() {
		return events.H1{}, sumdbError(ErrBadAnswer, fmt.Errorf("the record has no h1 for %s", name))
	}
	return found, nil
}

// openHead checks the signature of a head.
func (s *Sumdb) openHead(msg []byte) (*head, error) {
	n, err := note.Open(msg, note.VerifierList(s.db.verifier))
	if err != nil {
		return nil, sumdbError(ErrSecurity, fmt.Errorf("tree head: %w", err))
	}
	tree, err := tlog.ParseTree([]byte(n.Text))
	if err != nil {
		return nil, sumdbError(ErrSecurity, fmt.Errorf("tree head: %w", err))
	}
	return &head{tree: tree, note: bytes.Clone(msg)}, nil
}
