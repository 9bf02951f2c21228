package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// served is a running registry-node.
type served struct {
	cmd  *exec.Cmd
	addr string // http://HOST:PORT
	data string
}

// serve starts a node on a data directory, which it makes, and waits until it is
// ready.
func (b *bench) serve(ctx context.Context, data string, env ...string) (*served, error) {
	return b.start(ctx, data, env, "serve", "--init")
}

// start runs a command that serves a data directory, and waits until it is ready.
func (b *bench) start(ctx context.Context, data string, env []string, args ...string) (*served, error) {
	addrFile := filepath.Join(data, "http.addr")
	os.Remove(addrFile)
	cmd := exec.CommandContext(ctx, b.bin, append(args, "--data", data, "--listen", "127.0.0.1:0")...)
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for {
		addr, err := os.ReadFile(addrFile)
		if err == nil {
			s := &served{cmd, "http://" + strings.TrimSpace(string(addr)), data}
			if !slices.Contains(args, "--init") {
				return s, nil
			}
			return s, s.open(ctx, b.bin)
		}
		select {
		case err := <-exited:
			return nil, fmt.Errorf("%s ended: %w\n%s", args[0], err, &said)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// open lets whoever asks from this machine do everything, so that what is measured
// needs no credentials.
func (s *served) open(ctx context.Context, bin string) error {
	out, err := exec.CommandContext(ctx, bin, "permission", "set", "bench", "--to", "loopback", "--repos", "*", "--actions", "read,publish,delete,block,manage", "--data", s.data).CombinedOutput()
	if err != nil {
		return fmt.Errorf("permission set: %w\n%s", err, out)
	}
	return nil
}

// stop ends the node and waits until its process is gone.
func (s *served) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	for range 1000 {
		if s.cmd.Process.Signal(syscall.Signal(0)) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.cmd.Process.Kill()
}

// rss returns the resident memory of the node in MiB.
func (s *served) rss() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("resident memory is read from /proc: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return float64(kb) / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc")
}

// command runs a subcommand of registry-node on the node's machine.
func (b *bench) command(ctx context.Context, data string, args ...string) error {
	out, err := exec.CommandContext(ctx, b.bin, append(args, "--data", data)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("registry-node %s: %w: %s", args[0], err, out)
	}
	return nil
}

// put publishes a zip and returns how long that took.
func put(ctx context.Context, c *http.Client, base, path, version string, zip []byte) (time.Duration, error) {
	url := base + "/api/v1/repos/local/modules/" + path + "/@v/" + version
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(zip))
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("PUT %s: %s: %s", url, resp.Status, body)
	}
	return time.Since(begin), nil
}

// get returns the body of a URL.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return body, err
}
