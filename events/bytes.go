package events

import (
	"encoding/base64"
	"errors"
	"fmt"
)

// Bytes are bytes in an event, in JSON a string of standard base64 (RFC 4648,
// section 4) in its one form: padded, no line breaks, no stray bits at the end.
// encoding/json alone takes several texts for the same bytes.
type Bytes []byte

// MarshalText returns the base64 of b.
func (b Bytes) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText accepts base64 in its one form.
func (b *Bytes) UnmarshalText(text []byte) error {
	out, err := decodeBase64(text)
	*b = out
	return err
}

var strict64 = base64.StdEncoding.Strict()

var errBase64 = errors.New("not padded standard base64 without line breaks")

// decodeBase64 decodes the one base64 form of some bytes. The decoder skips line
// breaks, so what it returns must also fit the length of the text.
func decodeBase64(text []byte) ([]byte, error) {
	out := make([]byte, strict64.DecodedLen(len(text)))
	n, err := strict64.Decode(out, text)
	if err != nil || base64.StdEncoding.EncodedLen(n) != len(text) {
		return nil, fmt.Errorf("%d bytes of text: %w", len(text), errBase64)
	}
	return out[:n], nil
}
