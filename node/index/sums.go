package index

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// Sum is of a group of rows of one site: of those whose record keys have the same
// byte behind a common prefix.
type Sum struct {
	Next byte // that byte; 0 also for the key that is the prefix itself
	Rows int
	Hash StateHash // the sum of theirs
}

// MaxRows is how many rows Rows returns.
const MaxRows = 1000

// RowHash is what one record adds to a site's state hash.
type RowHash struct {
	Key  events.Key
	Hash StateHash
}

// Sums returns, by their next byte, the groups of the rows that a site's log
// contributes to up to at and whose record keys start with prefix, as of one
// moment. With an empty prefix the sum of their hashes is the state hash at at.
// Two sites that have different ones there find the rows in which they differ by
// asking with ever longer prefixes, and at last for Rows.
//
// A byte 0 behind a prefix is what stands between the parts of a key, so a group
// of it never holds both a key that ends there and one that goes on: those are
// of different kinds of record.
//
// It reads all rows of all sites under the prefix, so it is for an operator's
// command and not for a request. It fails if the log is not applied up to at.
func (x *Index) Sums(s events.Site, at events.Mark, prefix string) ([]Sum, error) {
	var sums []Sum // the last is the group that the scan is in
	err := x.rowsAt(s, at, prefix, func(k events.Key, h StateHash) bool {
		var next byte
		if rest := k.Bytes()[len(prefix):]; rest != "" {
			next = rest[0]
		}
		if n := len(sums); n == 0 || sums[n-1].Next != next {
			sums = append(sums, Sum{Next: next})
		}
		g := &sums[len(sums)-1]
		g.Rows++
		g.Hash = g.Hash.plus(h)
		return true
	})
	if err != nil {
		return nil, err
	}
	return sums, nil
}

// Rows returns the rows that Sums counts, in the order of their keys: the first
// MaxRows of them. It fails as Sums does.
func (x *Index) Rows(s events.Site, at events.Mark, prefix string) ([]RowHash, error) {
	var rows []RowHash
	err := x.rowsAt(s, at, prefix, func(k events.Key, h StateHash) bool {
		rows = append(rows, RowHash{k, h})
		return len(rows) < MaxRows
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// rowsAt calls row for each record under prefix to which the site's log
// contributes up to at, in key order, with what that adds to the state hash,
// until it returns false.
func (x *Index) rowsAt(s events.Site, at events.Mark, prefix string, row func(events.Key, StateHash) bool) error {
	snap := x.db.NewSnapshot()
	v := view{x, snap}
	err := v.reaches(s, at)
	if err == nil {
		p := append([]byte{spaceRecord}, prefix...)
		err = v.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
			k, of, err := parseContributionKey(it.Key())
			if err != nil {
				return false, fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			if of != s {
				return true, nil
			}
			facts, err := decodeFacts(it.Key(), it.Value())
			if err != nil {
				return false, err
			}
			if facts = facts.Until(at); len(facts) == 0 {
				return true, nil
			}
			return row(k, rowHash(k, facts.Encode())), nil
		})
	}
	return errors.Join(err, snap.Close())
}

// reaches reports why a site's log is not applied up to m.
func (v view) reaches(s events.Site, m events.Mark) error {
	if m.IsZero() {
		return nil
	}
	value, ok, err := v.get(siteKey(spaceHead, s))
	if err != nil {
		return err
	}
	var h Head
	if ok {
		if h, err = decodeHead(s, value); err != nil {
			return err
		}
	}
	if h.Position.Mark.Compare(m) < 0 {
		return fmt.Errorf("the log of site %s is applied up to %v, not to %v", s, h.Position.Mark, m)
	}
	return nil
}
