//go:build unix

package upstream_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/node/upstream"
)

// TestVCSMemory: a command that needs more memory than it may have is ended.
func TestVCSMemory(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("memory is watched on Linux only")
	}
	w := newVCSWorld(t)
	w.small("r")
	stallClone(w, nil)
	v := w.vcs(func(c *upstream.VCSConfig) { c.MaxMemory = 1 << 20 })
	_, err := v.Info(soon(t), one("vcs.test/r"))
	wantClass(t, "memory", err, upstream.ErrUnavailable, "more memory than it may have, 1 MiB")
}

// TestVCSFullDisk: no command begins or goes on when the node has no room.
func TestVCSFullDisk(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	reserve := errors.New("16 MiB are kept in reserve")
	var full atomic.Bool
	v := w.vcs(func(c *upstream.VCSConfig) {
		c.Full = func() error {
			if full.Load() {
				return reserve
			}
			return nil
		}
	})
	stalled := stallClone(w, nil)
	go func() {
		<-stalled
		full.Store(true)
	}()
	for _, when := range []string{"during a command", "before a command"} {
		_, err := v.Info(soon(t), one("vcs.test/r"))
		wantClass(t, when, err, upstream.ErrUnavailable, "no room", "in reserve")
		if !errors.Is(err, reserve) {
			t.Errorf("%s: the cause is lost", when)
		}
		w.requests()
	}
	for _, asked := range w.requests() {
		if strings.HasSuffix(asked, "/git-upload-pack") {
			t.Error("a clone was begun without room")
		}
	}
}

// TestVCSKilledCommand: what a command has left that somebody else has killed is
// not used.
func TestVCSKilledCommand(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("processes are looked up in /proc")
	}
	w := newVCSWorld(t)
	w.small("r")
	var dir string
	v := w.vcs(func(c *upstream.VCSConfig) { dir = c.Dir })
	stalled := stallClone(w, nil)
	go func() {
		<-stalled
		killGo(dir)
	}()
	_, err := v.Info(soon(t), one("vcs.test/r"))
	wantClass(t, "killed", err, upstream.ErrUnavailable)
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "mod", "cache", "vcs", "*")); len(left) > 0 {
		t.Errorf("the command that was killed has left %q", left)
	}
	w.before(nil)
	if _, err := v.Info(soon(t), one("vcs.test/r")); err != nil {
		t.Error("after the command that was killed:", err)
	}
}

// killGo kills the go commands that have dir in their environment.
func killGo(dir string) {
	envs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, env := range envs {
		of := filepath.Dir(env)
		b, _ := os.ReadFile(env)
		comm, _ := os.ReadFile(filepath.Join(of, "comm"))
		if strings.Contains(string(b), dir) && strings.TrimSpace(string(comm)) == "go" {
			pid, _ := strconv.Atoi(filepath.Base(of))
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// TestVCSDamagedClone: a clone that git can't work with is made anew.
func TestVCSDamagedClone(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(clone string) error{
		"a lock": func(clone string) error {
			return os.WriteFile(filepath.Join(clone, "shallow.lock"), nil, 0o600)
		},
		"the lock of a tag": func(clone string) error {
			return os.WriteFile(filepath.Join(clone, "refs", "tags", "v1.1.0.lock"), nil, 0o600)
		},
		"no configuration": func(clone string) error {
			return os.Truncate(filepath.Join(clone, "config"), 0)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newVCSWorld(t)
			r := w.small("r")
			var dir string
			v := w.vcs(func(c *upstream.VCSConfig) { dir = c.Dir })
			if _, err := v.Info(soon(t), one("vcs.test/r")); err != nil {
				t.Fatal(err)
			}
			heads, _ := filepath.Glob(filepath.Join(dir, "*", "mod", "cache", "vcs", "*", "HEAD"))
			if len(heads) != 1 {
				t.Fatalf("clones %q", heads)
			}
			if err := damage(filepath.Dir(heads[0])); err != nil {
				t.Fatal(err)
			}
			r.commit([]string{"b.go", "package b\n"}, "v1.1.0")
			v.ForgetRefs()
			if _, err := v.Info(soon(t), module.Version{Path: "vcs.test/r", Version: "v1.1.0"}); err != nil {
				t.Error(err)
			}
		})
	}
}
