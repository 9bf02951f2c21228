package node

import (
	"registry-node/events"
	"registry-node/node/access"
)

// Status is how this node stands: what is measured, never a mood.
type Status struct {
	Version     string        `json:"version"`
	Site        events.Site   `json:"site"`
	Registry    events.Digest `json:"registry"`
	Writable    bool          `json:"writable"`
	Reasons     []string      `json:"reasons"` // why it is not, or what else needs a person
	Remarks     []string      `json:"remarks"` // what mends itself, or is meant
	FreeBytes   uint64        `json:"free_bytes"`
	TotalBytes  uint64        `json:"total_bytes"`
	Repos       []RepoInfo    `json:"repositories"`
	Replication Replication   `json:"replication"`
}

// Status returns how this node stands, to whoever may read something here. What
// names modules and what is for operators is for administrators of the registry.
func (n *Node) Status(who *access.Caller) (Status, error) {
	rep, err := n.Replication(who)
	if err != nil {
		return Status{}, err
	}
	repos, err := n.Repos(who)
	if err != nil {
		return Status{}, err
	}
	remotes, err := n.Remotes(who)
	if err != nil {
		return Status{}, err
	}
	space := n.space.look()
	st := Status{
		Version: n.opts.Version, Site: n.id.Site, Registry: n.id.Registry, Reasons: []string{}, Remarks: []string{},
		FreeBytes: space.free, TotalBytes: space.total, Repos: repos, Replication: rep,
	}
	ready := n.Ready()
	st.Writable = ready == nil
	if n.allow(who, access.Everything) != nil {
		return st, nil
	}
	if ready != nil {
		st.Reasons = append(st.Reasons, ready.Error())
	}
	for _, r := range st.Repos {
		if r.Problem != "" {
			st.Reasons = append(st.Reasons, r.Problem)
		}
	}
	st.addUpstreams(remotes)
	if n.offline.Load() {
		st.Remarks = append(st.Remarks, "this node is switched offline and asks no upstream; end that with: registry-node offline off")
	}
	return st, nil
}

// Ready reports why this node can't take writes, if so. It reads nonetheless.
func (n *Node) Ready() error {
	if err := n.commits.mayWrite(); err != nil {
		return err
	}
	if err := n.blobs.store.Err(); err != nil {
		return because(err, ErrUnavailable, "this node takes no writes: a sync to disk failed; restart it")
	}
	if err := n.index.Load().Err(); err != nil {
		return because(err, ErrUnavailable, "this node takes no writes: its index failed; restart it")
	}
	return n.space.check()
}
