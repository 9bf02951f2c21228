package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"registry-node/events"
	"registry-node/node/blob"
)

// NewRepo describes a repository to be made.
type NewRepo struct {
	Name     events.RepoName     `json:"name"`
	Kind     events.RepoKind     `json:"kind"`
	Home     events.Site         `json:"home,omitzero"` // decides about its versions; by default the site that is asked
	Settings events.RepoSettings `json:"settings"`
}

// Fresh is what a new registry holds.
type Fresh struct {
	Repos  []NewRepo
	Groups map[string][]string     // the users in each
	Rules  map[string]events.Grant // by name
}

// Init makes a registry of one site in dir, with what fresh says. The
// directory must be empty or not exist; what an Init that was cut short left is
// taken up again. An existing registry is left alone and is no error: made
// tells.
func Init(ctx context.Context, dir string, site events.Site, fresh Fresh, opts Options) (made bool, err error) {
	err = checkFormat(dir)
	if !errors.Is(err, ErrNoData) {
		return false, err
	}
	for _, r := range fresh.Repos { // before anything is made
		if r.Kind != events.Remote {
			continue
		}
		if _, _, err := parseRemote(r.Settings, opts.Self); err != nil {
			return false, because(err, ErrInvalid, "repository %s: %v", r.Name, err)
		}
	}
	if err := checkFresh(dir); err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Join(dir, keysDir), 0o700); err != nil {
		return false, fmt.Errorf("data directory: %w", err)
	}
	genesis, key, err := makeIdentity(dir, site)
	if err != nil {
		return false, err
	}
	if err := blob.Create(filepath.Join(dir, blobsDir)); err != nil {
		return false, err
	}
	n, err := open(ctx, dir, identity{events.RegistryID(genesis), site}, key, opts)
	if err != nil {
		return false, err
	}
	err = errors.Join(n.writeGenesis(ctx, genesis, fresh), n.Close())
	if err != nil {
		return false, err
	}
	return true, WriteFile(filepath.Join(dir, formatFile), []byte(formatStamp), 0o600)
}

// checkFresh reports whether dir holds anything that Init didn't make.
func checkFresh(dir string) error {
	ours := map[string]bool{keysDir: true, siteFile: true, streamDir: true, indexDir: true, blobsDir: true, peersFile: true, "lock": true, "lost+found": true}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if !ours[e.Name()] && !unfinished(e.Name(), ours) {
			return fmt.Errorf("directory %s holds %s and no registry; name an empty directory", dir, e.Name())
		}
	}
	return nil
}

// unfinished reports whether name is that of a file which WriteFile had begun
// to write when the process was killed.
func unfinished(name string, ours map[string]bool) bool {
	target, rest, ok := strings.Cut(strings.TrimPrefix(name, "."), "-")
	return ok && name[0] == '.' && ours[target] && strings.Trim(rest, "0123456789") == ""
}

const genesisFile = "genesis.json"

// makeIdentity makes the keys of a first site and what its first event says, or
// reads what an earlier try made.
func makeIdentity(dir string, site events.Site) (events.SiteJoined, ed25519.PrivateKey, error) {
	var g events.SiteJoined
	key, err := makeKey(filepath.Join(dir, keysDir, siteKeyFile))
	if err != nil {
		return g, nil, err
	}
	recovery, err := makeKey(filepath.Join(dir, keysDir, recoveryFile))
	if err != nil {
		return g, nil, err
	}
	file := filepath.Join(dir, keysDir, genesisFile)
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &g); err != nil || g.Name != site {
			return g, nil, fmt.Errorf("%s: not what the making of site %s left: %w", file, site, err)
		}
	case errors.Is(err, fs.ErrNotExist):
		g = events.SiteJoined{Name: site, PublicKey: events.PublicKey(key.Public().(ed25519.PublicKey))}
		g.Genesis = events.Genesis{Nonce: make([]byte, 32), Recovery: events.PublicKey(recovery.Public().(ed25519.PublicKey))}
		rand.Read(g.Genesis.Nonce)
		b, err := json.Marshal(g)
		if err != nil {
			return g, nil, err
		}
		if err := WriteFile(file, b, 0o600); err != nil {
			return g, nil, err
		}
	default:
		return g, nil, err
	}
	b, err = json.Marshal(identity{events.RegistryID(g), site})
	if err != nil {
		return g, nil, err
	}
	return g, key, WriteFile(filepath.Join(dir, siteFile), b, 0o600)
}

// writeGenesis appends the first event of the registry and makes what it is to
// hold, unless an earlier try did.
func (n *Node) writeGenesis(ctx context.Context, g events.SiteJoined, fresh Fresh) error {
	_, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if !v.dir.Home().IsZero() {
			return nil, nil
		}
		return []events.Body{g}, nil
	})
	if err != nil {
		return err
	}
	for _, r := range fresh.Repos {
		_, err := n.CreateRepo(ctx, n.self(), r)
		if err != nil && !errors.Is(err, ErrExists) {
			return err
		}
	}
	_, err = n.commits.propose(ctx, func(v view) ([]events.Body, error) { return fresh.rights(v.dir, n.self().Actor()), nil })
	return err
}

// rights returns the groups and rules that are not there yet.
func (f Fresh) rights(d *events.Directory, actor string) (bodies []events.Body) {
	groups, rules := d.Groups(), d.Rules()
	for _, name := range slices.Sorted(maps.Keys(f.Groups)) {
		if _, has := groups[name]; !has {
			bodies = append(bodies, events.GroupChanged{Name: name, Members: f.Groups[name], Actor: actor})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Rules)) {
		if _, has := rules[name]; !has {
			bodies = append(bodies, events.PermissionChanged{Name: name, Grant: f.Rules[name], Actor: actor})
		}
	}
	return bodies
}
