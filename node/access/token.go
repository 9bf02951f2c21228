package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"

	"registry-node/events"
)

// TokenPrefix is what every token begins with.
const TokenPrefix = "rn_"

const (
	idLen       = 12 // characters
	secretBytes = 32
	secretLen   = 52 // characters
	checkLen    = 7
	tokenLen    = len(TokenPrefix) + idLen + 1 + secretLen + checkLen

	loggedID = 't' // what the id of a token in the log begins with
	localID  = 's' // and that of one that is known at one site only
)

const encodingChars = "abcdefghijklmnopqrstuvwxyz234567"

// base32 in lower case: no character of it means anything in a URL, a header, a
// netrc file or a list of proxies.
var encoding = base32.NewEncoding(encodingChars).WithPadding(base32.NoPadding)

// Token is a token that may be one: rn_<id>_<secret><check>, with an id of 12
// characters, a secret of 256 bits, and a check by which those who search texts
// for leaked tokens, and we, tell one from other text. The zero Token is none.
type Token struct {
	id     string
	secret [secretBytes]byte
}

// NewToken makes a token; local says that one site alone will know it.
func NewToken(local bool) Token {
	var id [idLen]byte
	t := Token{}
	rand.Read(id[:])
	rand.Read(t.secret[:])
	kind := byte(loggedID)
	if local {
		kind = localID
	}
	t.id = string(kind) + encoding.EncodeToString(id[:])[:idLen-1]
	return t
}

// ParseToken returns the token that s is. Its errors don't repeat any of s.
func ParseToken(s string) (Token, error) {
	rest, ok := strings.CutPrefix(s, TokenPrefix)
	if !ok {
		return Token{}, fmt.Errorf("not a token: tokens begin with %s", TokenPrefix)
	}
	if len(s) != tokenLen || rest[idLen] != '_' {
		return Token{}, fmt.Errorf("not a whole token: tokens have %d characters", tokenLen)
	}
	body, check := s[:tokenLen-checkLen], s[tokenLen-checkLen:]
	if check != checkOf(body) {
		return Token{}, errors.New("not a token: a character of it is wrong")
	}
	t := Token{id: rest[:idLen]}
	secret, err := encoding.DecodeString(body[len(TokenPrefix)+idLen+1:])
	if err != nil || copy(t.secret[:], secret) != secretBytes || t.Secret() != s || t.id[0] != loggedID && t.id[0] != localID {
		return Token{}, errors.New("not a token that a registry makes")
	}
	if err := events.CheckUserName(t.id); err != nil {
		return Token{}, errors.New("not a token that a registry makes")
	}
	return t, nil
}

// CheckID reports why s is not the id of a token that the log may have.
func CheckID(s string) error {
	if len(s) != idLen || s[0] != loggedID || strings.Trim(s, encodingChars) != "" {
		return fmt.Errorf("%q is not the id of a token: those have %d characters, the first of them %c", s, idLen, loggedID)
	}
	return nil
}

// checkOf returns what is appended to a token: its CRC-32.
func checkOf(body string) string {
	return encoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(body))))
}

// ID returns what names the token; it is no secret.
func (t Token) ID() string { return t.id }

// Local reports whether one site alone knows the token.
func (t Token) Local() bool { return IsLocal(t.id) }

// IsLocal reports whether the id is that of a token that one site alone knows.
func IsLocal(id string) bool { return id != "" && id[0] == localID }

// IsZero reports whether t is none.
func (t Token) IsZero() bool { return t.id == "" }

// Hash returns what is stored of the token: the SHA-256 of its secret.
func (t Token) Hash() events.Digest { return events.Digest(sha256.Sum256(t.secret[:])) }

// Secret returns the whole token, as its user gets it.
func (t Token) Secret() string {
	body := TokenPrefix + t.id + "_" + encoding.EncodeToString(t.secret[:])
	return body + checkOf(body)
}

// String returns the token without its secret.
func (t Token) String() string { return TokenPrefix + t.id + "_[redacted]" }

// GoString is String.
func (t Token) GoString() string { return t.String() }

// LogValue is String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
