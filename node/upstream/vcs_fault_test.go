package upstream_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/node/upstream"
)

// wantNoneLeft fails the test if processes that have text in their environment do
// not end at once. They were killed, which takes a moment.
func wantNoneLeft(t *testing.T, what, text string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return // processes are looked up in /proc
	}
	var left []string
	for range 500 {
		if left = processesWith(text); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond) // nobody tells when somebody else's child ends
	}
	t.Errorf("%s: processes are left: %q", what, left)
}

// processesWith returns the command lines of processes that have text in their
// environment.
func processesWith(text string) (left []string) {
	envs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, env := range envs {
		if b, err := os.ReadFile(env); err == nil && bytes.Contains(b, []byte(text)) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(env), "cmdline"))
			if len(line) > 0 { // else it has ended, and waits to be waited for
				left = append(left, string(line))
			}
		}
	}
	return left
}

// stallClone makes the host answer a clone with some bytes, and no more until the
// client has gone.
func stallClone(w *vcsWorld, bytes []byte) (stalled chan struct{}) {
	stalled = make(chan struct{})
	var once sync.Once
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		if !strings.HasSuffix(hr.URL.Path, "/git-upload-pack") {
			return false
		}
		if body, _ := io.ReadAll(hr.Body); strings.Contains(string(body), "ls-refs") {
			hr.Body = io.NopCloser(strings.NewReader(string(body)))
			return false
		}
		rw.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		rw.Write(bytes)
		http.NewResponseController(rw).Flush()
		once.Do(func() { close(stalled) })
		<-hr.Context().Done()
		return true
	})
	return stalled
}

// TestVCSStalledClone: a clone that does not move is ended with all its
// processes, and the next call begins anew.
func TestVCSStalledClone(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	var dir string
	config := func(c *upstream.VCSConfig) {
		dir = c.Dir
		c.Timeout = 2 * time.Second
	}
	v := w.vcs(config)
	stallClone(w, nil)
	_, err := v.Info(soon(t), one("vcs.test/r"))
	wantClass(t, "time-out", err, upstream.ErrTimeout, "too long")
	wantNoneLeft(t, "after a time-out", dir)
	v.Close()
	v = w.vcs(func(c *upstream.VCSConfig) { c.Dir = dir }) // with patience
	stalled := stallClone(w, nil)
	ctx, cancel := context.WithCancel(soon(t))
	go func() {
		<-stalled
		cancel()
	}()
	if _, err = v.Info(ctx, one("vcs.test/r")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	wantNoneLeft(t, "after a cancellation", dir)
	w.before(nil)
	if _, err := v.Info(soon(t), one("vcs.test/r")); err != nil {
		t.Error("after a command that was ended:", err)
	}
}

// TestVCSDeafChild: a process that the go command has started and that heeds
// nothing is ended with it.
func TestVCSDeafChild(t *testing.T) {
	w := newVCSWorld(t)
	w.small("r")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	deaf := "#!/bin/sh\n[ \"$1\" = version ] && exec " + w.git + " version\nexec " + sleep + " 60\n"
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(deaf), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	var dir string
	v := w.vcs(func(c *upstream.VCSConfig) {
		dir = c.Dir
		c.Timeout = 2 * time.Second
	})
	_, err = v.Info(soon(t), one("vcs.test/r"))
	wantClass(t, "time-out", err, upstream.ErrTimeout)
	wantNoneLeft(t, "after a time-out", dir)
}

// TestVCSCloseEnds: Close ends what is under way.
func TestVCSCloseEnds(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	var dir string
	v := w.vcs(func(c *upstream.VCSConfig) { dir = c.Dir })
	stalled := stallClone(w, nil)
	done := make(chan error, 1)
	go func() {
		_, err := v.Info(context.Background(), one("vcs.test/r"))
		done <- err
	}()
	<-stalled
	v.Close()
	if err := <-done; err == nil || errors.Is(err, upstream.ErrNotFound) {
		t.Errorf("call under way: %v", err)
	}
	wantNoneLeft(t, "after Close", dir)
	_, err := v.Info(soon(t), one("vcs.test/r"))
	wantClass(t, "after Close", err, upstream.ErrUnavailable)
}

func TestVCSBounds(t *testing.T) {
	t.Parallel()
	t.Run("output", func(t *testing.T) {
		w := newVCSWorld(t)
		w.small("r")
		_, err := w.vcs(func(c *upstream.VCSConfig) { c.MaxOutput = 64 }).Info(soon(t), one("vcs.test/r"))
		wantClass(t, "output", err, upstream.ErrBadAnswer, "wrote more")
	})
	t.Run("disk", func(t *testing.T) {
		w := newVCSWorld(t)
		r := w.small("r")
		noise := make([]byte, 1<<20)
		rand.Read(noise)
		r.commit([]string{"noise", hex.EncodeToString(noise)}, "v1.1.0")
		v := w.vcs(func(c *upstream.VCSConfig) { c.MaxDisk = 300 << 10 })
		_, err := v.Info(soon(t), module.Version{Path: "vcs.test/r", Version: "v1.1.0"})
		wantClass(t, "disk", err, upstream.ErrUnavailable, "more than 307200 bytes")
		w.small("small")
		if _, err := v.Info(soon(t), one("vcs.test/small")); err != nil {
			t.Error("a smaller repository:", err)
		}
	})
}

// TestVCSForgetsTheOldest: the cache stays within its limit.
func TestVCSForgetsTheOldest(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	var dir string
	v := w.vcs(func(c *upstream.VCSConfig) {
		dir = c.Dir
		c.MaxDisk = 400 << 10
	})
	for _, name := range []string{"a", "b", "c", "d"} {
		noise := make([]byte, 100<<10)
		rand.Read(noise)
		w.repo(name).commit([]string{"go.mod", "module vcs.test/" + name + "\n", "noise", string(noise)}, "v1.0.0")
		if _, err := v.Info(soon(t), one("vcs.test/"+name)); err != nil {
			t.Fatal(err)
		}
	}
	var size int64
	filepath.Walk(dir, func(_ string, info os.FileInfo, _ error) error {
		if info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	if size > 400<<10 {
		t.Errorf("%d bytes are kept", size)
	}
	for _, name := range []string{"a", "d"} {
		if zipH1(t, v, one("vcs.test/"+name)) == "" {
			t.Error("no zip of", name)
		}
	}
}

// TestVCSMovedTag: a tag that was moved is answered as it is now, not as the
// cache has it.
func TestVCSMovedTag(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	r := w.small("r")
	v := w.vcs()
	before := zipH1(t, v, one("vcs.test/r"))
	r.run("tag", "-d", "v1.0.0")
	r.commit([]string{"evil.go", "package a\n"}, "v1.0.0")
	v.ForgetRefs()
	after := zipH1(t, v, one("vcs.test/r"))
	want, err := w.direct("mod", "download", "-json", "vcs.test/r@v1.0.0")
	if err != nil || after != want.Sum || after == before {
		t.Errorf("zip %s after %s, %v, want %s", after, before, err, want.Sum)
	}
}

// TestVCSHostFaults: what a host answers instead of refs.
func TestVCSHostFaults(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	object := strings.Repeat("ab", 20)
	for _, test := range []struct {
		what, kind, body string
		status           int
		class            error
	}{
		{"no repository", "", "", 404, upstream.ErrNotFound},
		{"failure", "", "", 500, upstream.ErrUnavailable},
		{"too many requests", "", "", 429, upstream.ErrUnavailable},
		{"a page", "text/html", "<html>sign in</html>", 200, upstream.ErrBadAnswer},
		{"nothing", "text/plain", "", 200, upstream.ErrBadAnswer},
		{"no object", "text/plain", "abc\trefs/tags/v1.0.0\n", 200, upstream.ErrBadAnswer},
		{"cut", "text/plain", object + "\trefs/tags/v1.0", 200, upstream.ErrBadAnswer},
		{"a name with control characters", "text/plain", object + "\trefs/tags/v1\x1b[2J\n", 200, upstream.ErrBadAnswer},
		{"cut packets", "application/x-git-upload-pack-advertisement", "001e# service=git-upload-pack\n0000004a" + object, 200, upstream.ErrBadAnswer},
		{"no flush", "application/x-git-upload-pack-advertisement", "001e# service=git-upload-pack\n0000", 200, upstream.ErrBadAnswer},
		{"another service", "application/x-git-upload-pack-advertisement", "001f# service=git-receive-pack\n0000", 200, upstream.ErrBadAnswer},
	} {
		w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
			if !strings.HasSuffix(hr.URL.Path, "/info/refs") {
				return false
			}
			rw.Header().Set("Content-Type", test.kind)
			rw.WriteHeader(test.status)
			io.WriteString(rw, test.body)
			return true
		})
		v := w.vcs()
		_, err := v.List(soon(t), "vcs.test/r")
		wantClass(t, test.what, err, test.class)
	}
	dead := httptest.NewServer(nil)
	dead.Close()
	v := w.vcs(func(c *upstream.VCSConfig) {
		c.Reroute(func(string) string { return dead.Listener.Addr().String() })
	})
	_, err := v.List(soon(t), "vcs.test/r")
	wantClass(t, "nobody there", err, upstream.ErrUnavailable, "refused")
	if strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("the error tells to what a name resolves: %v", err)
	}
}

// TestVCSCloneFails: a fault of a clone is no absence, even where the go command
// says so.
func TestVCSCloneFails(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	hash := w.small("r").commit([]string{"b.go", "package a\n"})
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		if strings.HasSuffix(hr.URL.Path, "/git-upload-pack") {
			http.Error(rw, "busy", http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	v := w.vcs()
	for _, query := range []string{"v1.0.0", "main", hash[:12]} {
		_, err := v.Query(soon(t), "vcs.test/r", query)
		wantClass(t, query, err, upstream.ErrUnavailable)
		if err != nil && strings.ContainsAny(err.Error(), "\n\t\x1b") {
			t.Errorf("%s: the text is not one line: %q", query, err)
		}
	}
}
