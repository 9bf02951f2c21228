package upstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/node/upstream"
)

const vcsCanary = "canary-6f1c2b"

// private makes the repositories below /git/private ask for credentials.
func private(w *vcsWorld, onGit func(*http.Request)) {
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		if !strings.HasPrefix(hr.URL.Path, "/git/private") {
			return false
		}
		if _, password, _ := hr.BasicAuth(); password == vcsCanary {
			if onGit != nil && isGit(hr) {
				onGit(hr)
			}
			return false
		}
		if !strings.Contains(hr.URL.Path, "/info/refs") && hr.Method == http.MethodGet {
			http.NotFound(rw, hr) // as hosts show what one may not see
			return true
		}
		rw.Header().Set("WWW-Authenticate", `Basic realm="private"`)
		// A host that tells what it was sent.
		http.Error(rw, "no: "+hr.Header.Get("Authorization"), http.StatusUnauthorized)
		return true
	})
}

func secret(password string) func(*upstream.VCSConfig) {
	return func(c *upstream.VCSConfig) {
		c.Credential = func(u *url.URL) (upstream.Credential, error) {
			if u.String() != "https://vcs.test" {
				return upstream.Credential{}, nil
			}
			return upstream.BasicCredential("git", password)
		}
	}
}

func TestVCSCredentials(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("private")
	var shown atomic.Int32 // command lines with the secret
	private(w, func(*http.Request) {
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range lines {
			if line, err := os.ReadFile(file); err == nil && bytes.Contains(line, []byte(vcsCanary)) {
				shown.Add(1)
			}
		}
	})
	var dir string
	v := w.vcs(secret(vcsCanary), func(c *upstream.VCSConfig) { dir = c.Dir })
	if zipH1(t, v, one("vcs.test/private")) == "" {
		t.Error("no zip with the right credentials")
	}
	if shown.Load() > 0 {
		t.Error("the secret is on a command line")
	}
	wantNowhere(t, dir, vcsCanary)

	_, err := w.vcs(secret("wrong-"+vcsCanary)).Info(soon(t), one("vcs.test/private"))
	wantClass(t, "wrong credentials", err, upstream.ErrForbidden, "401", "refused", "vcs.test")
	if strings.Contains(err.Error(), vcsCanary) {
		t.Errorf("the error shows the secret: %v", err)
	}
	_, err = w.vcs(func(c *upstream.VCSConfig) {
		c.Credential = func(*url.URL) (upstream.Credential, error) {
			return upstream.Credential{}, errors.New("this site has no secret of that name")
		}
	}).Info(soon(t), one("vcs.test/private"))
	wantClass(t, "credentials that can't be had", err, upstream.ErrUnavailable, "no secret of that name")
	_, err = w.vcs().Info(soon(t), one("vcs.test/private"))
	wantClass(t, "no credentials", err, upstream.ErrNotFound, "or a private one")
}

// wantNowhere fails the test if a file below dir has text in it.
func wantNowhere(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			t.Errorf("%s has the secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestVCSEchoedSecret: what a host says is shown without the secret, which the
// host knows.
func TestVCSEchoedSecret(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("private")
	var refuse atomic.Bool
	private(w, nil)
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		if !isGit(hr) || !refuse.Load() {
			return false
		}
		user, password, _ := hr.BasicAuth()
		rw.Header().Set("Content-Type", "text/plain")
		rw.WriteHeader(http.StatusForbidden)
		rw.Write([]byte("sent " + user + " " + password + " " + hr.Header.Get("Authorization") + "\n"))
		return true
	})
	refuse.Store(true)
	_, err := w.vcs(secret(vcsCanary)).Info(soon(t), one("vcs.test/private"))
	wantClass(t, "refused to git", err, upstream.ErrForbidden, "sent git [redacted]")
	if strings.Contains(err.Error(), vcsCanary) || strings.Contains(err.Error(), "Z2l0OmNhbmFyeS") {
		t.Errorf("the error shows the secret: %v", err)
	}
}

// TestVCSSecretStaysAtItsHost: a redirect takes no credentials along.
func TestVCSSecretStaysAtItsHost(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	w.page("vcs.test/moved", "vcs.test/moved git https://vcs.test/git/moved")
	var leaked atomic.Bool
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		if hr.Host == "other.test" && hr.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		if rest, ok := strings.CutPrefix(hr.URL.RequestURI(), "/git/moved/"); ok {
			http.Redirect(rw, hr, "https://other.test/git/r/"+rest, http.StatusFound)
			return true
		}
		return false
	})
	if _, err := w.vcs(secret(vcsCanary)).Query(soon(t), "vcs.test/moved", "main"); err != nil {
		t.Error(err)
	}
	if leaked.Load() {
		t.Error("the credentials of vcs.test went to other.test")
	}
}

// TestVCSIgnoresTheUser: nothing of the environment or the configuration of who
// runs the node reaches the commands.
func TestVCSIgnoresTheUser(t *testing.T) {
	w := newVCSWorld(t)
	w.small("r")
	home := t.TempDir()
	touched := filepath.Join(home, "touched")
	hooks := filepath.Join(home, "hooks")
	if err := os.Mkdir(hooks, 0o700); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\ntouch " + touched + "\n"
	for _, name := range []string{"reference-transaction", "post-checkout", "post-merge", "askpass"} {
		if err := os.WriteFile(filepath.Join(hooks, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	config := "[core]\n\thooksPath = " + hooks + "\n[url \"https://evil.test/\"]\n\tinsteadOf = https://vcs.test/\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"HOME": home, "GIT_CONFIG_PARAMETERS": "'core.hooksPath=" + hooks + "'", "GIT_DIR": home, "GIT_TRACE": touched,
		"GIT_ASKPASS": filepath.Join(hooks, "askpass"), "GOFLAGS": "-mod=nonsense", "GOPROXY": "off", "GOVCS": "*:off",
		"GIT_TEMPLATE_DIR": home, "GIT_EXEC_PATH": home, "GOMODCACHE": home,
	} {
		t.Setenv(key, value)
	}
	if zipH1(t, w.vcs(), one("vcs.test/r")) == "" {
		t.Error("no zip")
	}
	if _, err := os.Stat(touched); err == nil {
		t.Error("a hook, a prompt or a trace of the user's ran")
	}
}

// TestVCSSubmodules: what a repository names as submodules is not asked.
func TestVCSSubmodules(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("evil")
	r := w.repo("r")
	r.commit([]string{"go.mod", "module vcs.test/r\n", ".gitmodules", "[submodule \"evil\"]\n\tpath = evil\n\turl = https://vcs.test/git/evil\n"})
	r.run("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",evil")
	r.commit(nil, "v1.0.0")
	if zipH1(t, w.vcs(), one("vcs.test/r")) == "" {
		t.Error("no zip of a repository with a submodule")
	}
	for _, asked := range w.requests() {
		if strings.Contains(asked, "evil") {
			t.Errorf("asked %s", asked)
		}
	}
}

// TestVCSWithoutCommands: a node without go or git says what to install.
func TestVCSWithoutCommands(t *testing.T) {
	w := newVCSWorld(t)
	w.small("r")
	v := w.vcs()
	path := os.Getenv("PATH")
	t.Setenv("PATH", t.TempDir())
	if list, err := v.List(soon(t), "vcs.test/r"); err != nil || len(list) != 1 {
		t.Errorf("list %v, %v, which needs no command", list, err)
	}
	_, err := v.Info(soon(t), one("vcs.test/r"))
	wantClass(t, "no go", err, upstream.ErrUnavailable, "install go 1.25 or newer")

	old := t.TempDir()
	if err := os.WriteFile(filepath.Join(old, "go"), []byte("#!/bin/sh\necho go version go1.19.3 linux/amd64\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", old)
	_, err = v.Info(soon(t), one("vcs.test/r"))
	wantClass(t, "an old go", err, upstream.ErrUnavailable, "1.19.3", "install go 1.25 or newer")
	t.Setenv("PATH", path)
	if _, err := v.Info(soon(t), module.Version{Path: "vcs.test/r", Version: "v1.0.0"}); err != nil {
		t.Error("with the commands back:", err)
	}
}

// TestVCSEchoesBeforeTheClone: neither a redirect, nor a list of refs, nor a page
// shows what the host was sent.
func TestVCSEchoesBeforeTheClone(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.small("r")
	packet := func(line string) string { return fmt.Sprintf("%04x%s", len(line)+4, line) }
	refs := func(rw http.ResponseWriter, line string) {
		rw.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		io.WriteString(rw, packet("# service=git-upload-pack\n")+"0000"+packet(line)+"0000")
	}
	for what, test := range map[string]struct {
		path   string // of the request that is answered so
		answer func(rw http.ResponseWriter, hr *http.Request, password string)
	}{
		"login page": {"/git/r/info/refs", func(rw http.ResponseWriter, hr *http.Request, password string) {
			http.Redirect(rw, hr, "https://vcs.test/login/"+password, http.StatusFound)
		}},
		"repository of that name": {"/git/r/info/refs", func(rw http.ResponseWriter, hr *http.Request, password string) {
			http.Redirect(rw, hr, "https://vcs.test/"+password+hr.URL.RequestURI(), http.StatusFound)
		}},
		"host of that name": {"/git/r/info/refs", func(rw http.ResponseWriter, hr *http.Request, password string) {
			http.Redirect(rw, hr, "http://"+password+".test/", http.StatusFound)
		}},
		"refusal of git's": {"/git/r/info/refs", func(rw http.ResponseWriter, _ *http.Request, password string) {
			refs(rw, "ERR no access for "+password)
		}},
		"refusal that is cut": {"/git/r/info/refs", func(rw http.ResponseWriter, _ *http.Request, password string) {
			refs(rw, "ERR "+strings.Repeat("x", 92)+password)
		}},
		"ref": {"/git/r/info/refs", func(rw http.ResponseWriter, _ *http.Request, password string) {
			refs(rw, strings.Repeat("ab", 20)+" refs/tags/ "+password)
		}},
		"tag": {"/r", func(rw http.ResponseWriter, _ *http.Request, password string) {
			fmt.Fprintf(rw, `<meta name="go-import" content="vcs.test/r git https://vcs.test/%s?x">`, password)
		}},
	} {
		w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
			_, password, _ := hr.BasicAuth()
			if hr.URL.Path == test.path {
				test.answer(rw, hr, password)
			}
			return hr.URL.Path == test.path
		})
		_, err := w.vcs(secret(vcsCanary)).Info(soon(t), one("vcs.test/r"))
		if err == nil || strings.Contains(err.Error(), vcsCanary[:5]) {
			t.Errorf("%s: the error shows the secret: %v", what, err)
		}
	}
}

// TestVCSRefusedPage: the page that is asked whether a repository that refuses is
// there is the repository's own.
func TestVCSRefusedPage(t *testing.T) {
	t.Parallel()
	w := newVCSWorld(t)
	w.page("vcs.test/x", "vcs.test/x git https://vcs.test/git/x")
	w.before(func(rw http.ResponseWriter, hr *http.Request) bool {
		switch {
		case strings.HasSuffix(hr.URL.Path, "/info/refs"):
			rw.WriteHeader(http.StatusUnauthorized)
		case hr.URL.Path == "/git/x":
			http.Redirect(rw, hr, "https://other.test/login", http.StatusFound)
		default:
			return false
		}
		return true
	})
	_, err := w.vcs().List(soon(t), "vcs.test/x")
	wantClass(t, "absent elsewhere", err, upstream.ErrForbidden, "asks for a credential")
	w.requests()
	_, err = w.vcs(allow(t, "vcs.test/**")).List(soon(t), "vcs.test/x")
	wantClass(t, "outside of the allow list", err, upstream.ErrForbidden, "asks for a credential")
	for _, r := range w.requests() {
		if strings.Contains(r, "other.test") {
			t.Errorf("asked %s, which is outside of the allow list", r)
		}
	}
}
