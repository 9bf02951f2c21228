package httpapi

import (
	"cmp"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"

	"registry-node/events"
	"registry-node/node"
)

// checksums are those of a file in hex; empty ones are not known. SHA-1 and MD5 are
// for clients that compare by them, and prove nothing.
type checksums struct{ SHA1, MD5, SHA256 string }

// saidChecksums returns what a request says of its body. The JFrog CLI has the
// SHA-256 in X-Checksum, other clients in X-Checksum-Sha256.
func saidChecksums(h http.Header) (c checksums, err error) {
	for _, f := range []struct {
		header string
		sum    *string
		size   int
	}{
		{"X-Checksum-Sha1", &c.SHA1, sha1.Size}, {"X-Checksum-Md5", &c.MD5, md5.Size},
		{"X-Checksum-Sha256", &c.SHA256, sha256.Size}, {"X-Checksum", &c.SHA256, sha256.Size},
	} {
		v := strings.ToLower(strings.TrimSpace(h.Get(f.header)))
		if v == "" {
			continue
		}
		if b, err := hex.DecodeString(v); err != nil || len(b) != f.size {
			return c, fail(node.ErrInvalid, fmt.Sprintf("the header %s is %s, and not %d hex digits", f.header, quote(v), 2*f.size))
		}
		if *f.sum != "" && *f.sum != v {
			return c, fail(node.ErrInvalid, "the headers X-Checksum-Sha256 and X-Checksum say different things")
		}
		*f.sum = v
	}
	return c, nil
}

// checksumsOf returns the checksums of a small file.
func checksumsOf(b []byte) checksums {
	one, other, third := sha1.Sum(b), md5.Sum(b), sha256.Sum256(b)
	return checksums{hex.EncodeToString(one[:]), hex.EncodeToString(other[:]), hex.EncodeToString(third[:])}
}

// checksumsIn returns checksums in hex.
func checksumsIn(s node.Sums) checksums {
	return checksums{hex.EncodeToString(s.SHA1[:]), hex.EncodeToString(s.MD5[:]), s.SHA256.Hex()}
}

// sums is the inverse of checksumsIn, where what is not known is zero.
func (c checksums) sums() (s node.Sums, err error) {
	one, err1 := hex.DecodeString(c.SHA1)
	other, err2 := hex.DecodeString(c.MD5)
	copy(s.SHA1[:], one)
	copy(s.MD5[:], other)
	if c.SHA256 != "" {
		s.SHA256, err = events.ParseDigest("sha256:" + c.SHA256)
	}
	return s, errors.Join(err1, err2, err)
}

// setHeaders has an answer say them.
func (c checksums) setHeaders(h http.Header) {
	for name, v := range map[string]string{"X-Checksum-Sha1": c.SHA1, "X-Checksum-Md5": c.MD5, "X-Checksum-Sha256": c.SHA256} {
		if v != "" {
			h.Set(name, v)
		}
	}
}

// byName returns those that are known, as JSON names them.
func (c checksums) byName() map[string]string {
	m := map[string]string{}
	for name, v := range map[string]string{"sha1": c.SHA1, "md5": c.MD5, "sha256": c.SHA256} {
		if v != "" {
			m[name] = v
		}
	}
	return m
}

// summed is a body whose checksums are computed while it is read. At its end it
// fails, if they are not what was said of it: so nothing is made of it.
type summed struct {
	from              io.Reader
	sha1, md5, sha256 hash.Hash
	said              checksums
	size              int64 // bytes read
	err               error // that reading ended with
}

func newSummed(from io.Reader, said checksums) *summed {
	return &summed{from: from, sha1: sha1.New(), md5: md5.New(), sha256: sha256.New(), said: said}
}

func (b *summed) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	b.size += int64(n)
	for _, h := range []hash.Hash{b.sha1, b.md5, b.sha256} {
		h.Write(p[:n]) // never fails
	}
	if err == io.EOF {
		err = cmp.Or(b.differs(), err)
	}
	b.err = err
	return n, err
}

// checksums returns those of what was read.
func (b *summed) checksums() checksums {
	return checksums{hex.EncodeToString(b.sha1.Sum(nil)), hex.EncodeToString(b.md5.Sum(nil)), hex.EncodeToString(b.sha256.Sum(nil))}
}

// differs reports what was said of the body and is not so.
func (b *summed) differs() error {
	is := b.checksums()
	for _, s := range [][3]string{{"SHA-256", b.said.SHA256, is.SHA256}, {"SHA-1", b.said.SHA1, is.SHA1}, {"MD5", b.said.MD5, is.MD5}} {
		if s[1] != "" && s[1] != s[2] {
			return fail(errConflict, fmt.Sprintf("the %s of the %d bytes that came is %s, and the request says %s; nothing is stored", s[0], b.size, s[2], s[1]))
		}
	}
	return nil
}
