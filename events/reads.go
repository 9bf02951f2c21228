package events

import "fmt"

// Reads says whose reading is written down in the access logs of nodes. The zero
// Reads leaves it to each node.
type Reads struct{ name }

// What may be written down.
var (
	NoReads  = Reads{name{"off"}} // nothing
	ZipReads = Reads{name{"zip"}} // who was given zips
	AllReads = Reads{name{"all"}} // info and go.mod, too
)

// ParseReads returns what s says; the empty text is the zero Reads.
func ParseReads(s string) (Reads, error) {
	for _, r := range []Reads{{}, NoReads, ZipReads, AllReads} {
		if r.s == s {
			return r, nil
		}
	}
	return Reads{}, fmt.Errorf("access log %q is none of off, zip, all", s)
}

// UnmarshalText accepts what ParseReads does.
func (r *Reads) UnmarshalText(b []byte) error {
	v, err := ParseReads(string(b))
	*r = v
	return err
}
