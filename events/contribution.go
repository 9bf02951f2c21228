package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Fact is one event as a contribution keeps it: all of the event but its site,
// which the contribution is filed under.
type Fact struct {
	Mark  Mark
	Index int
	Time  time.Time
	Data  json.RawMessage // verbatim, unknown fields included
	Body  Body
}

// Contribution is what one site's log says about one record: facts in log
// order. The zero Contribution says nothing. Its stored form is canonical: equal
// log prefixes give equal bytes.
type Contribution []Fact

// A contribution is bounded, so that a hostile log can't make a record
// unreadable. Honest sites stay far below: they append only what says something
// new. What comes when it is full is dropped, the same at every site.
const (
	maxFacts     = 4096
	maxFactBytes = 8 << 20 // of data
)

// Full reports whether c takes no more facts. Who is about to append an event to
// its own log asks first, since the event would have no effect.
func (c Contribution) Full() bool { return c.FullBut(0) }

// FullBut reports whether c takes no more facts, or will not after some more, of at
// most 1/64 of what it takes.
func (c Contribution) FullBut(more int) bool {
	if len(c)+more >= maxFacts {
		return true
	}
	size := 0
	if more > 0 {
		size = maxFactBytes / 64
	}
	for _, f := range c {
		size += len(f.Data)
	}
	return size >= maxFactBytes
}

// Apply returns the contribution that ev leaves of its site to its record, where
// prev is what was there. It consults nothing but its arguments. An event that
// prev holds already, or that adds nothing to it, leaves prev as it is; changed
// says which. The only error is an event of a type that this version of the
// code doesn't know: the log must not be applied further.
func Apply(prev Contribution, ev Event) (next Contribution, changed bool, err error) {
	if ev.Body == nil {
		return prev, false, fmt.Errorf("event %v is of type %q, which this version doesn't know; upgrade this node", ev.ID, ev.Type)
	}
	if n := len(prev); n > 0 && !prev[n-1].before(ev.ID.Mark, ev.ID.Index) {
		return prev, false, nil // seen before
	}
	if prev.Full() || !ev.Body.adds(prev) {
		return prev, false, nil
	}
	f := Fact{Mark: ev.ID.Mark, Index: ev.ID.Index, Time: ev.Time, Data: ev.Data, Body: ev.Body}
	return append(slices.Clip(prev), f), true, nil
}

func (f Fact) before(m Mark, index int) bool {
	c := f.Mark.Compare(m)
	return c < 0 || c == 0 && f.Index < index
}

// Until returns the facts up to and including the entry at m: what the
// contribution would be if the log ended there.
func (c Contribution) Until(m Mark) Contribution {
	for i, f := range c {
		if f.Mark.Compare(m) > 0 {
			return c[:i:i]
		}
	}
	return c
}

// Encode returns the stored form of c, a JSON array of facts. The data of each
// is kept as it stands in the log.
func (c Contribution) Encode() []byte {
	size := 2
	for _, f := range c {
		size += len(f.Data) + 128 // what stands around it is at most 127 bytes
	}
	b := append(make([]byte, 0, size), '[')
	for i, f := range c {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.append(b)
	}
	return append(b, ']')
}

func (f Fact) append(b []byte) []byte {
	b = f.Mark.append(append(b, `{"at":"`...))
	b = append(b, '"')
	if f.Index > 0 {
		b = strconv.AppendInt(append(b, `,"i":`...), int64(f.Index), 10)
	}
	b = f.Time.AppendFormat(append(b, `,"time":"`...), timeLayout)
	b = append(append(b, `","type":"`...), f.Body.Type()...)
	b = append(append(b, `","data":`...), f.Data...)
	return append(b, '}')
}

// DecodeContribution is the inverse of Encode. No bytes are the zero
// contribution. It fails for bytes that Encode didn't write. The facts share no
// memory with b.
func DecodeContribution(b []byte) (Contribution, error) {
	if len(b) == 0 {
		return nil, nil
	}
	b = bytes.Clone(b) // the facts' data lie in there
	var c Contribution
	err := scan(b, func(s *scanner) error {
		return s.array(func() error {
			f, err := readFact(s)
			if n := len(c); err == nil && n > 0 && !c[n-1].before(f.Mark, f.Index) {
				err = errors.New("a fact is not later than the one before it")
			}
			c = append(c, f)
			return err
		})
	})
	if err == nil && !bytes.Equal(c.Encode(), b) {
		err = errors.New("not in its one form")
	}
	if err != nil {
		return nil, fmt.Errorf("contribution: %w", err)
	}
	return c, nil
}

func readFact(s *scanner) (Fact, error) {
	var f Fact
	var typ Type
	err := s.object(func(key []byte) (err error) {
		switch string(key) {
		case "at":
			return s.into(&f.Mark)
		case "i":
			return integer(s, &f.Index)
		case "time":
			return readTime(s, &f.Time)
		case "type":
			return s.str((*string)(&typ))
		case "data":
			f.Data, err = s.raw()
			return err
		}
		return fmt.Errorf("a fact has no %q", key)
	})
	if err != nil {
		return Fact{}, err
	}
	if f.Body, err = decodeBody(typ, f.Data); err == nil && f.Body == nil {
		err = fmt.Errorf("fact of unknown type %q", typ)
	}
	return f, err
}

// SiteContribution is one site's contribution to a record.
type SiteContribution struct {
	Site  Site
	Facts Contribution
}

// Contributions are all that the logs say about one record, sorted by site, at
// most one of each.
type Contributions []SiteContribution

// Of returns what site contributes.
func (cs Contributions) Of(site Site) Contribution {
	for _, c := range cs {
		if c.Site == site {
			return c.Facts
		}
	}
	return nil
}

// With returns cs with site's contribution set to c.
func (cs Contributions) With(site Site, c Contribution) Contributions {
	i, found := slices.BinarySearchFunc(cs, site, func(sc SiteContribution, s Site) int {
		return sc.Site.Compare(s.s)
	})
	if found {
		cs = slices.Clone(cs)
		cs[i].Facts = c
		return cs
	}
	return slices.Insert(slices.Clone(cs), i, SiteContribution{site, c})
}

// always is embedded in bodies that say something new each time.
type always struct{}

func (always) adds(Contribution) bool { return true }
