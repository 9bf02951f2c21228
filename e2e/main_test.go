// Package e2e holds what is tested of the whole: the built program as real
// clients see it, killed, damaged, without space and without its upstream, and
// the rules about which package may import which.
//
// Rules of these tests:
//   - The program is built once per run, and spoken to over HTTP, by its own
//     commands and by the go command; nothing here imports its packages.
//   - A node says by its http.addr file that it is ready; nothing sleeps where
//     there is something to wait for, and every wait has an end.
//   - Only [TestDownloadAll] uses the network, and finds its upstream as the go
//     command on the machine does. What can't run on a machine is skipped with
//     the reason, and fails where CI=true.
package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// scratch is a directory for what all tests of a run share.
var scratch string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "registry-node-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return m.Run()
}

// binaryEnv names the program to a test that runs itself as another process.
const binaryEnv = "E2E_BINARY"

// build builds the program, with the race detector if the tests run with it.
var build = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv(binaryEnv); binary != "" {
		return binary, nil
	}
	binary := filepath.Join(scratch, "registry-node")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	args := []string{"build", "-o", binary}
	if raceDetector {
		args = append(args, "-race", "-gcflags=golang.org/x/crypto/blowfish=-race=false") // as make race does
	}
	cmd := exec.Command("go", append(args, "./cmd/registry-node")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// program returns the path of the built program.
func program(t testing.TB) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// goEnv returns what "go env" says here.
func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return string(bytes.TrimSpace(out))
}

// environment returns an environment for child processes without any setting of
// the go command or of this program but those given, which may repeat names:
// the last counts.
func environment(settings ...string) []string {
	env := []string{"GOENV=off", "GOTOOLCHAIN=local", "GOWORK=off", "GOTELEMETRY=off"}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "GOCACHE=") || !strings.HasPrefix(v, "GO") && !strings.HasPrefix(v, "REGISTRY_NODE_") {
			env = append(env, v)
		}
	}
	return append(env, settings...)
}

// asSeenByTheGoCommand skips, in the short run with the race detector, a test of what
// the go command makes of a node's answers: one client asks in turn, most of the
// time goes to the go command and its checks, and the run without the detector shows
// the same. Requests at once come from other tests.
func asSeenByTheGoCommand(t testing.TB) {
	t.Helper()
	if raceDetector && testing.Short() {
		t.Skip("the run without the race detector shows it")
	}
}

// unavailable skips a test that can't run on this machine, or fails it in CI.
func unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// eventually polls until check returns nil. It fails the test with check's last
// error if that is not so in time.
func eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
