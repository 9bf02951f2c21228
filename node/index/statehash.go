package index

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"registry-node/events"
)

// StateHash is one value for all that a site's log contributed up to a place in
// it: the sum, modulo 2^256, of the SHA-256 of every contribution row of the
// site (the record key with its length before it, and the contribution). No
// rows give the zero StateHash. Equal places in a log must give equal hashes, at
// any two nodes; if they don't, a fold has a bug or a disk has lost bits.
//
// It is a sum and not an XOR because a row counted twice cancels itself in an
// XOR, which a sum shows. Neither withstands someone who chooses rows to collide:
// that an entry is the one that the site wrote is shown by the chain of hashes
// and signatures, not by this.
type StateHash [sha256.Size]byte

// rowHash is what one contribution adds to its site's StateHash.
func rowHash(key events.Key, contribution []byte) StateHash {
	buf := make([]byte, 0, 8+len(key.Bytes())+len(contribution))
	buf = binary.BigEndian.AppendUint64(buf, uint64(len(key.Bytes())))
	buf = append(buf, key.Bytes()...)
	buf = append(buf, contribution...)
	return sha256.Sum256(buf)
}

func (h StateHash) plus(g StateHash) (sum StateHash) {
	var carry uint64
	for i := len(h) - 8; i >= 0; i -= 8 {
		var v uint64
		v, carry = bits.Add64(binary.BigEndian.Uint64(h[i:]), binary.BigEndian.Uint64(g[i:]), carry)
		binary.BigEndian.PutUint64(sum[i:], v)
	}
	return sum
}

func (h StateHash) minus(g StateHash) (diff StateHash) {
	var borrow uint64
	for i := len(h) - 8; i >= 0; i -= 8 {
		var v uint64
		v, borrow = bits.Sub64(binary.BigEndian.Uint64(h[i:]), binary.BigEndian.Uint64(g[i:]), borrow)
		binary.BigEndian.PutUint64(diff[i:], v)
	}
	return diff
}

// String returns the 64 hex digits of h.
func (h StateHash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns the 64 hex digits of h.
func (h StateHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText parses 64 hex digits.
func (h *StateHash) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(h) {
		return fmt.Errorf("state hash %q does not have %d hex digits", b, 2*len(h))
	}
	if _, err := hex.Decode(h[:], b); err != nil {
		return fmt.Errorf("state hash %q: %w", b, err)
	}
	return nil
}
