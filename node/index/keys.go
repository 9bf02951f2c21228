package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"registry-node/events"
)

// The spaces of keys; see the package comment.
const (
	spaceEntry  = 'e'
	spaceHead   = 'p'
	spaceKept   = 'k'
	spaceHash   = 'h'
	spaceRecord = 'c'
	spaceBlob   = 'b'
	spaceLocal  = 'l'
	spaceStamp  = 's'
	spaceAside  = 'x'
)

const (
	nul = 0x00
	// siteSep stands between a record's key and the site. It sorts before all
	// that a record key holds but NUL.
	siteSep = 0x01
)

// comparer orders keys by their bytes and gives keys of one record a common
// prefix, so that one bloom filter probe tells whether a table holds any row of
// the record. Its name is stored: what it does must not change under it.
var comparer = &pebble.Comparer{
	Name:                 "registry-node.index.1",
	Compare:              bytes.Compare,
	Equal:                bytes.Equal,
	ComparePointSuffixes: bytes.Compare,
	CompareRangeSuffixes: bytes.Compare,
	AbbreviatedKey:       pebble.DefaultComparer.AbbreviatedKey,
	Separator:            pebble.DefaultComparer.Separator,
	Successor:            pebble.DefaultComparer.Successor,
	FormatKey:            pebble.DefaultComparer.FormatKey,
	Split:                split,
	ImmediateSuccessor:   immediateSuccessor,
}

// split returns the length of the part of a key that bloom filters hold: of a c
// key all up to and including its first siteSep, of others the whole key. Since
// the part ends with the first such byte, parts order as whole keys do, whatever
// the bytes are.
func split(key []byte) int {
	if len(key) > 0 && key[0] == spaceRecord {
		if i := bytes.IndexByte(key, siteSep); i >= 0 {
			return i + 1
		}
	}
	return len(key)
}

func immediateSuccessor(dst, prefix []byte) []byte {
	dst = append(dst, prefix...)
	if n := len(prefix); n > 0 && prefix[0] == spaceRecord && prefix[n-1] == siteSep {
		dst[len(dst)-1]++
		return dst
	}
	return append(dst, nul)
}

func siteKey(space byte, s events.Site) []byte {
	return append([]byte{space}, s.String()...)
}

func entriesPrefix(s events.Site) []byte { return append(siteKey(spaceEntry, s), nul) }

func entryKey(s events.Site, m events.Mark) []byte {
	k := binary.BigEndian.AppendUint32(entriesPrefix(s), m.Epoch)
	return binary.BigEndian.AppendUint64(k, m.Seq)
}

func hashKey(s events.Site, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(siteKey(spaceHash, s), nul), seq)
}

// parseEntryKey is the inverse of entryKey.
func parseEntryKey(k []byte) (events.Site, events.Mark, error) {
	n := len(k) - 13
	if n < 1 || k[0] != spaceEntry || k[n] != nul {
		return events.Site{}, events.Mark{}, fmt.Errorf("key %q is not that of an entry", k)
	}
	s, err := events.ParseSite(string(k[1:n]))
	m := events.Mark{Epoch: binary.BigEndian.Uint32(k[n+1:]), Seq: binary.BigEndian.Uint64(k[n+5:])}
	return s, m, err
}

// recordPrefix is what the keys of all contributions to a record start with.
func recordPrefix(k events.Key) []byte {
	b := make([]byte, 0, len(k.Bytes())+2+32)
	b = append(b, spaceRecord)
	b = append(b, k.Bytes()...)
	return append(b, siteSep)
}

func contributionKey(k events.Key, s events.Site) []byte {
	return append(recordPrefix(k), s.String()...)
}

// parseContributionKey is the inverse of contributionKey.
func parseContributionKey(k []byte) (events.Key, events.Site, error) {
	i := bytes.IndexByte(k, siteSep)
	if i < 1 || k[0] != spaceRecord {
		return events.Key{}, events.Site{}, fmt.Errorf("key %q is not that of a contribution", k)
	}
	rec, err := events.ParseKey(string(k[1:i]))
	if err != nil {
		return events.Key{}, events.Site{}, err
	}
	s, err := events.ParseSite(string(k[i+1:]))
	return rec, s, err
}

func blobPrefix(d events.Digest) []byte { return append([]byte{spaceBlob}, d[:]...) }

func blobKey(b events.Blob, k events.Key) []byte {
	key := binary.BigEndian.AppendUint64(blobPrefix(b.Digest), uint64(b.Size))
	return append(key, k.Bytes()...)
}

// parseBlobKey is the inverse of blobKey.
func parseBlobKey(key []byte) (events.Blob, events.Key, error) {
	const head = 1 + 32 + 8
	if len(key) <= head || key[0] != spaceBlob {
		return events.Blob{}, events.Key{}, fmt.Errorf("key %q is not that of a blob reference", key)
	}
	b := events.Blob{Digest: events.Digest(key[1:33]), Size: int64(binary.BigEndian.Uint64(key[33:]))}
	k, err := events.ParseKey(string(key[head:]))
	return b, k, err
}

// after returns the least key that is greater than all keys with this prefix.
// The prefix starts with a space, so there is one.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	end[len(end)-1]++
	return end
}

// bucketName returns the part of a record's key that decides its generation:
// of versions and modules the repository and the module path, else all of it.
func bucketName(k events.Key) string {
	s := k.Bytes()
	switch k.Kind() {
	case events.KindVersion:
		return s[1:strings.LastIndexByte(s, nul)]
	case events.KindModule:
		return s[1:]
	}
	return s
}
