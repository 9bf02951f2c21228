package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/replication"
)

// Diff is how this site's index differs from another's.
type Diff struct {
	Site events.Site `json:"site"` // the other one
	Logs []DiffLog   `json:"logs"`
}

// DiffLog is how the two differ in what one log says, at a place that both have
// reached.
type DiffLog struct {
	Log   events.Site `json:"log"`
	At    events.Mark `json:"at"`
	Equal bool        `json:"equal"`
	Rows  []DiffRow   `json:"rows"`
	More  bool        `json:"more"` // than are listed
}

// DiffRow is a record of which the two hold different contributions of the log.
type DiffRow struct {
	Key   string `json:"key"`
	Here  string `json:"here"`  // hash of the contribution; empty: there is none
	There string `json:"there"` // likewise
}

// maxDiff bounds the rows that are listed of one log.
const maxDiff = 100

// Diff compares this site's index with another's, log by log, by bisecting the
// sums of their rows. It reads all rows of a log that differs several times.
// Errors: ErrNotFound (no such member), ErrUnavailable.
func (n *Node) Diff(ctx context.Context, who *access.Caller, site events.Site) (Diff, error) {
	d := Diff{Site: site, Logs: []DiffLog{}}
	if err := n.allow(who, access.Everything); err != nil {
		return d, err
	}
	if site == n.id.Site || !n.directory().MemberNow(site) {
		return d, fail(ErrNotFound, "there is no other site called %q", site)
	}
	n.sites.mu.Lock()
	h := n.sites.heard[site]
	n.sites.mu.Unlock()
	if h == nil {
		return d, fail(ErrUnavailable, "site %s can't be reached%s", site, n.sites.lastHeard(site))
	}
	for _, log := range sortedSites(h.logs) {
		here, err := n.markOf(log)
		if err != nil {
			return d, err
		}
		at := h.logs[log].Position.Mark
		if here.Compare(at) < 0 {
			at = here
		}
		if at.IsZero() {
			continue
		}
		l := DiffLog{Log: log, At: at, Rows: []DiffRow{}}
		if err := n.sites.diff(ctx, site, &l, ""); err != nil {
			return d, err
		}
		l.Equal = len(l.Rows) == 0
		d.Logs = append(d.Logs, l)
	}
	return d, nil
}

// diff descends into the keys with this prefix where the sums differ.
func (s *sites) diff(ctx context.Context, peer events.Site, l *DiffLog, prefix string) error {
	req := replication.SumRequest{Site: l.Log, At: l.At, Prefix: events.Bytes(prefix)}
	here, err := s.sums(req)
	if err != nil {
		return err
	}
	msg, err := replication.Encode(req)
	if err != nil {
		return err
	}
	raw, err := s.request(ctx, peer, "sum", msg, nil)
	if err != nil {
		return err
	}
	there, err := replication.Decode[replication.SumAnswer](raw)
	if err != nil || !there.OK || !here.OK {
		return because(err, ErrUnavailable, "site %s has not applied %v/%v; try again", peer, l.Log, l.At)
	}
	if (here.Rows != nil || len(here.Children) == 0) && (there.Rows != nil || len(there.Children) == 0) {
		l.compareRows(here.Rows, there.Rows)
		return nil
	}
	for _, next := range differing(here.Children, there.Children) {
		if l.More {
			return nil
		}
		if next == 0 { // the row whose key the prefix is
			l.add(DiffRow{Key: fmt.Sprintf("%q", prefix)})
			continue
		}
		if err := s.diff(ctx, peer, l, prefix+string([]byte{next})); err != nil {
			return err
		}
	}
	return nil
}

// differing returns the next bytes under which the two sums differ.
func differing(a, b []replication.SumChild) []byte {
	sums := map[byte]replication.SumChild{}
	for _, c := range a {
		sums[c.Next] = c
	}
	var list []byte
	for _, c := range b {
		if sums[c.Next] != c {
			list = append(list, c.Next)
		}
		delete(sums, c.Next)
	}
	for next := range sums {
		list = append(list, next)
	}
	slices.Sort(list)
	return list
}

func (l *DiffLog) compareRows(here, there []replication.SumRow) {
	theirs := map[string]string{}
	for _, r := range there {
		theirs[string(r.Key)] = r.Hash.String()
	}
	for _, r := range here {
		if t := theirs[string(r.Key)]; t != r.Hash.String() {
			l.add(DiffRow{keyText(r.Key), r.Hash.String(), t})
		}
		delete(theirs, string(r.Key))
	}
	for key, t := range theirs {
		l.add(DiffRow{keyText([]byte(key)), "", t})
	}
	slices.SortFunc(l.Rows, func(a, b DiffRow) int { return strings.Compare(a.Key, b.Key) })
}

func (l *DiffLog) add(r DiffRow) {
	if len(l.Rows) == maxDiff {
		l.More = true
		return
	}
	l.Rows = append(l.Rows, r)
}

func keyText(key []byte) string {
	k, err := events.ParseKey(string(key))
	if err != nil {
		return fmt.Sprintf("%q", key)
	}
	return k.String()
}
