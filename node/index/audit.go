package index

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// ProblemKind says what of the index is not as it must be.
type ProblemKind string

// The kinds of problem.
const (
	BadEntry     ProblemKind = "entry"      // can't be decoded, stands in a wrong place, or has a wrong signature
	BadChain     ProblemKind = "chain"      // an entry does not follow the one before it
	BadHead      ProblemKind = "head"       // is not at the last entry
	BadStateHash ProblemKind = "state hash" // is not that of the contributions
	BadRecord    ProblemKind = "record"     // a contribution is not what the log says
	BadBlobRef   ProblemKind = "blob"       // a reference lacks, or has no ground
)

// Problem is something in the index that is not as it must be.
type Problem struct {
	Kind   ProblemKind
	Site   events.Site // whose log it is about; the zero Site for a blob
	Mark   events.Mark // of the entry, if it is about one
	Key    events.Key  // of the record, if it is about one
	Blob   events.Blob // if it is about a reference to one
	Detail string
}

func (p Problem) String() string {
	s := string(p.Kind)
	if !p.Site.IsZero() {
		s += " of site " + p.Site.String()
	}
	if !p.Mark.IsZero() {
		s += " at " + p.Mark.String()
	}
	if p.Key != (events.Key{}) {
		s += fmt.Sprintf(" %q", p.Key)
	}
	if !p.Blob.IsZero() {
		s += fmt.Sprintf(" %v (%d bytes)", p.Blob.Digest, p.Blob.Size)
	}
	return s + ": " + p.Detail
}

// MaxProblems is how many problems a Report lists.
const MaxProblems = 1000

// Report is what Audit found.
type Report struct {
	Entries       int // in all logs
	Events        int // in those entries
	Records       int // with at least one contribution
	Contributions int
	BlobRefs      int
	SetAside      int // entries that are in no log, see Index.SetAside
	// Starts is the hash that the first entry of each log is chained to, once the
	// audit has ended. It is that of the entry which says that the site joined, for
	// the first site the registry id: for the caller to check, who knows the members.
	Starts   map[events.Site]events.Digest
	Problems []Problem // the first MaxProblems
	Unlisted int       // further problems
}

// OK reports whether no problem was found.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) add(p Problem) {
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, p)
	} else {
		r.Unlisted++
	}
}

// Audit reads all of the index, as of one moment, and reports what contradicts:
// entries that can't be decoded or don't follow one another, heads, state hashes
// that are not those of the contributions, blob references. keyOf returns the
// key that signs a site's entry; entries it returns nil for are not verified.
// progress, if not nil, is called now and then with what was counted so far.
// Writes go on meanwhile. The error is that of ctx or of reading the disk; a
// problem is not an error.
func (x *Index) Audit(ctx context.Context, keyOf func(events.Site, events.Mark) ed25519.PublicKey, progress func(Report)) (Report, error) {
	snap := x.db.NewSnapshot()
	a := &audit{
		ctx: ctx, x: x, view: view{x, snap}, keyOf: keyOf, progress: progress,
		heads: map[events.Site]Head{}, kept: map[events.Site]tail{}, starts: map[events.Site]events.Digest{}, sums: map[events.Site]StateHash{}, ends: map[events.Site]events.Position{},
	}
	err := a.run()
	a.report.Starts = a.starts
	return a.report, errors.Join(err, snap.Close())
}

// audit is one run of Audit. Only its own goroutine uses it.
type audit struct {
	ctx      context.Context
	x        *Index
	view     view
	keyOf    func(events.Site, events.Mark) ed25519.PublicKey
	progress func(Report)
	steps    int

	report Report
	heads  map[events.Site]Head
	kept   map[events.Site]tail            // of the logs that have entries which wait to be applied
	ends   map[events.Site]events.Position // of the last entry of each log
	starts map[events.Site]events.Digest   // what the first entry of each log is chained to
	sums   map[events.Site]StateHash       // of the contributions of each site
}

func (a *audit) run() error {
	if err := a.readHeads(); err != nil {
		return err
	}
	if err := a.checkLogs(); err != nil {
		return err
	}
	refs, err := a.checkRecords()
	if err != nil {
		return err
	}
	if err := a.checkHeads(); err != nil {
		return err
	}
	if err := a.checkBlobRows(refs); err != nil {
		return err
	}
	return a.checkAside()
}

// step counts one row and reports whether to go on.
func (a *audit) step() error {
	a.steps++
	if a.steps%10_000 == 0 && a.progress != nil {
		a.progress(a.report)
	}
	return a.ctx.Err()
}

func (a *audit) readHeads() error {
	p := []byte{spaceHead}
	err := a.view.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
		h, err := headRow(it)
		if err != nil {
			a.report.add(Problem{Kind: BadHead, Detail: err.Error()})
			return true, nil
		}
		a.heads[h.Position.Site] = h
		return true, a.step()
	})
	if err != nil {
		return err
	}
	return a.readKept()
}

// checkRecords sums up the contributions of each site and checks that the blobs
// that they name are referred to. It returns how many references there must be.
func (a *audit) checkRecords() (refs int, err error) {
	p := []byte{spaceRecord}
	var last events.Key
	seen := map[events.Blob]bool{} // of the record that the scan is in
	err = a.view.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
		k, s, err := parseContributionKey(it.Key())
		if err != nil {
			a.report.add(Problem{Kind: BadRecord, Detail: err.Error()})
			return true, a.step()
		}
		if k != last {
			last = k
			clear(seen)
			a.report.Records++
		}
		a.report.Contributions++
		a.sums[s] = a.sums[s].plus(rowHash(k, it.Value()))
		facts, err := events.DecodeContribution(it.Value())
		if err == nil && !bytes.Equal(facts.Encode(), it.Value()) {
			err = errors.New("its bytes are not canonical")
		}
		if err != nil {
			a.report.add(Problem{Kind: BadRecord, Site: s, Key: k, Detail: err.Error()})
			return true, a.step()
		}
		for _, f := range facts {
			for _, b := range blobsOf(f.Body) {
				if seen[b] {
					continue
				}
				seen[b] = true
				refs++
				if err := a.checkRef(b, k); err != nil {
					return false, err
				}
			}
		}
		return true, a.step()
	})
	return refs, err
}

func (a *audit) checkRef(b events.Blob, k events.Key) error {
	_, ok, err := a.view.get(blobKey(b, k))
	if err == nil && !ok {
		a.report.add(Problem{Kind: BadBlobRef, Key: k, Blob: b, Detail: "the record names it, but there is no reference"})
	}
	return err
}

// checkHeads compares each head with the log and the contributions that it
// stands for.
func (a *audit) checkHeads() error {
	logs := map[events.Site]bool{}
	for s := range a.ends {
		logs[s] = true
	}
	for s := range a.kept {
		logs[s] = true
	}
	for s, h := range a.heads {
		logs[s] = true
		if err := a.checkStateHash(h); err != nil {
			return err
		}
	}
	for s := range logs {
		a.checkEnd(s, a.heads[s].Position)
	}
	for s := range a.sums {
		if _, ok := a.heads[s]; !ok {
			a.report.add(Problem{Kind: BadHead, Site: s, Detail: "there are contributions, but no head"})
		}
	}
	return nil
}

func (a *audit) checkStateHash(h Head) error {
	s, m := h.Position.Site, h.Position.Mark
	value, ok, err := a.view.get(hashKey(s, m.Seq))
	if err != nil {
		return err
	}
	if !ok || !bytes.Equal(value, encodeHash(m, h.StateHash)) {
		a.report.add(Problem{Kind: BadStateHash, Site: s, Mark: m, Detail: "what is kept beside the entry differs from the head"})
	}
	if sum := a.sums[s]; sum != h.StateHash {
		a.report.add(Problem{Kind: BadStateHash, Site: s, Mark: m,
			Detail: fmt.Sprintf("the head says %v, the contributions give %v", h.StateHash, sum)})
		return a.nameRows(s)
	}
	return nil
}

// checkBlobRows counts the references. Only if there are not as many as there
// must be, it looks which of them have no ground.
func (a *audit) checkBlobRows(want int) error {
	p := []byte{spaceBlob}
	err := a.view.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
		a.report.BlobRefs++
		return true, a.step()
	})
	if err != nil || a.report.BlobRefs == want {
		return err
	}
	return a.view.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
		b, k, err := parseBlobKey(it.Key())
		if err != nil {
			a.report.add(Problem{Kind: BadBlobRef, Detail: err.Error()})
			return true, a.step()
		}
		named, err := a.names(k, b)
		if err == nil && !named {
			a.report.add(Problem{Kind: BadBlobRef, Key: k, Blob: b, Detail: "there is a reference, but the record does not name it"})
		}
		return true, errors.Join(err, a.step())
	})
}

// names reports whether a contribution to the record names the blob.
func (a *audit) names(k events.Key, b events.Blob) (found bool, err error) {
	p := recordPrefix(k)
	err = a.view.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
		facts, err := events.DecodeContribution(it.Value())
		if err != nil {
			return true, nil // reported already
		}
		found = names(facts, b)
		return !found, nil
	})
	return found, err
}

// nameRows finds the contributions of a site that are not what its entries say,
// to make a wrong state hash useful to people.
func (a *audit) nameRows(s events.Site) error {
	named := map[events.Key]bool{}
	for raw, err := range a.entries(s) {
		if err != nil {
			return err
		}
		e, err := events.DecodeEntry(raw)
		if err != nil {
			continue // reported already
		}
		for _, ev := range e.Events {
			if ev.Body == nil || ev.ID.Mark.Compare(a.heads[s].Position.Mark) > 0 || len(named) > MaxProblems {
				continue
			}
			k := ev.Body.Key(ev.ID)
			detail, err := a.compare(k, ev)
			if err != nil {
				return err
			}
			if detail != "" && !named[k] {
				named[k] = true
				a.report.add(Problem{Kind: BadRecord, Site: s, Key: k, Detail: detail})
			}
		}
		if err := a.step(); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) entries(s events.Site) iter.Seq2[[]byte, error] {
	return sequence(func(yield func([]byte) bool) error {
		p := entriesPrefix(s)
		return a.view.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
			return yield(bytes.Clone(it.Value())), nil
		})
	})
}

// compare says how the contribution to k differs from what the event demands of
// it, if it does.
func (a *audit) compare(k events.Key, ev events.Event) (detail string, err error) {
	value, _, err := a.view.get(contributionKey(k, ev.ID.Site))
	if err != nil {
		return "", err
	}
	facts, err := events.DecodeContribution(value)
	if err != nil {
		return "", nil // reported already
	}
	var before events.Contribution
	for _, f := range facts {
		c := f.Mark.Compare(ev.ID.Mark)
		switch {
		case c == 0 && f.Index == ev.ID.Index:
			if !bytes.Equal(f.Data, ev.Data) || !f.Time.Equal(ev.Time) || f.Body.Type() != ev.Type {
				return fmt.Sprintf("its fact from event %v is not what the event says", ev.ID), nil
			}
			return "", nil
		case c < 0 || c == 0 && f.Index < ev.ID.Index:
			before = append(before, f)
		}
	}
	if _, changed, err := events.Apply(before, ev); err != nil || changed {
		return fmt.Sprintf("it lacks the fact from event %v", ev.ID), nil
	}
	return "", nil
}
