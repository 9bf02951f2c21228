package upstream_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"registry-node/node/upstream"
)

// A VCS host that keeps failing is left alone for a while, whatever is asked of it,
// and others are not; then one request tries again.
func TestVCSHostLeftAlone(t *testing.T) {
	w := newVCSWorld(t)
	w.repo("a").commit([]string{"go.mod", "module vcs.test/a\n"}, "v1.0.0")
	w.page("other.test/a", "other.test/a git https://vcs.test/git/a")
	w.page("mods.test/a", "mods.test/a mod https://mods.test/proxy")
	for _, c := range []struct {
		what, path, host, fails string
	}{
		{"pages", "vcs.test/a", "vcs.test", "/a"},
		{"refs", "other.test/a", "vcs.test", "/git/a/info/refs"},
		{"a GOPROXY", "mods.test/a", "mods.test", "/proxy/mods.test/a/@v/list"},
	} {
		for _, never := range []bool{false, true} {
			now := time.Unix(1_000_000, 0)
			v := w.vcs(func(c *upstream.VCSConfig) {
				c.OfflineFor = time.Minute
				if never {
					c.OfflineFor = -1
				}
			})
			v.SetClock(func() time.Time { return now })
			list := func() (asked int, err error) {
				w.requests()
				_, err = v.List(soon(t), c.path)
				for _, r := range w.requests() {
					if strings.HasPrefix(r, "GET "+c.host+c.fails) {
						asked++
					}
				}
				return asked, err
			}
			w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
				fails := hr.Host == c.host && hr.URL.Path == c.fails
				if fails {
					http.Error(rw, "down", http.StatusServiceUnavailable)
				}
				return fails
			})
			for range 5 {
				if asked, err := list(); asked != 1 {
					t.Fatalf("%s: %v, asked %d times", c.what, err, asked)
				}
			}
			asked, err := list()
			wantClass(t, c.what, err, upstream.ErrUnavailable)
			if left := asked == 0 && strings.Contains(err.Error(), "assumed offline until"); left == never {
				t.Errorf("%s, never left alone %t: after five failures asked %d times, %v", c.what, never, asked, err)
			}
			w.before(nil)
			if now = now.Add(time.Minute); !never && c.host == "vcs.test" {
				if asked, err := list(); err != nil || asked != 1 {
					t.Errorf("%s: after the time: %v, asked %d times", c.what, err, asked)
				}
			}
		}
	}
}

// Of hosts that are down no more are remembered than a limit, whatever is asked.
func TestVCSHostsAreBounded(t *testing.T) {
	v := newVCSWorld(t).vcs()
	for i := range upstream.MaxHosts + 10 {
		v.HeardOf(fmt.Sprintf("h%d.test", i))
	}
	if got := v.Breakers(); got > upstream.MaxHosts {
		t.Errorf("%d hosts are remembered", got)
	}
}
