package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// The kinds of source that import knows.
const (
	fromProject = "project"
	fromCache   = "cache"
	fromAthens  = "athens"
)

// planImport finds what is to be imported from a path, which is of the kind from, or
// of the one that it looks like if that is empty.
func planImport(ctx context.Context, path, from string, sums goSums) (*importPlan, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, usagef("%s is no directory", path)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if from == "" {
		if from, err = kindOfSource(ctx, path); err != nil {
			return nil, err
		}
	}
	switch from {
	case fromProject:
		return planProject(ctx, path, path, os.DirFS(path), sums)
	case fromCache:
		return planCache(ctx, downloadsIn(path), sums)
	case fromAthens:
		return planAthens(ctx, path, sums)
	}
	return nil, usagef("--from is %q, none of %s, %s and %s", from, fromProject, fromCache, fromAthens)
}

// downloadsIn returns the directory with the downloads of a module cache, which may
// be named itself.
func downloadsIn(path string) string {
	inner := filepath.Join(path, "cache", "download")
	if st, err := os.Stat(inner); err == nil && st.IsDir() {
		return inner
	}
	return path
}

// kindOfSource tells the sources apart by what lies there.
func kindOfSource(ctx context.Context, path string) (kind string, err error) {
	switch {
	case downloadsIn(path) != path:
		return fromCache, nil
	case isFile(filepath.Join(path, "go.mod")):
		return fromProject, nil
	}
	err = newPlan("").walk(ctx, path, func(dir string) (bool, error) {
		switch {
		case filepath.Base(dir) == "@v":
			kind = fromCache
		case isAthensVersion(dir):
			kind = fromAthens
		}
		if kind != "" {
			return false, fs.SkipAll
		}
		return true, nil
	})
	if errors.Is(err, fs.SkipAll) {
		return kind, nil
	}
	if err == nil && kind == "" {
		err = usagef("%s holds neither a project with a go.mod, nor a module cache, nor an Athens store; if it is one nonetheless, say which with --from", path)
	}
	return kind, err
}
