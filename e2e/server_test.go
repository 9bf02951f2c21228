package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// readyWithin is how long a node may take from its start until it is ready.
const readyWithin = 30 * time.Second

// server is a data directory and the registry-node process that serves it.
type server struct {
	t   testing.TB
	dir string
	env []string
	// URL is that of the running process; its port changes with each start.
	URL string
	// said is what all processes of this server have written to their log.
	said *output
	// args begin the command line of the next process; none: of a registry of
	// one site, which is made if need be.
	args []string
	// closed leaves the rights of a new registry as they are; else whoever asks it
	// from this machine may do everything.
	closed bool
	// pid is that of the process that was started last.
	pid atomic.Int64

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone; then err is set
	err    error
}

// newServer returns a server on an empty directory, which is not started. The
// settings are of the environment, as GOPROXY for the upstream.
func newServer(t testing.TB, settings ...string) *server {
	t.Helper()
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "data"), env: environment(settings...), said: &output{}}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
		if t.Failed() {
			t.Logf("the node's log:\n%s", s.said.tail(100))
		}
		if strings.Contains(s.said.String(), "DATA RACE") {
			t.Errorf("the node has a data race:\n%s", s.said.tail(200))
		}
	})
	return s
}

// serve starts a new registry and returns when it is ready.
func serve(t testing.TB, settings ...string) *server {
	t.Helper()
	s := newServer(t, settings...)
	s.start()
	return s
}

// start starts the node and returns when it is ready for writes.
func (s *server) start() {
	s.t.Helper()
	if err := s.tryStart(); err != nil {
		s.t.Fatal(err)
	}
}

// tryStart is start for a node that may refuse: then its exit is the error.
func (s *server) tryStart() error {
	s.t.Helper()
	addrFile := filepath.Join(s.dir, "http.addr")
	if err := os.Remove(addrFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // one that a killed process left
	}
	args := s.args
	if len(args) == 0 {
		args = []string{"serve", "--init"}
	}
	_, err := os.Stat(s.dir)
	fresh := errors.Is(err, os.ErrNotExist) && slices.Contains(args, "--init") && !s.closed
	s.cmd = exec.Command(program(s.t), append(slices.Clone(args), "--data", s.dir, "--listen", "127.0.0.1:0")...)
	s.cmd.Env = s.env
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.pid.Store(int64(s.cmd.Process.Pid))
	s.exited = make(chan struct{})
	go func() { // ends with the process, which the cleanup of the test kills
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(5 * time.Millisecond) {
		if addr, err := os.ReadFile(addrFile); err == nil {
			s.URL = "http://" + strings.TrimSpace(string(addr))
			if fresh {
				s.must("permission", "set", "tests", "--to", "loopback", "--repos", "*", "--actions", "read,publish,delete,block,manage", "--data", s.dir)
			}
			return nil
		}
		select {
		case <-s.exited:
			s.cmd = nil
			return fmt.Errorf("%s ended: %w", args[0], s.err)
		default:
		}
		if time.Now().After(deadline) {
			s.kill()
			return fmt.Errorf("%s was not ready within %v", args[0], readyWithin)
		}
	}
}

// stop ends the node as an operator does, and checks that it ends well.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.exited:
	case <-time.After(readyWithin):
		s.kill()
		s.t.Fatalf("serve did not end within %v of SIGTERM", readyWithin)
	}
	s.cmd = nil
	if s.err != nil {
		s.t.Fatalf("serve ended with %v", s.err)
	}
}

// kill ends the node without any notice (kill -9).
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill: %v", err)
	}
	<-s.exited
	s.cmd = nil
}

// result is what a command printed, and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// command runs a command of the program against this server.
func (s *server) command(args ...string) result {
	s.t.Helper()
	return execute(s.t, "", append(s.env[:len(s.env):len(s.env)], "REGISTRY_NODE_SERVER="+s.URL), program(s.t), args...)
}

// must is command for one that must succeed. It returns its standard output.
func (s *server) must(args ...string) string {
	s.t.Helper()
	r := s.command(args...)
	if r.code != 0 {
		s.t.Fatalf("registry-node %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// execute runs a program to its end, or to that of the test.
func execute(t testing.TB, dir string, env []string, name string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%s %s: %v", filepath.Base(name), strings.Join(args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// output keeps what a process writes.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tail returns the last n lines.
func (o *output) tail(n int) string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// answer is what a node answers to a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// requests is what all tests send with: many connections at once, none of them
// longer than a test can wait.
var requests = &http.Client{
	Timeout:   time.Minute,
	Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
}

// send sends a request to a node. An error says that there was no whole answer.
func send(method, url string, body []byte) (answer, error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := requests.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// get reads a path of the node, whatever the status.
func (s *server) get(path string) answer {
	s.t.Helper()
	a, err := send(http.MethodGet, s.URL+path, nil)
	if err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
	return a
}
