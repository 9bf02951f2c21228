package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// asProgram, in the environment, has the test binary be the program.
const asProgram = "TEST_AS_REGISTRY_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	// Neither this machine's settings nor its network have a say.
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, "GIT_") {
			os.Unsetenv(name)
		}
	}
	for name, value := range map[string]string{
		"GOENV": "off", "GOPROXY": "http://upstream.invalid", "GOSUMDB": "off", "GOPRIVATE": "", "GONOSUMDB": "", "GONOPROXY": "",
		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
		"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@corp.example", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@corp.example",
	} {
		os.Setenv(name, value)
	}
	none, err := os.MkdirTemp("", "config")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_CONFIG_HOME", none) // where the tokens of this machine's user are not
	code := m.Run()
	os.RemoveAll(none)
	os.Exit(code)
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// try runs the program. It ends a serve that should have been refused.
func try(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(""), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// ok runs the program, which has to succeed, and returns what it prints.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	r := try(t, args...)
	if r.code != exitOK {
		t.Fatalf("%q: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// refused runs the program, which has to end with a code and with all of texts
// in what it prints to standard error.
func refused(t *testing.T, code int, args []string, texts ...string) {
	t.Helper()
	r := try(t, args...)
	if r.code != code {
		t.Errorf("%q: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("%q: standard error lacks %q:\n%s", args, text, r.stderr)
		}
	}
}

// watched is a writer in which texts can be waited for.
type watched struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	waits []wait
	seen  <-chan struct{} // closed when the first text has been written
	then  <-chan struct{} // closed when the second has, if there is one
}

type wait struct {
	text string
	seen chan struct{}
}

func watch(texts ...string) *watched {
	w := &watched{}
	for _, text := range texts {
		w.waits = append(w.waits, wait{text, make(chan struct{})})
	}
	w.seen, w.then = w.waits[0].seen, w.waits[len(w.waits)-1].seen
	return w
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(b)
	w.waits = slices.DeleteFunc(w.waits, func(x wait) bool {
		found := strings.Contains(w.buf.String(), x.text)
		if found {
			close(x.seen)
		}
		return found
	})
	return len(b), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// running is a node that serves in this process.
type running struct {
	data, addr, url string
	log             *watched
	cancel          context.CancelFunc
	ended           chan int // the exit code
}

// serving runs serve on data, and returns when it is ready. It ends with the
// test, or with end.
func serving(t *testing.T, data string, args ...string) *running {
	t.Helper()
	return started(t, "serve", data, args...)
}

// started is serving for any command that serves.
func started(t *testing.T, command, data string, args ...string) *running {
	t.Helper()
	_, err := os.Stat(data)
	fresh := errors.Is(err, fs.ErrNotExist) && slices.Contains(args, "--init")
	s := startedClosed(t, command, data, args...)
	if fresh {
		s.open(t)
	}
	return s
}

// open lets whoever asks from this machine do everything.
func (s *running) open(t *testing.T) {
	t.Helper()
	var errs bytes.Buffer
	args := []string{"permission", "set", "tests", "--to", "loopback", "--repos", "*", "--actions", "read,publish,delete,block,manage", "--data", s.data}
	if code := run(t.Context(), args, strings.NewReader(""), io.Discard, &errs); code != exitOK {
		t.Fatalf("permission set: exit code %d\n%s", code, &errs)
	}
}

// startedClosed is started for a registry whose rights stay as they are made.
func startedClosed(t *testing.T, command, data string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &running{data: data, log: watch("msg=ready"), cancel: cancel, ended: make(chan int, 1)}
	args = append([]string{command, "--data", data, "--listen", "127.0.0.1:0"}, args...)
	go func() { s.ended <- run(ctx, args, strings.NewReader(""), io.Discard, s.log) }()
	select {
	case <-s.log.seen:
	case code := <-s.ended:
		cancel()
		t.Fatalf("%s: exit code %d\n%s", command, code, s.log)
	}
	t.Cleanup(func() { s.end(t) })
	addr, err := os.ReadFile(filepath.Join(data, addrFile))
	if err != nil {
		t.Fatal(err)
	}
	s.addr = string(addr)
	s.url = "http://" + s.addr
	return s
}

// end ends the node as an interrupt does. It can be called again.
func (s *running) end(t *testing.T) {
	t.Helper()
	s.cancel()
	code := <-s.ended
	s.ended <- code
	if code != exitOK {
		t.Errorf("serve: exit code %d\n%s", code, s.log)
	}
}

// fresh returns a node on a new registry that commands speak to by default.
func fresh(t *testing.T) *running {
	t.Helper()
	s := serving(t, filepath.Join(t.TempDir(), "data"), "--init")
	t.Setenv(serverEnv, s.url)
	return s
}

// writeTree writes files, named by slash-separated paths, into a directory.
func writeTree(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// command returns a command that runs the program in a process of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}
