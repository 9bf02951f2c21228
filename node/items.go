package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// Item is a file of a version that is held here, as those see it to whom a
// repository is one of files.
type Item struct {
	Repo    events.RepoName // that has it; of what a virtual one shows, the member
	Version module.Version
	File    string    // events.InfoFile, ModFile or ZipFile
	Size    int64     // bytes
	Created time.Time // when it was first recorded
	// CreatedBy is who published it; empty if nobody did, and for callers who have
	// not said who they are.
	CreatedBy string
	// Properties are those of a file in a local repository, by key. They are shared,
	// and not changed.
	Properties map[string][]string

	node *Node
	data []byte      // of a small file
	blob events.Blob // of another one
}

// itemFiles are the files of a version, in the order in which items come.
var itemFiles = []string{events.InfoFile, events.ModFile, events.ZipFile}

// Dir returns the path of the directory that the file is in, within its repository:
// the module path with its capitals, and /@v.
func (i Item) Dir() string { return i.Version.Path + versionsDir }

// Name returns the name of the file: the version, with .info, .mod or .zip.
func (i Item) Name() string { return i.Version.Version + "." + i.File }

const versionsDir = "/@v"

// SHA256 returns the digest of the file.
func (i Item) SHA256() events.Digest {
	if i.data != nil {
		return events.DigestOf(i.data)
	}
	return i.blob.Digest
}

// Sums returns the checksums of the file; ok is false if its bytes are not here. It
// fetches nothing.
func (i Item) Sums(ctx context.Context) (s Sums, ok bool, err error) {
	if i.data != nil {
		return sumsOfBytes(i.data), true, nil
	}
	return i.node.sumsOf(ctx, i.blob)
}

// Item returns a file of a version that is held, with its properties. Other than
// Info, Mod and Zip it asks nobody elsewhere. Errors: as those.
func (r *Repository) Item(ctx context.Context, mv module.Version, file string) (Item, error) {
	held := *r
	held.HeldOnly = true
	return checked(ctx, &held, mv, func(s *Repository) (Item, error) {
		v, err := s.node.version(s.st.dir, s.repo, mv)
		if err != nil {
			return Item{}, err
		}
		items, err := s.items(ctx, mv, v)
		if err != nil {
			return Item{}, err
		}
		i := slices.IndexFunc(items, func(i Item) bool { return i.File == file })
		switch {
		case i < 0 && s.mayLack(mv.Path):
			return Item{}, fail(ErrUnavailable, "%s@%s is not in repository %s as far as this node knows, but it may lack what site %s has written since%s; try again in a moment",
				mv.Path, mv.Version, s.repo.Name, s.repo.Home(), s.node.sites.lastHeard(s.repo.Home()))
		case i < 0:
			return Item{}, errAbsent
		}
		all, err := s.properties(mv)
		items[i].Properties = all[file]
		return items[i], err
	})
}

// items returns the files of a version in a local or remote repository that can be
// had, without properties. It asks nobody: r is HeldOnly.
func (r *Repository) items(ctx context.Context, mv module.Version, v *events.Version) ([]Item, error) {
	c, err := r.right(ctx, mv, v)
	if err != nil || c == nil {
		return nil, err
	}
	i := Item{Repo: r.repo.Name, Version: mv, Created: c.First.Time, node: r.node}
	if r.who.Known() {
		i.CreatedBy, _, _ = strings.Cut(c.First.Actor, "/") // without the token
	}
	var list []Item
	if c.HasMod() {
		info, mod := i, i
		info.File, info.data, info.Size = events.InfoFile, c.Info, int64(len(c.Info))
		mod.File, mod.data, mod.Size = events.ModFile, c.Mod, int64(len(c.Mod))
		if !c.ModBlob.IsZero() {
			mod.data, mod.blob, mod.Size = nil, c.ModBlob, c.ModBlob.Size
		} else if mod.data == nil {
			mod.data = []byte{}
		}
		list = append(list, info, mod)
	}
	zip, ok, err := r.zipItem(mv, c, i)
	if ok {
		list = append(list, zip)
	}
	return list, err
}

// zipItem completes the item of a zip; ok is false if it can't be had: there is none,
// the bytes were not kept, or it is too young.
func (r *Repository) zipItem(mv module.Version, c *events.HeldContent, i Item) (_ Item, ok bool, err error) {
	if !c.HasZip() {
		return i, false, nil
	}
	n := slices.IndexFunc(c.Zips, r.node.blobs.held)
	if n < 0 {
		removed, err := r.removedZip(c)
		if removed || err != nil {
			return i, false, err
		}
		n = 0 // another site has it
	}
	if _, young, err := r.opens(mv, time.Now()); young || err != nil {
		return i, false, err
	}
	i.File, i.blob, i.Size, i.Created = events.ZipFile, c.Zips[n], c.Zips[n].Size, c.ZipSources[n].Time
	return i, true, nil
}

// properties returns the properties of the files of a version.
func (r *Repository) properties(mv module.Version) (events.Properties, error) {
	if r.repo.Kind != events.Local {
		return nil, nil
	}
	cs, err := r.node.index.Load().Get(events.KeyProperties(r.repo.ID, mv))
	if err != nil {
		return nil, fmt.Errorf("properties of %s@%s: index: %w", mv.Path, mv.Version, err)
	}
	return r.st.dir.ResolveProperties(r.repo, cs), nil
}

// notShown reports whether an error about a version says why it is not shown, rather
// than that something went wrong.
func notShown(err error) bool { return errors.As(err, new(*Error)) }
