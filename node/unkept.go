package node

import "registry-node/events"

// The zips that passed through this node without being kept, as their repository
// wants it, and those that were removed from its cache, are rows of local state:
// so nobody takes them for lost, even when the repository has come to keep zips
// since.

const unkeptSpace = "unkept"

// setUnkept puts down that a zip which this site states is not kept.
func (n *Node) setUnkept(d events.Digest) error {
	return n.index.Load().Local(unkeptSpace).Set(d.Hex(), []byte{})
}

// clearUnkept is told of a zip that is kept.
func (n *Node) clearUnkept(d events.Digest) error {
	local := n.index.Load().Local(unkeptSpace)
	_, ok, err := local.Get(d.Hex())
	if err != nil || !ok {
		return err
	}
	return local.Delete(d.Hex())
}

// unkept reports whether a blob need not be here: it is a zip of a remote
// repository that keeps none, or kept none when it passed through, or it was
// removed on purpose, or the info of a build that was deleted.
func (n *Node) unkept(v want) (bool, error) {
	if v.Build {
		stands, err := n.buildStands(v)
		return !stands, err
	}
	r := n.directory().Repo(v.Repo)
	if v.Mod || r == nil || r.Kind != events.Remote {
		return false, nil
	}
	if r.Settings.KeepNothing {
		return true, nil
	}
	_, ok, err := n.index.Load().Local(unkeptSpace).Get(v.Blob.Digest.Hex())
	return ok, err
}

// removedZip reports whether a zip is not here because it was removed from the
// cache, or never kept.
func (r *Repository) removedZip(c *events.HeldContent) (bool, error) {
	for _, b := range c.Zips {
		if removed, err := r.node.unkept(want{Blob: b, Repo: r.repo.ID}); removed || err != nil {
			return removed, err
		}
	}
	return false, nil
}
