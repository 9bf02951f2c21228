package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is the SHA-256 of some bytes: the address of a blob, or the hash of an
// entry. It is comparable, and its text form is "sha256:" and 64 lower-case hex
// digits. The zero Digest means "none" and has the empty text form.
type Digest [sha256.Size]byte

const digestPrefix = "sha256:"

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest parses the text form of a digest. The empty text is an error.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(digits) != 2*len(d) || strings.ToLower(digits) != digits {
		return Digest{}, fmt.Errorf("digest %q is not sha256: and 64 lower-case hex digits", s)
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", s, err)
	}
	if d.IsZero() {
		return Digest{}, fmt.Errorf("digest %q is the digest of nothing known", s)
	}
	return d, nil
}

// IsZero reports whether d names no bytes at all.
func (d Digest) IsZero() bool { return d == Digest{} }

// Hex returns the 64 hex digits of d, the name of its blob file.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// Compare orders digests by their bytes.
func (d Digest) Compare(e Digest) int { return bytes.Compare(d[:], e[:]) }

func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return digestPrefix + d.Hex()
}

// MarshalText returns the text form of d.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses the text form of a digest; the empty text is none.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = Digest{}
		return nil
	}
	v, err := ParseDigest(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// H1 is the dirhash of a module zip or of a go.mod file (golang.org/x/mod,
// package sumdb/dirhash, Hash1): the identity of content. Its text form is the
// one of go.sum, "h1:" and base64. The zero H1 means "not known" and has the
// empty text form.
type H1 [sha256.Size]byte

const h1Prefix = "h1:"

// ParseH1 parses the text form of a dirhash. The empty text is an error.
func ParseH1(s string) (H1, error) {
	var h H1
	enc, ok := strings.CutPrefix(s, h1Prefix)
	if !ok {
		return H1{}, fmt.Errorf("hash %q has no prefix h1", s)
	}
	b, err := decodeBase64([]byte(enc))
	if err != nil || len(b) != len(h) {
		return H1{}, fmt.Errorf("hash %q is not h1: and the base64 of 32 bytes", s)
	}
	copy(h[:], b)
	if h.IsZero() {
		return H1{}, fmt.Errorf("hash %q is the hash of nothing known", s)
	}
	return h, nil
}

const goModLine = "  go.mod\n" // behind the hash of the file, as sha256sum prints it

// HashMod returns the dirhash of a go.mod file, as go.sum has it in the line
// that ends in /go.mod.
func HashMod(mod []byte) H1 {
	sum := sha256.Sum256(mod)
	line := hex.AppendEncode(make([]byte, 0, 2*len(sum)+len(goModLine)), sum[:])
	return sha256.Sum256(append(line, goModLine...))
}

// IsZero reports whether the hash is not known.
func (h H1) IsZero() bool { return h == H1{} }

func (h H1) String() string {
	if h.IsZero() {
		return ""
	}
	return h1Prefix + base64.StdEncoding.EncodeToString(h[:])
}

// MarshalText returns the text form of h.
func (h H1) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText parses the text form of a dirhash; the empty text is "not known".
func (h *H1) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = H1{}
		return nil
	}
	v, err := ParseH1(string(b))
	if err != nil {
		return err
	}
	*h = v
	return nil
}
