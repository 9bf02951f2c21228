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

// judge runs a mutant's test without and with its patch. The first is quick
// after the first time, as the go command remembers that a test has passed.
func (c checkout) judge(ctx context.Context, m mutant) (v verdict, err error) {
	v.mutant = m
	begin := time.Now()
	defer func() { v.took = time.Since(begin) }()
	var passed bool
	if passed, v.output, err = c.test(ctx, m); err != nil || !passed || strings.Contains(v.output, "no tests to run") {
		v.why = "the test fails without it, or there is none"
		return v, err
	}
	if v.output, err = c.apply(ctx, m); err != nil {
		v.why = "it does not apply"
		return v, ctx.Err()
	}
	passed, v.output, err = c.test(ctx, m)
	v.killed = !passed
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
	args := append([]string{"test", "-vet=off", "-timeout=" + testTimeout}, m.test...)
	out, err = output(ctx, c.dir, "go", args...)
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
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
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
