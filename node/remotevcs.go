package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"registry-node/events"
	"registry-node/node/upstream"
)

const vcsDir = "vcs"

// openVCS gives a remote repository the VCS hosts for an upstream.
func (n *Node) openVCS(c *connection, r *events.Repo, opts upstream.Options) error {
	dir, err := n.vcsDir(r.ID)
	if err != nil {
		return err
	}
	p := r.Settings.RemotePolicy
	v, err := upstream.NewVCS(upstream.VCSConfig{
		Dir: dir, Allow: p.AllowTargets, Inside: upstream.Inside(p.AllowInside), InsecureHosts: p.PlainHosts,
		Credential: opts.Credential, Proxy: opts.Proxy, Via: opts.Via, CAFile: os.Getenv("SSL_CERT_FILE"), Timeout: p.Timeout.Or(0), OfflineFor: opts.OfflineFor,
		Full: n.space.check,
	})
	if err != nil {
		return err
	}
	c.client, c.dir = v, dir
	return nil
}

// vcsDir returns the directory for the clones of a repository: what an earlier run
// of the node left, unless that is in use because the settings have just changed.
func (n *Node) vcsDir(id events.RepoID) (string, error) {
	name := strings.ReplaceAll(id.String(), "/", "-") + "."
	parent := filepath.Join(n.dir, vcsDir)
	entries, err := os.ReadDir(parent)
	if err != nil && !os.IsNotExist(err) {
		return "", fmt.Errorf("directory of clones: %w", err)
	}
	var used []string
	if st := n.state.Load(); st != nil {
		for _, rem := range st.remotes {
			used = append(used, rem.dir)
		}
	}
	for _, e := range entries {
		if dir := filepath.Join(parent, e.Name()); strings.HasPrefix(e.Name(), name) && !slices.Contains(used, dir) && n.state.Load() == nil {
			return dir, nil
		}
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("directory of clones: %w", err)
	}
	return os.MkdirTemp(parent, name+"*")
}

// discard closes what is replaced or deleted, and removes its clones.
func (n *Node) discard(c *connection) {
	c.close()
	if c.dir != "" {
		n.removeClones([]string{c.dir})
	}
}

func (n *Node) removeClones(dirs []string) {
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			n.logger.Warn("clones are not removed", "directory", dir, "error", err)
		}
	}
}

// strayClones returns the directories that an earlier run of the node has left
// and that no repository of st uses: deleted or changed since, or not removed
// before that run ended. The caller holds resolving, so that none is being made.
func (n *Node) strayClones(st *state) (strays []string) {
	parent := filepath.Join(n.dir, vcsDir)
	entries, _ := os.ReadDir(parent) // openVCS says what is wrong with it
	used := make(map[string]bool)
	for _, rem := range st.remotes {
		used[rem.dir] = true
	}
	for _, e := range entries {
		if dir := filepath.Join(parent, e.Name()); !used[dir] {
			strays = append(strays, dir)
		}
	}
	return strays
}
