package node

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/index"
)

// FolderEntry is what lies in a folder: a file, or a folder again.
type FolderEntry struct {
	Name   string
	Folder bool
}

// The bounds of a folder: what lies in it, and the records that are looked at for that.
const (
	maxFolder      = 10_000
	maxFolderLooks = 200_000
)

// Folder returns what lies in a folder of a repository, by name: elements of module
// paths with their capitals, for a module @v, and in that the files of its versions.
// The empty path is the folder of all. What the caller may not read, or can't be had,
// is not there; it asks nobody elsewhere. Errors: ErrNotFound, if there is nothing in
// the folder, and it is not that of all; ErrTooLarge, or what ends ctx.
func (r *Repository) Folder(ctx context.Context, path string) ([]FolderEntry, error) {
	held, looks := *r, maxFolderLooks
	held.HeldOnly = true
	f := &folderScan{path: path, there: map[FolderEntry]bool{}}
	f.itemScan = itemScan{ctx: ctx, asked: &held, query: ItemQuery{Looks: &looks}, yield: f.found}
	for _, m := range held.membersOrSelf() {
		f.itemScan.path, f.sources = "", nil
		if err := f.in(m); err != nil {
			return nil, err
		}
		if len(f.there) > maxFolder {
			return nil, fail(ErrTooLarge, "more than %d files and folders are in %s; ask for one below it, or search", maxFolder, path)
		}
	}
	if len(f.there) == 0 && path != "" {
		return nil, fail(ErrNotFound, "there is nothing in %s of repository %s that you may read", path, r.repo.Name)
	}
	list := make([]FolderEntry, 0, len(f.there))
	for e := range f.there {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b FolderEntry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// folderScan is a Folder under way.
type folderScan struct {
	itemScan
	path  string
	files bool // the folder is an @v, and the items in it are wanted
	there map[FolderEntry]bool
}

// found takes an item. One is enough to know that a folder is there.
func (f *folderScan) found(i Item) bool {
	if f.files {
		f.there[FolderEntry{Name: i.Name()}] = true
	}
	return f.files && len(f.there) <= maxFolder
}

// in looks in one repository.
func (f *folderScan) in(m *events.Repo) error {
	modulePath, isVersions := strings.CutSuffix(f.path, versionsDir)
	if f.files = isVersions; isVersions {
		_, err := f.shows(m, events.VersionsPrefix(m.ID, modulePath))
		return err
	}
	prefix := events.VersionsPrefix(m.ID, "")
	if f.path != "" {
		shown, err := f.shows(m, events.VersionsPrefix(m.ID, f.path))
		if err != nil {
			return err
		}
		if shown {
			f.there[FolderEntry{strings.TrimPrefix(versionsDir, "/"), true}] = true
		}
		prefix += f.path + "/"
	}
	return f.below(m, prefix)
}

// below finds the folders that module paths make below a prefix of keys. It looks at no
// more of each than it takes to know that something in it is shown.
func (f *folderScan) below(m *events.Repo, prefix string) error {
	for last := ""; len(f.there) <= maxFolder; {
		mv, ok, err := f.next(prefix, last)
		if err != nil || !ok {
			return err
		}
		rest := mv.Path
		if f.path != "" {
			rest = mv.Path[len(f.path)+1:]
		}
		child, _, deeper := strings.Cut(rest, "/")
		if known := f.there[FolderEntry{child, true}]; !known {
			shown, err := f.shows(m, events.VersionsPrefix(m.ID, mv.Path))
			if err != nil {
				return err
			}
			if !shown {
				last = rest + "\x01" // behind the versions of this module, see itemScan.scan
				continue
			}
			f.there[FolderEntry{child, true}] = true
		}
		if last = child + "\x01"; deeper {
			last = child + "0" // sorts behind the slash
		}
	}
	return nil
}

// next returns the version of the first record behind last.
func (f *folderScan) next(prefix, last string) (mv module.Version, ok bool, err error) {
	if err := f.look(); err != nil {
		return mv, false, err
	}
	for rec, err := range f.asked.node.index.Load().Behind(prefix, last) {
		if err != nil {
			return mv, false, err
		}
		_, mv, ok = rec.Key.Version()
		return mv, ok, nil
	}
	return mv, false, nil
}

// shows reports whether something is shown of the module whose records have a prefix.
// Of an @v it finds all.
func (f *folderScan) shows(m *events.Repo, prefix string) (bool, error) {
	f.done = false
	for rec, err := range f.asked.node.index.Load().Prefix(prefix) {
		if err == nil {
			err = f.look()
		}
		if err != nil {
			return false, err
		}
		if more, err := f.record(m, rec); err != nil || !more {
			return f.done, err
		}
	}
	return f.done, nil
}

// record takes the record of a version; more is false if nothing else of the module is
// wanted.
func (f *folderScan) record(m *events.Repo, rec index.Record) (more bool, err error) {
	_, mv, _ := rec.Key.Version()
	if mv.Path != f.itemScan.path {
		f.itemScan.path, f.sources = mv.Path, f.sourcesUpTo(m, mv.Path)
	}
	if len(f.sources) == 0 {
		return false, nil
	}
	err = f.version(mv, rec)
	return !f.done, err
}
