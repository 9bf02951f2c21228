package node

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"registry-node/events"
	"registry-node/node/index"
)

// Status is how this node stands: what is measured, never a mood.
type Status struct {
	Version     string        `json:"version"`
	Site        events.Site   `json:"site"`
	Registry    events.Digest `json:"registry"`
	Writable    bool          `json:"writable"`
	Reasons     []string      `json:"reasons"` // why it is not, or what else needs a person
	FreeBytes   uint64        `json:"free_bytes"`
	TotalBytes  uint64        `json:"total_bytes"`
	Repos       []RepoInfo    `json:"repositories"`
	Replication Replication   `json:"replication"`
}

// Replication is how the sites stand to each other, as this site knows it.
type Replication struct {
	Site        events.Site  `json:"site"`
	Agreement   string       `json:"agreement"` // equal, catching-up or different
	LastEqualAt time.Time    `json:"last_equal_at"`
	Sites       []SiteStatus `json:"sites"`
}

// SiteStatus is how one site stands.
type SiteStatus struct {
	Name         events.Site               `json:"name"`
	Self         bool                      `json:"self"`
	Connected    bool                      `json:"connected"`
	Logs         map[events.Site]LogStatus `json:"logs"`
	StateHash    string                    `json:"state_hash"` // over all its logs
	LagEntries   uint64                    `json:"lag_entries"`
	LagSeconds   float64                   `json:"lag_seconds"`
	BlobsMissing int                       `json:"blobs_missing"`
	BytesMissing int64                     `json:"bytes_missing"`
	Conflicts    int                       `json:"conflicts"`
	Reasons      []string                  `json:"reasons"`
}

// LogStatus is how far a site is in one log.
type LogStatus struct {
	Epoch     uint32          `json:"epoch"`
	Seq       uint64          `json:"seq"`
	StateHash index.StateHash `json:"state_hash"`
}

// Status returns how this node stands.
func (n *Node) Status() (Status, error) {
	rep, err := n.Replication()
	if err != nil {
		return Status{}, err
	}
	space := n.space.look()
	st := Status{
		Version: n.opts.Version, Site: n.id.Site, Registry: n.id.Registry, Reasons: []string{},
		FreeBytes: space.free, TotalBytes: space.total, Repos: n.Repos(), Replication: rep,
	}
	if err := n.Ready(); err != nil {
		st.Reasons = append(st.Reasons, err.Error())
	} else {
		st.Writable = true
	}
	for _, r := range st.Repos {
		if r.Problem != "" {
			st.Reasons = append(st.Reasons, r.Problem)
		}
	}
	return st, nil
}

// Ready reports why this node can't take writes, if so. It reads nonetheless.
func (n *Node) Ready() error {
	if why := n.commits.frozen.Load(); why != nil {
		return fail(ErrUnavailable, "this node takes no writes: %s", *why)
	}
	if err := n.blobs.store.Err(); err != nil {
		return because(err, ErrUnavailable, "this node takes no writes: a sync to disk failed; restart it")
	}
	if err := n.index.Load().Err(); err != nil {
		return because(err, ErrUnavailable, "this node takes no writes: its index failed; restart it")
	}
	return n.space.check()
}

// Replication returns how the sites stand. A registry of one site agrees with
// itself.
func (n *Node) Replication() (Replication, error) {
	heads, err := n.index.Load().Heads()
	if err != nil {
		return Replication{}, fmt.Errorf("status: index: %w", err)
	}
	self := SiteStatus{Name: n.id.Site, Self: true, Connected: true, Logs: map[events.Site]LogStatus{}, Reasons: []string{}}
	sum := sha256.New()
	for _, h := range heads { // by site
		m := h.Position.Mark
		self.Logs[h.Position.Site] = LogStatus{m.Epoch, m.Seq, h.StateHash}
		fmt.Fprintf(sum, "%v/%v %v\n", h.Position.Site, m, h.StateHash)
	}
	self.StateHash = hex.EncodeToString(sum.Sum(nil))
	return Replication{Site: n.id.Site, Agreement: "equal", LastEqualAt: time.Now().UTC(), Sites: []SiteStatus{self}}, nil
}
