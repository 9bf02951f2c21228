package index

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// Record is all that the logs say about one record.
type Record struct {
	Key           events.Key
	Contributions events.Contributions
}

// Get returns what the logs say about a record, sorted by site: nothing if none
// says anything.
func (x *Index) Get(k events.Key) (events.Contributions, error) {
	var cs events.Contributions
	prefix := recordPrefix(k)
	err := view{x, x.db}.iterate(&pebble.IterOptions{UseL6Filters: true}, func(it *pebble.Iterator) error {
		for it.SeekPrefixGE(prefix); it.Valid(); it.Next() {
			sc, err := decodeRow(it, prefix)
			if err != nil {
				return err
			}
			cs = append(cs, sc)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return cs, nil
}

// decodeRow returns the contribution that an iterator stands on, of a record
// with this prefix.
func decodeRow(it *pebble.Iterator, prefix []byte) (events.SiteContribution, error) {
	site, err := events.ParseSite(string(it.Key()[len(prefix):]))
	if err != nil {
		return events.SiteContribution{}, fmt.Errorf("%w: key %q: %w", ErrCorrupt, it.Key(), err)
	}
	facts, err := decodeFacts(it.Key(), it.Value())
	return events.SiteContribution{Site: site, Facts: facts}, err
}

// decodeFacts decodes the value of a contribution row. The facts share no memory
// with it.
func decodeFacts(key, value []byte) (events.Contribution, error) {
	facts, err := events.DecodeContribution(value)
	if err != nil {
		return nil, fmt.Errorf("%w: key %q: %w", ErrCorrupt, key, err)
	}
	return facts, nil
}

// Prefix yields the records whose keys start with prefix, in key order: what
// events.VersionsPrefix or events.KindPrefix return. It shows one moment, that of
// its start. An error ends it.
func (x *Index) Prefix(prefix string) iter.Seq2[Record, error] { return x.Behind(prefix, "") }

// Behind is Prefix from the first record on whose key is greater than prefix and
// last together; all if last is empty.
func (x *Index) Behind(prefix, last string) iter.Seq2[Record, error] {
	return sequence(func(yield func(Record) bool) error {
		var r Record
		var rows []byte // what the rows of r start with; nil before the first
		p := append([]byte{spaceRecord}, prefix...)
		from := p
		if last != "" {
			from = append(append(bytes.Clone(p), last...), siteSep+1)
		}
		more := true
		err := x.scan(from, after(p), func(it *pebble.Iterator) (bool, error) {
			if rows == nil || !bytes.HasPrefix(it.Key(), rows) {
				if more = rows == nil || yield(r); !more {
					return false, nil
				}
				k, _, err := parseContributionKey(it.Key())
				if err != nil {
					return false, fmt.Errorf("%w: %w", ErrCorrupt, err)
				}
				r, rows = Record{Key: k}, recordPrefix(k)
			}
			sc, err := decodeRow(it, rows)
			r.Contributions = append(r.Contributions, sc)
			return true, err
		})
		if err == nil && more && rows != nil {
			yield(r)
		}
		return err
	})
}

// sequence returns what run yields as an iterator that ends with run's error, if
// it returns one.
func sequence[T any](run func(yield func(T) bool) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		more := true
		err := run(func(v T) bool {
			more = yield(v, nil)
			return more
		})
		if err != nil && more {
			yield(*new(T), err)
		}
	}
}

// Modules yields the paths of the modules that have records of versions in a
// repository, in byte order, from the first one behind after on ("" for all). It
// reads one row of each. An error ends it.
func (x *Index) Modules(repo events.RepoID, after string) iter.Seq2[string, error] {
	return sequence(func(yield func(string) bool) error { return x.modules(repo, after, yield) })
}

func (x *Index) modules(repo events.RepoID, last string, yield func(string) bool) error {
	base := append([]byte{spaceRecord}, events.VersionsPrefix(repo, "")...)
	return view{x, x.db}.iterate(&pebble.IterOptions{LowerBound: base, UpperBound: after(base)}, func(it *pebble.Iterator) error {
		seek := bytes.Clone(base)
		for {
			if last != "" { // past all keys of the module: path, NUL, …
				seek = append(append(seek[:len(base)], last...), nul+1)
			}
			if !it.SeekGE(seek) {
				return nil
			}
			k, _, err := parseContributionKey(it.Key())
			if err != nil {
				return fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			_, mv, ok := k.Version()
			if !ok || mv.Path <= last {
				return fmt.Errorf("%w: key %q is not that of a version behind module %q", ErrCorrupt, it.Key(), last)
			}
			if last = mv.Path; !yield(last) {
				return nil
			}
		}
	})
}

// Blobs yields the blobs that records refer to, each once, in the order of their
// digests. An error ends it.
func (x *Index) Blobs() iter.Seq2[events.Blob, error] {
	return sequence(func(yield func(events.Blob) bool) error {
		var last events.Blob
		p := []byte{spaceBlob}
		return x.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
			b, _, err := parseBlobKey(it.Key())
			if err != nil {
				return false, fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			if b == last {
				return true, nil
			}
			last = b
			return yield(b), nil
		})
	})
}

// Refers reports whether any record refers to the blob with this digest.
func (x *Index) Refers(d events.Digest) (found bool, err error) {
	p := blobPrefix(d)
	err = x.scan(p, after(p), func(*pebble.Iterator) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

// Referrers yields the keys of the records that refer to the blob with this
// digest. An error ends it.
func (x *Index) Referrers(d events.Digest) iter.Seq2[events.Key, error] {
	return sequence(func(yield func(events.Key) bool) error {
		p := blobPrefix(d)
		return x.scan(p, after(p), func(it *pebble.Iterator) (bool, error) {
			_, k, err := parseBlobKey(it.Key())
			if err != nil {
				return false, fmt.Errorf("%w: key %q: %w", ErrCorrupt, it.Key(), err)
			}
			return yield(k), nil
		})
	})
}

// get reads the store as it is now; see view.
func (x *Index) get(key []byte) ([]byte, bool, error) { return view{x, x.db}.get(key) }

// scan reads the store as it is now; see view.
func (x *Index) scan(from, to []byte, row func(*pebble.Iterator) (more bool, err error)) error {
	return view{x, x.db}.scan(from, to, row)
}

// A view reads the store as it is now, or as it was at a snapshot.
type view struct {
	x *Index
	r pebble.Reader
}

// get returns a copy of the value of key, and whether there is one.
func (v view) get(key []byte) ([]byte, bool, error) {
	if err := v.x.readable(); err != nil {
		return nil, false, err
	}
	value, closer, err := v.r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, v.x.readable()
	}
	if err != nil {
		return nil, false, v.x.readError(err)
	}
	value = append([]byte{}, value...)
	return value, true, errors.Join(closer.Close(), v.x.readable())
}

// scan calls row for each row in [from, to), in order, until it returns false or
// an error. What the iterator shows is valid only within the call.
func (v view) scan(from, to []byte, row func(*pebble.Iterator) (more bool, err error)) error {
	return v.iterate(&pebble.IterOptions{LowerBound: from, UpperBound: to}, func(it *pebble.Iterator) error {
		for it.First(); it.Valid(); it.Next() {
			if more, err := row(it); err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// iterate runs walk with an iterator over one moment of the store. A fault that
// the iterator met is an error even if to walk it looked like the end.
func (v view) iterate(o *pebble.IterOptions, walk func(*pebble.Iterator) error) (err error) {
	if err := v.x.readable(); err != nil {
		return err
	}
	it, err := v.r.NewIter(o)
	if err != nil {
		return v.x.readError(err)
	}
	defer func() { err = errors.Join(err, v.x.readable()) }()
	defer func() { err = errors.Join(err, v.x.readError(it.Close())) }() // Close returns Error
	return walk(it)
}

// readable reports why nothing that is read can be believed.
func (x *Index) readable() error {
	if x.disk.broken.Load() {
		return x.disk.stopped()
	}
	return nil
}

func (x *Index) readError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read index %s: %w", x.dir, corrupt(err))
}
