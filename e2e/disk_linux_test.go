package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

const (
	insideEnv = "E2E_MOUNT_NAMESPACE"
	// cannotMount is what the test inside says in that case.
	cannotMount = "mounting a file system is not permitted here"
)

// TestFullDisk fills the disk of a node while it is used. It runs itself again
// in a mount namespace of its own, whose file system is gone with the process.
func TestFullDisk(t *testing.T) {
	if os.Getenv(insideEnv) != "" {
		fullDisk(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$", "-test.v", fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), insideEnv+"=1", binaryEnv+"="+program(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, os.ErrPermission), bytes.Contains(out, []byte(cannotMount)):
		unavailable(t, "a full disk can't be tested: %s: %v\n%s", cannotMount, err, out)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// fullDisk is the test itself.
func fullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("%s: %v", cannotMount, err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	up := newUpstream(t)
	up.add("pub.example/m", "v1.0.0", library("pub.example/m", "v1.0.0"))
	s := newServer(t, up.settings()...)
	s.dir = filepath.Join(disk, "data")
	s.start()
	s.owns()
	u := &usage{oracle: newOracle(t), server: s, over: make(chan struct{})}
	u.begin()
	end := sync.OnceFunc(u.end)
	t.Cleanup(end)

	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		u.fillAndFree(filepath.Join(disk, "ballast"))
	}
	end()
	if a := s.get("/readyz"); a.status != http.StatusOK {
		t.Errorf("readyz with space again: %d %q", a.status, a.body)
	}
	if a := s.get("/go/all/pub.example/m/@v/v1.0.0.zip"); a.status != http.StatusOK {
		t.Errorf("a fill with space again: %d %q", a.status, a.body)
	}
	s.stop()
	s.start()
	n := u.check(s, func(module.Version) bool { return true })
	u.checkLists(s)
	if out := s.must("verify"); !strings.Contains(out, "chain intact") {
		t.Errorf("verify: %s", out)
	}
	t.Logf("%d versions checked, %d acknowledged", n, len(u.acked))
}

// fillAndFree fills the disk with a file, looks at the node, and takes it away.
func (u *usage) fillAndFree(ballast string) {
	t, s := u.t, u.server
	u.forget()
	eventually(t, 20*time.Second, "publishers are at work", func() error { return u.atLeast(20, http.StatusCreated) })
	free := fill(t, ballast)
	eventually(t, 20*time.Second, "publishers are refused", func() error { return u.atLeast(20, http.StatusInsufficientStorage) })
	eventually(t, patience, "readyz says why", func() error { // what is known of the disk may be a moment old
		if a := s.get("/readyz"); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "disk") {
			return fmt.Errorf("%d %q", a.status, a.body)
		}
		return nil
	})
	if a := s.get("/livez"); a.status != http.StatusOK {
		t.Errorf("livez on a full disk: %d %q", a.status, a.body)
	}
	if a := s.get("/go/all/pub.example/m/@v/v1.0.0.zip"); a.status != http.StatusInsufficientStorage {
		t.Errorf("a fill on a full disk: %d %q", a.status, a.body)
	}
	if r := s.command("status"); r.code != 1 || !strings.Contains(r.stdout, "disk") {
		t.Errorf("status on a full disk: exit code %d, %s", r.code, r.stdout)
	}

	free()
	freed := time.Now()
	u.forget()
	eventually(t, 20*time.Second, "publishers go on", func() error { return u.atLeast(20, http.StatusCreated) })
	t.Logf("writes go on %v after space was freed", time.Since(freed).Round(time.Millisecond))
}

// patience is what a client must have with a node whose disk is full. A node
// built with the race detector is several times as slow.
var patience = map[bool]time.Duration{false: 2 * time.Second, true: 8 * time.Second}[raceDetector]

// usage is what publishers and readers do to a node whose disk fills up.
type usage struct {
	*oracle
	server *server
	over   chan struct{} // closed by end
	wg     sync.WaitGroup
	// Answers to publishers since forget, by status.
	created, refused atomic.Int64
}

func (u *usage) begin() {
	for i := range 4 {
		u.wg.Go(func() { u.repeat(func(k int) error { return u.publishOne(i, k) }) })
		u.wg.Go(func() { u.repeat(u.readOne) })
	}
}

func (u *usage) end() {
	close(u.over)
	u.wg.Wait()
}

func (u *usage) repeat(do func(k int) error) {
	for k := 0; ; k++ {
		select {
		case <-u.over:
			return
		case <-time.After(2 * time.Millisecond): // there is a test beside this
		}
		begin := time.Now()
		if err := do(k); err != nil {
			u.t.Error(err)
		}
		if took := time.Since(begin); took > patience {
			u.t.Errorf("an answer took %v", took)
		}
	}
}

func (u *usage) publishOne(publisher, k int) error {
	mv := module.Version{Path: fmt.Sprintf("corp.example/p%d", publisher), Version: fmt.Sprintf("v1.0.%d", k)}
	switch status := u.publish(u.server, mv, ""); status {
	case http.StatusCreated:
		u.created.Add(1)
	case http.StatusInsufficientStorage:
		u.refused.Add(1)
	default:
		return fmt.Errorf("publish %v: %d", mv, status)
	}
	return nil
}

func (u *usage) readOne(k int) error {
	u.mu.Lock()
	if len(u.acked) == 0 {
		u.mu.Unlock()
		return nil
	}
	mv := u.acked[k%len(u.acked)]
	u.mu.Unlock()
	return u.read(u.server, mv, "")
}

// atLeast returns nil if publishers got so many answers with a status.
func (u *usage) atLeast(n int64, status int) error {
	got := u.created.Load()
	if status == http.StatusInsufficientStorage {
		got = u.refused.Load()
	}
	if got < n {
		return fmt.Errorf("%d answers of status %d so far, want %d", got, status, n)
	}
	return nil
}

func (u *usage) forget() {
	u.created.Store(0)
	u.refused.Store(0)
}

// fill takes all space of a file system. It returns what gives it back.
func fill(t testing.TB, name string) (free func()) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}
