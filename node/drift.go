package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

// Drift is that an upstream gave other content for a version than what the
// registry, or the checksum database, has recorded of it: somebody moved a tag, or
// worse. What was recorded stays; what came is refused.
type Drift struct {
	Repo     events.RepoName `json:"repository"`
	Module   string          `json:"module"`
	Version  string          `json:"version"`
	Time     time.Time       `json:"time"` // when it was last noticed here
	Recorded DriftHashes     `json:"recorded"`
	Found    DriftHashes     `json:"found"`
	Upstream string          `json:"upstream"`
}

// DriftHashes are the hashes of one content. The zip's is zero if it was not
// compared.
type DriftHashes struct {
	ModH1 events.H1 `json:"mod_h1"`
	ZipH1 events.H1 `json:"zip_h1,omitzero"`
}

// errDrift is the cause of a refusal of content that differs from what was
// recorded.
var errDrift = errors.New("upstream drift")

const driftSpace = "drift"

func driftKey(id events.RepoID, mv module.Version) string {
	return id.String() + " " + mv.Path + " " + mv.Version
}

// noteDrift remembers and reports that the upstream's content differs.
func (n *Node) noteDrift(a *admission, recorded, found DriftHashes) {
	d := Drift{a.repo.Name, a.mv.Path, a.mv.Version, time.Now().UTC(), recorded, found, a.upstream}
	b, err := json.Marshal(d)
	if err == nil {
		err = n.index.Load().Local(driftSpace).Set(driftKey(a.repo.ID, a.mv), b)
	}
	if err != nil {
		n.logger.Error("upstream drift is not remembered", "module", a.mv.Path, "version", a.mv.Version, "error", err)
	}
	n.raiseDrift(driftKey(a.repo.ID, a.mv), d)
}

func (n *Node) raiseDrift(key string, d Drift) {
	n.sites.troubles.raise("drift "+key, fmt.Sprintf(
		"upstream drift: %s@%s comes with other content from the upstream of repository %s than what was recorded (go.mod %v zip %v, recorded go.mod %v zip %v); it is refused",
		d.Module, d.Version, d.Repo, d.Found.ModH1, d.Found.ZipH1, d.Recorded.ModH1, d.Recorded.ZipH1))
}

// loadDrifts reports what an earlier run noticed and what is not over.
func (n *Node) loadDrifts() error {
	for row, err := range n.index.Load().Local(driftSpace).All("") {
		var d Drift
		if err == nil {
			err = json.Unmarshal(row.Value, &d)
		}
		if err != nil {
			return fmt.Errorf("index: drift: %w", err)
		}
		n.raiseDrift(row.Key, d)
	}
	return nil
}

// drifted notes it if err says that what an upstream gave is not what was recorded.
// It returns err. What somebody imports says nothing of the upstream.
func (n *Node) drifted(a *admission, c events.Content, err error) error {
	if !errors.Is(err, errDrift) || a.published || a.imported {
		return err
	}
	recorded := DriftHashes{a.sums.Mod, a.sums.Zip}
	if v, held := n.version(n.directory(), a.repo, a.mv); held == nil && len(v.Contents) > 0 {
		recorded = DriftHashes{v.Contents[0].ModH1, v.Contents[0].ZipH1}
	}
	n.noteDrift(a, recorded, DriftHashes{c.ModH1, c.ZipH1})
	return err
}

// noDrift forgets a drift that is over: the upstream gave the recorded content.
func (n *Node) noDrift(a *admission) error {
	if a.imported {
		return nil
	}
	key := driftKey(a.repo.ID, a.mv)
	n.sites.troubles.clear("drift " + key)
	local := n.index.Load().Local(driftSpace)
	if _, ok, err := local.Get(key); err != nil || !ok {
		return err
	}
	return local.Delete(key)
}

// Drifts returns what this site has noticed and what is not over, in the
// repositories that the caller manages.
func (n *Node) Drifts(who *access.Caller) ([]Drift, error) {
	if err := n.mayLook(who); err != nil {
		return nil, err
	}
	rights := n.state.Load().rights
	list := []Drift{}
	for row, err := range n.index.Load().Local(driftSpace).All("") {
		var d Drift
		if err == nil {
			err = json.Unmarshal(row.Value, &d)
		}
		if err != nil {
			return nil, fmt.Errorf("index: drift: %w", err)
		}
		if rights.Manages(who, d.Repo.String()) {
			list = append(list, d)
		}
	}
	return list, nil
}
