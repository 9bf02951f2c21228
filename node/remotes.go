package node

import (
	"time"

	"registry-node/events"
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
	LastError    string    `json:"last_error,omitempty"`
	// Entries are the hosts of a GOPROXY list, with those that are assumed offline.
	Entries []upstream.EntryHealth `json:"entries"`
}

// Remotes returns how the upstreams of the remote repositories stand, by name.
func (n *Node) Remotes() []RemoteStatus {
	st := n.state.Load()
	list := []RemoteStatus{}
	for _, r := range st.dir.Repos() {
		rem := st.remotes[r.ID]
		if rem == nil {
			continue
		}
		s := RemoteStatus{
			Name: r.Name, Upstream: r.Settings.Upstream, Entries: []upstream.EntryHealth{},
			Offline: n.offline.Load() || r.Settings.Offline,
		}
		if f := rem.failing.Load(); f != nil {
			s.FailingSince, s.LastError = f.since.UTC(), f.err.Error()
		}
		if c, ok := rem.client.(*upstream.Client); ok && rem.broken == nil {
			s.Entries = append(s.Entries, c.Health()...)
		}
		list = append(list, s)
	}
	return list
}
