package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// goClient is a module in a directory of its own and the go command in it, with
// caches that are empty at first.
type goClient struct {
	t   testing.TB
	dir string
	env []string
}

// newGoClient returns a client that gets modules from goproxy alone. Further
// settings may follow, as GOSUMDB.
func newGoClient(t testing.TB, files tree, goproxy string, settings ...string) *goClient {
	t.Helper()
	cache := t.TempDir()
	c := &goClient{t: t, dir: files.write(t)}
	c.env = environment(append([]string{
		"GOPATH=" + filepath.Join(cache, "gopath"), "GOMODCACHE=" + filepath.Join(cache, "mod"),
		"GOFLAGS=-mod=mod -modcacherw", "GOPROXY=" + goproxy,
	}, settings...)...)
	return c
}

func (c *goClient) run(args ...string) result {
	c.t.Helper()
	return execute(c.t, c.dir, c.env, "go", args...)
}

// downloads is where the client keeps what it downloaded.
func (c *goClient) downloads() string {
	for _, v := range c.env {
		if cache, ok := strings.CutPrefix(v, "GOMODCACHE="); ok {
			return filepath.Join(cache, "cache", "download")
		}
	}
	panic("no GOMODCACHE")
}
