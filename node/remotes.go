package node

import (
	"fmt"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/upstream"
)

// RemoteStatus is how the upstream of a remote repository stands, as this node has
// met it.
type RemoteStatus struct {
	Name     events.RepoName `json:"name"`
	Upstream string          `json:"upstream"`
	// Offline says that it is not asked, since the node or the repository is
	// switched offline.
	Offline bool `json:"offline,omitempty"`
	// FailingSince is since when it has failed, without an answer in between; zero
	// if it has not. Lists are given out meanwhile as it said them last.
	FailingSince time.Time `json:"failing_since,omitzero"`
	LastFailure  time.Time `json:"last_failure,omitzero"`
	LastError    string    `json:"last_error,omitempty"`
	// Entries are the hosts of a GOPROXY list, with those that are assumed offline.
	Entries []upstream.EntryHealth `json:"entries"`
	// Problem says why the repository can't be used at this node, if so.
	Problem string `json:"problem,omitempty"`
}

// Remotes returns how the upstreams of the remote repositories stand that the
// caller manages, by name.
func (n *Node) Remotes(who *access.Caller) ([]RemoteStatus, error) {
	if err := n.mayLook(who); err != nil {
		return nil, err
	}
	st := n.state.Load()
	list := []RemoteStatus{}
	for _, r := range st.dir.Repos() {
		rem := st.remotes[r.ID]
		if rem == nil || !st.rights.Manages(who, r.Name.String()) {
			continue
		}
		s := RemoteStatus{
			Name: r.Name, Upstream: r.Settings.Upstream, Entries: []upstream.EntryHealth{},
			Offline: n.offline.Load() || r.Settings.Offline, Problem: n.repoInfo(st, r).Problem,
		}
		if f := rem.failing.Load(); f != nil {
			s.FailingSince, s.LastFailure, s.LastError = f.since.UTC(), f.last.UTC(), f.err.Error()
		}
		if c, ok := rem.client.(*upstream.Client); ok && rem.broken == nil {
			s.Entries = append(s.Entries, c.Health()...)
		}
		list = append(list, s)
	}
	return list, nil
}

// lastingTrouble is for how long an upstream has to fail, again and again, until
// that is something for a person.
const lastingTrouble = 15 * time.Minute

// addUpstreams adds what there is to say of upstreams that fail.
func (s *Status) addUpstreams(remotes []RemoteStatus) {
	for _, r := range remotes {
		if r.Offline || r.FailingSince.IsZero() {
			continue
		}
		text := fmt.Sprintf("repository %s: its upstream %s fails since %s: %s", r.Name, r.Upstream, r.FailingSince.Format(time.RFC3339), r.LastError)
		if r.LastFailure.Sub(r.FailingSince) < lastingTrouble {
			s.Remarks = append(s.Remarks, text)
		} else {
			s.Reasons = append(s.Reasons, text)
		}
	}
}
