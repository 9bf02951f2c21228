package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
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

// maxFacts bounds a contribution, so that a hostile log can't make one record
// unreadable. Honest sites stay far below: they append only what says something
// new. What is beyond it is dropped, the same at every site.
const maxFacts = 4096

// Apply returns the contribution that ev leaves of its site to its record, where
// prev is what was there. It consults nothing but its arguments. An event that
// prev holds already, or that adds nothing to it, leaves prev as it is; changed
// says which. The only error is an event of a type that this version of the
// code doesn't know: the log must not be applied further.
func Apply(prev Contribution, ev Event) (next Contribution, changed bool, err error) {
	if ev.Body == nil {
		return prev, false, fmt.Errorf("event %v is of type %q, which this version doesn't know; upgrade this node", ev.ID, ev.Type)
	}
	if n := len(prev); n > 0 && !prev[n-1].before(ev.ID) {
		return prev, false, nil // seen before
	}
	if len(prev) >= maxFacts || !ev.Body.adds(prev) {
		return prev, false, nil
	}
	f := Fact{Mark: ev.ID.Mark, Index: ev.ID.Index, Time: ev.Time, Data: ev.Data, Body: ev.Body}
	return append(slices.Clip(prev), f), true, nil
}

func (f Fact) before(id EventID) bool {
	c := f.Mark.Compare(id.Mark)
	return c < 0 || c == 0 && f.Index < id.Index
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

type wireFact struct {
	At    Mark            `json:"at"`
	Index int             `json:"i,omitempty"`
	Time  time.Time       `json:"time"`
	Type  Type            `json:"type"`
	Data  json.RawMessage `json:"data"`
}

// Encode returns the stored form of c, a JSON array of facts. The data of each
// is kept as it stands in the log.
func (c Contribution) Encode() []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, f := range c {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"at":"%s",`, f.Mark)
		if f.Index > 0 {
			fmt.Fprintf(&b, `"i":%d,`, f.Index)
		}
		fmt.Fprintf(&b, `"time":"%s","type":"%s","data":`, f.Time.Format(time.RFC3339Nano), f.Body.Type())
		b.Write(f.Data)
		b.WriteByte('}')
	}
	b.WriteByte(']')
	return b.Bytes()
}

// DecodeContribution is the inverse of Encode. No bytes are the zero
// contribution. It fails for bytes that Encode didn't write.
func DecodeContribution(b []byte) (Contribution, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var ws []wireFact
	if err := json.Unmarshal(b, &ws); err != nil {
		return nil, fmt.Errorf("contribution: %w", err)
	}
	c := make(Contribution, 0, len(ws))
	for _, w := range ws {
		body, err := decodeBody(w.Type, w.Data)
		if err == nil && body == nil {
			err = fmt.Errorf("fact of unknown type %q", w.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("contribution: %w", err)
		}
		c = append(c, Fact{Mark: w.At, Index: w.Index, Time: w.Time, Data: w.Data, Body: body})
	}
	return c, nil
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
