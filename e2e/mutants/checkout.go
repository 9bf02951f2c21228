package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// checkout is a copy of the tree that a worker breaks and mends again.
type checkout struct{ dir string }

// fill copies what git tracks, or would if it were added, as it is in the work
// tree.
func (c checkout) fill(ctx context.Context, top string) error {
	list, err := output(ctx, top, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(top, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted in the work tree
		}
		file := filepath.Join(c.dir, name)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o700)); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// testTimeout bounds a test; one that hangs on a mutant has noticed it, too.
const testTimeout = "90s"

// judge runs a mutant's test without and with its patch.
func (c checkout) judge(ctx context.Context, m mutant, u *unbroken) (v verdict, err error) {
	v.mutant = m
	begin := time.Now()
	defer func() { v.took = time.Since(begin) }()
	if t := u.test(m); t.err != nil || t.why != "" {
		v.output, v.why = t.out, t.why
		return v, t.err
	}
	if v.output, err = c.apply(ctx, m); err != nil {
		v.why = "it does not apply"
		return v, ctx.Err()
	}
	passed := false
	passed, v.output, err = c.test(ctx, m)
	v.killed = err == nil && !passed
	if strings.Contains(v.output, "[build failed]") {
		v.killed, v.why = false, "it does not compile"
	}
	_, back := c.apply(ctx, m, "--reverse")
	return v, errors.Join(err, back)
}

func (c checkout) apply(ctx context.Context, m mutant, args ...string) (string, error) {
	return output(ctx, c.dir, "git", append(append([]string{"apply"}, args...), m.file)...)
}

// test runs the test of a mutant.
func (c checkout) test(ctx context.Context, m mutant) (passed bool, out string, err error) {
	out, err = output(ctx, c.dir, "go", "test", "-vet=off", "-timeout="+testTimeout, m.pkg, "-run", m.run)
	if errors.As(err, new(*exec.ExitError)) {
		return false, out, ctx.Err()
	}
	return err == nil, out, err
}

// output runs a command and returns what it prints, on both of its outputs if
// it fails.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_CEILING_DIRECTORIES="+filepath.Dir(dir),
		"GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -ldflags=-w"), // nobody debugs them, and links take most of the time
	)
	var stdout, both strings.Builder
	cmd.Stdout = &stdout
	cmd.Stderr = &both
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(both.String()))
		return stdout.String() + both.String(), err
	}
	return stdout.String(), nil
}
