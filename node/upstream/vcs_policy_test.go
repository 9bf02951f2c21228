package upstream_test

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/upstream"
)

// small makes a repository with one version, v1.0.0.
func (w *vcsWorld) small(name string) *gitTree {
	w.t.Helper()
	r := w.repo(name)
	r.commit([]string{"go.mod", "module vcs.test/" + name + "\n", "a.go", "package a\n"}, "v1.0.0")
	return r
}

func one(path string) module.Version { return module.Version{Path: path, Version: "v1.0.0"} }

func allow(t *testing.T, patterns ...string) func(*upstream.VCSConfig) {
	return func(c *upstream.VCSConfig) {
		for _, p := range patterns {
			g, err := events.ParseGlob(p)
			if err != nil {
				t.Fatal(err)
			}
			c.Allow = append(c.Allow, g)
		}
	}
}

// isGit tells git's own requests from those of this node.
func isGit(hr *http.Request) bool {
	agent := hr.Header.Get("User-Agent")
	return strings.HasPrefix(agent, "git/") && !strings.Contains(agent, "registry-node")
}

func TestVCSAllowList(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("in")
	w.small("out")
	v := w.vcs(allow(t, "https://vcs.test/git/in", "vcs.test/corp/**"))
	if _, err := v.Info(soon(t), one("vcs.test/in")); err != nil {
		t.Error(err)
	}
	w.requests()
	_, err := v.Info(soon(t), one("vcs.test/out"))
	wantClass(t, "outside of the list", err, upstream.ErrForbidden,
		`go-import of vcs.test/out leads to "https://vcs.test/git/out"`, "the allow list of this repository (https://vcs.test/git/in, vcs.test/corp/**) does not have")
	for _, r := range w.requests() {
		if !strings.Contains(r, "go-get=1") {
			t.Errorf("asked %s of a repository outside of the allow list", r)
		}
	}
	_, err = v.Info(soon(t), one("github.com/corp/mod"))
	wantClass(t, "known host", err, upstream.ErrForbidden, "https://github.com/corp/mod")
}

// TestVCSTargets: what a go-import tag may not lead to.
func TestVCSTargets(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	v := w.vcs()
	for _, tag := range []string{
		"git ext::sh -c touch",
		"git ext::sh",
		"git ssh://git@vcs.test/r",
		"git git@vcs.test:r",
		"git git://vcs.test/r",
		"git file:///etc",
		"git /etc",
		"git http://vcs.test/git/r",
		"git https://user:password@vcs.test/git/r",
		"git https://vcs.test/git/../r",
		"git https://vcs.test/git/r?x=y",
		"git https://vcs.test/git/%2e%2e/r",
		"git https://-oProxyCommand=x/r;y",
		"git https://169.254.169.254/latest",
		"git https://10.0.0.1/r",
		"git https://[::1]/r",
		"git https://127.1/r",
		"git https://0X7f000001/r",
		"git https://2130706433/r",
		"git https://[::ffff:10.0.0.1]/r",
		"hg https://vcs.test/hg/r",
		"svn https://vcs.test/svn/r",
		"mod http://vcs.test/proxy",
		"mod https://192.168.0.1/proxy",
		"mod file:///etc",
	} {
		w.page("vcs.test/r", "vcs.test/r "+tag)
		_, err := v.Info(soon(t), one("vcs.test/r"))
		if len(strings.Fields(tag)) > 3 {
			wantClass(t, tag, err, upstream.ErrNotFound) // no go-import tag at all
		} else {
			wantClass(t, tag, err, upstream.ErrForbidden, "not allowed")
		}
		if strings.Contains(err.Error(), "password") {
			t.Errorf("%s: the error shows what is in the URL: %v", tag, err)
		}
		v.ForgetPages()
	}
}

// TestVCSAddresses: no name leads inside unless the repository allows it.
func TestVCSAddresses(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	for _, test := range []struct {
		what   string
		inside string
		route  string // of other.test; "" for the world
	}{
		{"page at loopback", "10.0.0.0/8", ""},
		{"clone at metadata", "127.0.0.0/8", "169.254.169.254:443"},
		{"clone at private", "127.0.0.0/8", "10.11.12.13:443"},
		{"clone at unspecified", "127.0.0.0/8", "0.0.0.0:443"},
	} {
		w.page("vcs.test/r", "vcs.test/r git https://other.test/git/r")
		v := w.vcs(func(c *upstream.VCSConfig) {
			c.Inside = upstream.Inside{netip.MustParsePrefix(test.inside)}
			c.Reroute(func(addr string) string {
				if test.route != "" && strings.HasPrefix(addr, "other.test:") {
					return test.route
				}
				return w.route(addr)
			})
		})
		_, err := v.Info(soon(t), one("vcs.test/r"))
		wantClass(t, test.what, err, upstream.ErrForbidden, "address")
		if host, _, _ := strings.Cut(cmp.Or(test.route, w.route("vcs.test:443")), ":"); strings.Contains(err.Error(), host) {
			t.Errorf("%s: the error tells to what a name resolves: %v", test.what, err)
		}
	}
	v := w.vcs()
	for _, path := range []string{"127.0.0.1/r", "10.0.0.1/r.git", "169.254.169.254/r", "x.localhost/r", "127.1/r", "0177.0.0.1/r", "0x7f.0x1/r"} {
		_, err := w.vcs(func(c *upstream.VCSConfig) { c.Inside = nil }).Info(soon(t), one(path))
		wantClass(t, path, err, upstream.ErrForbidden)
	}
	_, err := v.Info(soon(t), one("127.0.0.1/r"))
	wantClass(t, "loopback by number", err, upstream.ErrForbidden, "give the host a name")
}

// TestVCSChangesBetween: a name that changes its address, and a page that
// changes its tag, between the check and the clone.
func TestVCSChangesBetween(t *testing.T) {
	t.Parallel()
	t.Run("address", func(t *testing.T) {
		w := newVCSWorld(t)
		w.small("r")
		var dials atomic.Int32
		v := w.vcs(func(c *upstream.VCSConfig) {
			c.Reroute(func(addr string) string {
				if dials.Add(1) > 1 { // the first is for page and refs
					return "169.254.169.254:443"
				}
				return w.route(addr)
			})
		})
		_, err := v.Info(soon(t), one("vcs.test/r"))
		wantClass(t, "rebound name", err, upstream.ErrForbidden, "vcs.test:443 leads to an address")
	})
	t.Run("tag", func(t *testing.T) {
		w := newVCSWorld(t)
		w.small("r")
		w.small("evil")
		v := w.vcs()
		w.before(func(_ http.ResponseWriter, hr *http.Request) bool {
			if strings.HasSuffix(hr.URL.Path, "/info/refs") {
				w.page("vcs.test/r", "vcs.test/r git https://vcs.test/git/evil")
			}
			return false
		})
		info, err := v.Info(soon(t), one("vcs.test/r"))
		if err != nil || !strings.Contains(string(info.Raw), "/git/r\"") {
			t.Errorf("info %s, %v", info.Raw, err)
		}
		for _, r := range w.requests() {
			if strings.Contains(r, "/git/evil") {
				t.Errorf("asked %s", r)
			}
		}
	})
	t.Run("redirect", func(t *testing.T) {
		w := newVCSWorld(t)
		w.small("r")
		w.small("evil")
		v := w.vcs()
		w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
			if !isGit(hr) || !strings.Contains(hr.URL.Path, "/git/r/") {
				return false
			}
			http.Redirect(rw, hr, strings.Replace(hr.URL.String(), "/git/r/", "/git/evil/", 1), http.StatusFound)
			return true
		})
		_, err := v.Info(soon(t), one("vcs.test/r"))
		wantClass(t, "redirect that only git sees", err, upstream.ErrUnavailable)
		for _, r := range w.requests() {
			if strings.Contains(r, "/git/evil") {
				t.Errorf("asked %s", r)
			}
		}
	})
}

func TestVCSRedirects(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	w.page("vcs.test/moved", "vcs.test/moved git https://vcs.test/git/moved")
	w.page("vcs.test/loop", "vcs.test/loop git https://vcs.test/git/loop")
	w.page("vcs.test/down", "vcs.test/down git https://vcs.test/git/down")
	w.page("vcs.test/in", "vcs.test/in git https://vcs.test/git/in")
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		for from, to := range map[string]string{
			"/git/moved/": "https://other.test/git/r/",
			"/git/loop/":  "https://vcs.test/git/loop/",
			"/git/down/":  "http://vcs.test/git/r/",
			"/git/in/":    "https://10.0.0.1/git/r/",
		} {
			if rest, ok := strings.CutPrefix(hr.URL.RequestURI(), from); ok {
				http.Redirect(rw, hr, to+rest, http.StatusMovedPermanently)
				return true
			}
		}
		return false
	})
	v := w.vcs()
	info, err := v.Query(soon(t), "vcs.test/moved", "main")
	if err != nil || !strings.Contains(string(info.Raw), `"https://vcs.test/git/moved"`) {
		t.Errorf("moved repository: %s, %v", info.Raw, err)
	}
	_, err = v.Info(soon(t), one("vcs.test/loop"))
	wantClass(t, "loop", err, upstream.ErrBadAnswer, "redirect")
	_, err = v.Info(soon(t), one("vcs.test/down"))
	wantClass(t, "to http", err, upstream.ErrBadAnswer, "https to http")
	_, err = v.Info(soon(t), one("vcs.test/in"))
	wantClass(t, "to an address inside", err, upstream.ErrForbidden, "10.0.0.1")
	_, err = w.vcs(allow(t, "vcs.test/**")).Info(soon(t), one("vcs.test/moved"))
	wantClass(t, "out of the allow list", err, upstream.ErrForbidden, "the clone leads to https://other.test/git/r", "vcs.test/**")
}

func TestVCSPlainHTTP(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	w.page("vcs.test/r", "vcs.test/r git http://vcs.test/git/r")
	v := w.vcs(func(c *upstream.VCSConfig) { c.InsecureHosts = []string{"vcs.test"} })
	if h1 := zipH1(t, v, one("vcs.test/r")); h1 == "" {
		t.Error("no zip over plain http")
	}
	_, err := w.vcs().Info(soon(t), one("vcs.test/r"))
	wantClass(t, "plain http", err, upstream.ErrForbidden, "neither https nor plain http")
}

// TestVCSMod: a go-import tag that leads to a GOPROXY.
func TestVCSMod(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.page("vcs.test/m", "vcs.test/m git https://vcs.test/git/m\nvcs.test/m mod https://mods.test/proxy")
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		switch hr.URL.Path {
		case "/proxy/vcs.test/m/@v/list":
			io.WriteString(rw, "v1.0.0\nv1.1.0\n")
		case "/proxy/vcs.test/m/@v/v1.0.0.info":
			json.NewEncoder(rw).Encode(map[string]string{"Version": "v1.0.0", "Time": "2020-01-01T00:00:00Z"})
		case "/proxy/vcs.test/m/@v/v1.1.0.info", "/proxy/vcs.test/m/@v/v1.info":
			json.NewEncoder(rw).Encode(map[string]string{"Version": "v1.9.9"})
		case "/proxy/vcs.test/m/@v/v1.0.0.mod":
			http.Redirect(rw, hr, "https://other.test/files/m", http.StatusFound)
		case "/files/m":
			io.WriteString(rw, "module vcs.test/m\n")
		default:
			return false
		}
		return true
	})
	v := w.vcs()
	if list, err := v.List(soon(t), "vcs.test/m"); err != nil || !slices.Equal(list, []string{"v1.0.0", "v1.1.0"}) {
		t.Errorf("list %v, %v", list, err)
	}
	if info, err := v.Info(soon(t), one("vcs.test/m")); err != nil || info.Version != "v1.0.0" {
		t.Errorf("info %v, %v", info, err)
	}
	if mod, err := v.Mod(soon(t), one("vcs.test/m")); err != nil || string(mod) != "module vcs.test/m\n" {
		t.Errorf("mod %s, %v", mod, err)
	}
	if info, err := v.Query(soon(t), "vcs.test/m", "v1"); err != nil || info.Version != "v1.9.9" {
		t.Errorf("query %v, %v", info, err)
	}
	_, err := v.Info(soon(t), module.Version{Path: "vcs.test/m", Version: "v1.1.0"})
	wantClass(t, "info of another version", err, upstream.ErrBadAnswer, "instead of v1.1.0")
	_, err = w.vcs(allow(t, "mods.test/**")).Mod(soon(t), one("vcs.test/m"))
	wantClass(t, "redirect out of the allow list", err, upstream.ErrForbidden, "allow list", "other.test")
	_, err = w.vcs(allow(t, "vcs.test/**")).Mod(soon(t), one("vcs.test/m"))
	wantClass(t, "mod target out of the allow list", err, upstream.ErrForbidden, "allow list", "mods.test")
}

// TestVCSPages: rules of go-import pages.
func TestVCSPages(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	w.small("other")
	w.page("vcs.test/r/sub", "vcs.test/r git https://vcs.test/git/other")
	v := w.vcs()
	_, err := v.Info(soon(t), one("vcs.test/r/sub"))
	wantClass(t, "a page that speaks for its parent", err, upstream.ErrNotFound, "disagree")

	w.page("vcs.test/two", "vcs.test/two git https://vcs.test/git/r\nvcs.test git https://vcs.test/git/other")
	_, err = v.Info(soon(t), one("vcs.test/two"))
	wantClass(t, "two tags", err, upstream.ErrNotFound, "more than one")

	for status, class := range map[int]error{404: upstream.ErrNotFound, 410: upstream.ErrNotFound, 403: upstream.ErrForbidden, 500: upstream.ErrUnavailable, 200: upstream.ErrNotFound} {
		w.before(func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.WriteHeader(status)
			io.WriteString(rw, "<html><body>hello</body></html>")
			return true
		})
		_, err := v.Info(soon(t), one("vcs.test/status"))
		wantClass(t, http.StatusText(status), err, class)
	}
	for what, answer := range map[string]string{
		"a cut page":  "HTTP/1.0 200 OK\r\n\r\n<!DOCTYPE html><html><head><title>cut he",
		"a cut tag":   "HTTP/1.0 200 OK\r\n\r\n<!DOCTYPE html><html><head><meta na",
		"a long page": "HTTP/1.0 200 OK\r\n\r\n<html><head><style>" + strings.Repeat("x", 1<<20) + "</style></head>",
	} {
		w.before(func(rw http.ResponseWriter, _ *http.Request) bool {
			conn, _, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			defer conn.Close()
			io.WriteString(conn, answer)
			return true
		})
		_, err := v.Info(soon(t), one("vcs.test/cut"))
		wantClass(t, what, err, upstream.ErrBadAnswer)
	}
	w.before(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(http.StatusNotFound)
		return false
	})
	w.page("vcs.test/late", "vcs.test/late hg https://vcs.test/hg")
	_, err = v.Info(soon(t), one("vcs.test/late"))
	wantClass(t, "a tag on a 404 page", err, upstream.ErrForbidden, `"hg"`)
}
