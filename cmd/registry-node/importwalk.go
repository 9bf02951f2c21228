package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// walk calls visit with a directory and those below it, also those that symbolic
// links lead to, in the order of their names. It goes on below those for which visit
// says so, and ends with its error. Links that lead nowhere are left out; a link to a
// directory that it lies in adds nothing.
func (p *importPlan) walk(ctx context.Context, root string, visit func(dir string) (below bool, err error)) error {
	return p.walkBelow(ctx, root, nil, visit)
}

// walkBelow is walk of a directory in others.
func (p *importPlan) walkBelow(ctx context.Context, dir string, in []fs.FileInfo, visit func(string) (bool, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	here, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(in, func(x fs.FileInfo) bool { return os.SameFile(x, here) }) {
		return nil
	}
	if below, err := visit(dir); err != nil || !below {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	in = append(slices.Clip(in), here)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			st, err := os.Stat(name)
			if err != nil {
				p.leave(fmt.Sprintf("that is a symbolic link which leads nowhere: %s", name))
			}
			isDir = err == nil && st.IsDir()
		}
		if !isDir {
			continue
		}
		if err := p.walkBelow(ctx, name, in, visit); err != nil {
			return err
		}
	}
	return nil
}
