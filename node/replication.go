package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/index"
	"registry-node/replication"
)

// The answers to whether sites agree.
const (
	Equal      = "equal"       // at the same positions, with the same state hashes
	CatchingUp = "catching-up" // one has what the other has not yet
	Different  = "different"   // one log has two states at one position: an alarm
	Unknown    = "unknown"     // it has not been heard since this node started
)

// Replication is how the sites stand to each other, as this site knows it.
type Replication struct {
	Site events.Site `json:"site"`
	// Agreement is over all sites that are connected: Equal, CatchingUp or
	// Different.
	Agreement   string       `json:"agreement"`
	LastEqualAt time.Time    `json:"last_equal_at"`
	Sites       []SiteStatus `json:"sites"`
}

// SiteStatus is how one site stands.
type SiteStatus struct {
	Name      events.Site `json:"name"`
	Self      bool        `json:"self"`
	Connected bool        `json:"connected"`
	// LastHeard is when it last said how it stands; zero if it hasn't since this
	// node started.
	LastHeard time.Time                 `json:"last_heard,omitzero"`
	Agrees    string                    `json:"agrees"` // with this site
	Logs      map[events.Site]LogStatus `json:"logs"`
	StateHash string                    `json:"state_hash"` // over all its logs
	// LagEntries is how many entries, of all logs, it lacks of what is known to
	// exist; LagSeconds how old the oldest of them is.
	LagEntries   uint64   `json:"lag_entries"`
	LagSeconds   float64  `json:"lag_seconds"`
	BlobsMissing int      `json:"blobs_missing"`
	BytesMissing int64    `json:"bytes_missing"`
	Conflicts    int      `json:"conflicts"` // what needs a person's decision
	Writable     bool     `json:"writable"`
	FreeBytes    uint64   `json:"free_bytes"`
	TotalBytes   uint64   `json:"total_bytes"`
	Version      string   `json:"version"`
	Reasons      []string `json:"reasons"` // what a person should know
}

// LogStatus is how far a site is in one log.
type LogStatus struct {
	Epoch     uint32          `json:"epoch"`
	Seq       uint64          `json:"seq"`
	StateHash index.StateHash `json:"state_hash"`
	// Blobs is the last entry up to which it holds all blobs that it wants.
	Blobs events.Mark `json:"blobs"`
}

// Replication returns how the sites stand: of this one as it is, of the others
// as they said last. It is for whoever may read something here; the reasons, which
// name modules and hosts, are for administrators of the registry. Errors:
// ErrUnauthorized, ErrForbidden.
func (n *Node) Replication(who *access.Caller) (Replication, error) {
	if err := n.mayLook(who); err != nil {
		return Replication{}, err
	}
	r, err := n.replicationNow()
	if n.allow(who, access.Everything) != nil {
		for i := range r.Sites {
			r.Sites[i].Reasons = []string{}
		}
	}
	return r, err
}

func (n *Node) replicationNow() (Replication, error) {
	if err := n.index.Load().Err(); err != nil {
		return Replication{}, fmt.Errorf("status: index: %w", err)
	}
	s := n.sites
	own := s.announcement()
	r := Replication{Site: n.id.Site, Sites: []SiteStatus{}}
	known := s.furthest()
	d := n.directory()
	names := []events.Site{n.id.Site}
	for _, m := range d.Sites() {
		if d.MemberNow(m.Name) && m.Name != n.id.Site {
			names = append(names, m.Name)
		}
	}
	slices.SortFunc(names, func(a, b events.Site) int { return a.Compare(b.String()) })
	r.Agreement = Equal
	connected := 0
	for _, name := range names {
		st := s.siteStatus(name, own, known)
		if st.Connected && !st.Self {
			connected++
		}
		switch {
		case st.Self || !st.Connected:
		case st.Agrees == Different, st.Agrees != Equal && r.Agreement == Equal:
			r.Agreement = st.Agrees
		}
		if !st.Self && !st.Connected && st.Agrees == Different {
			r.Agreement = Different
		}
		r.Sites = append(r.Sites, st)
	}
	s.mu.Lock()
	if r.Agreement == Equal && (len(names) == 1 || connected > 0) {
		s.lastEqual = time.Now().UTC()
	}
	r.LastEqualAt = s.lastEqual
	s.mu.Unlock()
	return r, nil
}

// furthest returns the last place of each log that is known to exist, of logs
// that go on.
func (s *sites) furthest() map[events.Site]events.Mark {
	d := s.node.directory()
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[events.Site]events.Mark{}
	see := func(site events.Site, m events.Mark) {
		if cut, left := d.CutOff(site); left && m.Compare(cut) > 0 {
			m = cut
		}
		if m.Compare(known[site]) > 0 {
			known[site] = m
		}
	}
	for site, l := range s.synced {
		see(site, l.Position.Mark)
	}
	for site, h := range s.heads {
		see(site, h.Position.Mark)
	}
	return known
}

// siteStatus returns how one site stands; own is what this one says of itself.
func (s *sites) siteStatus(name events.Site, own replication.Announcement, known map[events.Site]events.Mark) SiteStatus {
	st := SiteStatus{Name: name, Self: name == s.node.id.Site, Agrees: Unknown, Logs: map[events.Site]LogStatus{}, Reasons: []string{}}
	a := own
	if st.Self {
		st.Connected, st.Agrees, st.LastHeard = true, Equal, time.Now().UTC()
	} else {
		s.mu.Lock()
		h := s.heard[name]
		st.Connected = s.hears(h)
		s.mu.Unlock()
		if h == nil {
			st.Reasons = append(st.Reasons, fmt.Sprintf("site %s has not been heard since this node started; does it run, and can the two reach each other?", name))
			a = replication.Announcement{}
		} else {
			a, st.LastHeard = h.said, h.at.UTC()
			st.Agrees = s.agrees(name, own, a)
		}
		if h != nil && !st.Connected {
			st.Reasons = append(st.Reasons, fmt.Sprintf("site %s was last heard %s ago; does it run, and can the two reach each other?", name, time.Since(h.at).Round(time.Second)))
		}
	}
	sum := sha256.New()
	for _, l := range a.Logs { // by site
		m := l.Position.Mark
		st.Logs[l.Position.Site] = LogStatus{m.Epoch, m.Seq, index.StateHash(l.StateHash), l.Blobs}
		fmt.Fprintf(sum, "%v/%v %v\n", l.Position.Site, m, l.StateHash)
	}
	st.StateHash = hex.EncodeToString(sum.Sum(nil))
	st.BlobsMissing, st.BytesMissing, st.Conflicts = a.BlobsMissing, a.BytesMissing, a.Conflicts
	st.Writable, st.FreeBytes, st.TotalBytes, st.Version = a.Writable, a.FreeBytes, a.TotalBytes, a.Version
	st.Reasons = append(st.Reasons, a.Reasons...)
	for site, m := range known {
		at := events.Mark{Epoch: st.Logs[site].Epoch, Seq: st.Logs[site].Seq}
		if at.Compare(m) >= 0 {
			continue
		}
		st.LagEntries += max(1, m.Seq-min(m.Seq, at.Seq))
		st.LagSeconds = max(st.LagSeconds, s.age(site, at))
	}
	return st
}

// age returns how many seconds old the entry behind a place in a log is; if it
// isn't here, the origin's last word tells.
func (s *sites) age(site events.Site, at events.Mark) float64 {
	x := s.node.index.Load()
	for raw, err := range x.Entries(site, at) {
		if err != nil {
			break
		}
		e, err := events.DecodeEntry(raw)
		if err != nil {
			break
		}
		return max(0, time.Since(e.Time).Seconds())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, time.Since(s.heads[site].Time).Seconds())
}

// agrees compares what a peer said of all logs with what this site says.
func (s *sites) agrees(peer events.Site, own, theirs replication.Announcement) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.doubts[peer]) > 0 {
		return Different
	}
	if len(own.Logs) != len(theirs.Logs) {
		return CatchingUp
	}
	for i, l := range own.Logs { // both by site
		o := theirs.Logs[i]
		if l.Position != o.Position {
			return CatchingUp
		}
		if l.StateHash != o.StateHash {
			return Different
		}
	}
	return Equal
}

// standing is what a person should know of this site. To find it takes a look
// at every event without a right, so it is looked at anew a few times a second
// at most.
type standing struct {
	mu        sync.Mutex
	at        time.Time // guarded by mu
	reasons   []string  // guarded by mu
	conflicts int       // guarded by mu
}

const standingAge = 200 * time.Millisecond

// stands returns the conflicts at this site, which need a person's decision, and
// what else a person should know.
func (s *sites) stands() (conflicts int, reasons []string) {
	st := &s.standing
	st.mu.Lock()
	defer st.mu.Unlock()
	if time.Since(st.at) > standingAge {
		refused := s.refused()
		st.at, st.conflicts, st.reasons = time.Now(), s.conflicts(refused), s.reasons(refused)
	}
	return st.conflicts, st.reasons
}

// renew has the next call of stands look again.
func (st *standing) renew() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.at = time.Time{}
}

func (s *sites) conflicts(refused map[events.EventID]string) int {
	n := len(refused) + s.conflictsLeft()
	for _, t := range []string{"fork ", "lost ", "lie ", "own fork"} {
		n += s.troubles.count(t)
	}
	return n
}

const (
	maxReasons    = 16
	maxReasonText = 500
)

// reasons returns what a person should know of this site, cut to what an
// announcement takes.
func (s *sites) reasons(refused map[events.EventID]string) []string {
	n := s.node
	var list []string
	if err := n.commits.mayWrite(); err != nil {
		list = append(list, err.Error())
	}
	list = append(list, s.troubles.texts()...)
	ids := make([]events.EventID, 0, len(refused))
	for id := range refused {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, events.EventID.Compare)
	for _, id := range ids {
		list = append(list, refused[id])
	}
	s.mu.Lock()
	for _, peer := range sortedSites(s.doubts) {
		for site, d := range s.doubts[peer] {
			list = append(list, fmt.Sprintf("this site and site %s hold different states of the log of site %s at %v (%.12s… and %.12s…): run registry-node diff %s, "+
				"and registry-node verify at both; the one with a problem is mended by registry-node rebuild", peer, site, d.at, d.here, d.theirs, peer))
		}
	}
	s.mu.Unlock()
	list = append(list, n.webhooks.reasons(time.Now())...)
	if len(list) > maxReasons {
		list = append(list[:maxReasons-1], fmt.Sprintf("and %d more", len(list)-maxReasons+1))
	}
	for i, text := range list {
		list[i] = clip(printable(text), maxReasonText)
	}
	return list
}

// printable makes one line of plain text of what may hold another site's words.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// clip cuts a text to at most n bytes, between two characters.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n]
}

// changesEvery bounds how often ReplicationChanges yields.
const changesEvery = 200 * time.Millisecond

// ReplicationChanges yields how the sites stand, and again whenever that may
// have changed, at most five times a second and at least each other one, until ctx
// ends.
func (n *Node) ReplicationChanges(ctx context.Context, who *access.Caller) iter.Seq2[Replication, error] {
	return func(yield func(Replication, error) bool) {
		for {
			ch := n.sites.changes.wait()
			r, err := Replication{}, n.recheck(ctx, who)
			if err == nil {
				r, err = n.Replication(who)
			}
			if !yield(r, err) || err != nil {
				return
			}
			select {
			case <-time.After(changesEvery):
			case <-ctx.Done():
				return
			}
			select {
			case <-ch:
			case <-time.After(announceEvery): // what the disk has left shows by a look alone
			case <-ctx.Done():
				return
			case <-n.life.ctx.Done():
				return
			}
		}
	}
}

// WaitSites waits until so many sites, this one included, hold the entry at a
// position and all blobs that they want up to there; with a negative number,
// until all members do. It returns how many do when ctx ends.
func (n *Node) WaitSites(ctx context.Context, at events.Position, sites int) (have int, ok bool) {
	for {
		ch := n.sites.changes.wait()
		d := n.directory()
		members := 0
		for _, m := range d.Sites() {
			if d.MemberNow(m.Name) {
				members++
			}
		}
		need := sites
		if sites < 0 {
			need = members
		}
		if have = n.sites.holding(at); have >= need {
			return have, true
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return have, false
		}
	}
}

// holding returns how many sites hold the entry at a position with its blobs.
func (s *sites) holding(at events.Position) (have int) {
	own := s.node.id.Site
	if s.wants.mark(at.Site, at.Mark).Compare(at.Mark) >= 0 && s.here(at) {
		have++
	}
	d := s.node.directory()
	s.mu.Lock()
	defer s.mu.Unlock()
	for site, h := range s.heard {
		l := h.logs[at.Site]
		if _, differs := s.doubts[site][at.Site]; differs || !d.MemberNow(site) || l.Position.Mark == at.Mark && !at.Hash.IsZero() && l.Position.Hash != at.Hash {
			continue
		}
		if site != own && l.Position.Mark.Compare(at.Mark) >= 0 && l.Blobs.Compare(at.Mark) >= 0 {
			have++
		}
	}
	return have
}

func (s *sites) here(at events.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced[at.Site].Position.Mark.Compare(at.Mark) >= 0
}
