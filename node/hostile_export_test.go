package node

import (
	"maps"
	"slices"

	"registry-node/events"
)

// Evidence returns the entries of a site's log that are set aside.
func (n *Node) Evidence(site events.Site) (raws [][]byte, err error) {
	for raw, err := range n.index.Load().SetAside(site) {
		if err != nil {
			return nil, err
		}
		raws = append(raws, raw)
	}
	return raws, nil
}

// Overreach returns what is reported as stated without a right, all of it.
func (n *Node) Overreach() []string {
	return slices.Collect(maps.Values(n.sites.refused()))
}
