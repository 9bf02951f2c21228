package e2e

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestDownloadAll downloads what this project needs through a node, and then
// once more with the node's upstream gone. The upstream is the one that the go
// command on this machine has.
func TestDownloadAll(t *testing.T) {
	t.Parallel() // the network takes its time
	origin := networkUpstream(t)
	sumdb := "GOSUMDB=" + goEnv(t, "GOSUMDB")
	project := thisProject(t)
	up := newRelay(t, origin)
	node := serve(t, "GOPROXY="+up.URL, sumdb)

	direct := newGoClient(t, project, origin.String(), sumdb)
	cold := newGoClient(t, project, node.URL+"/go/all", sumdb)
	var wg sync.WaitGroup
	wg.Go(direct.downloadAll)
	wg.Go(cold.downloadAll)
	wg.Wait()
	want := downloaded(t, direct)
	sameDownloads(t, "through the node", downloaded(t, cold), want)

	node.stop()
	up.cut.Store(true)
	before := up.requests.Load()
	node.start()
	warm := newGoClient(t, project, node.URL+"/go/all", sumdb)
	// Without a go.sum everything is looked up in the checksum database.
	unsummed := newGoClient(t, project.without("go.sum"), node.URL+"/go/all", sumdb)
	wg.Go(warm.downloadAll)
	wg.Go(unsummed.downloadAll)
	wg.Wait()
	sameDownloads(t, "without the upstream", downloaded(t, warm), want)
	sameDownloads(t, "without the upstream and a go.sum", downloaded(t, unsummed), want)

	if n := up.requests.Load() - before; n != 0 {
		t.Errorf("the upstream that is gone got %d requests", n)
	}
	t.Logf("%d files, %d requests to the upstream", len(want), before)
}

// downloadAll downloads all that the client's module needs.
func (c *goClient) downloadAll() {
	begin := time.Now()
	r := c.run("mod", "download", "all")
	if r.code != 0 {
		c.t.Errorf("go mod download all: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	c.t.Logf("go mod download all: %v", time.Since(begin).Round(time.Millisecond))
}

// thisProject returns the go.mod and go.sum of this module; with -short those of
// one that needs little.
func thisProject(t *testing.T) tree {
	t.Helper()
	p := tree{}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		p[name] = string(text)
	}
	if !testing.Short() {
		return p
	}
	version := regexp.MustCompile(`golang\.org/x/mod (v\S+)`).FindStringSubmatch(p["go.mod"])
	if version == nil {
		t.Fatal("go.mod does not require golang.org/x/mod")
	}
	return p.with("go.mod", "module registry-node\n\ngo 1.26\n\nrequire golang.org/x/mod "+version[1]+"\n")
}

// networkUpstream returns the first GOPROXY that the go command here would ask.
func networkUpstream(t *testing.T) *url.URL {
	t.Helper()
	first, _, _ := strings.Cut(strings.ReplaceAll(goEnv(t, "GOPROXY"), "|", ","), ",")
	u, err := url.Parse(first)
	if err != nil || u.Host == "" {
		unavailable(t, "the go command here has no GOPROXY on the network: go env GOPROXY begins with %q", first)
	}
	client := http.Client{Timeout: 15 * time.Second}
	resp, err := client.Get(u.JoinPath("golang.org/x/mod/@v/list").String())
	if err != nil {
		unavailable(t, "the GOPROXY of the go command here can't be reached: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		unavailable(t, "the GOPROXY of the go command here answers %s", resp.Status)
	}
	return u
}

// relay passes requests on to another server and counts them, until it is cut.
type relay struct {
	*httptest.Server
	requests atomic.Int64
	cut      atomic.Bool // then it breaks each connection off
}

func newRelay(t *testing.T, to *url.URL) *relay {
	r := &relay{}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		if to.User != nil {
			password, _ := to.User.Password()
			p.Out.SetBasicAuth(to.User.Username(), password)
		}
	}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.requests.Add(1)
		if r.cut.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

// downloaded returns the files of modules that a client has, by path.
func downloaded(t *testing.T, c *goClient) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	dir := os.DirFS(c.downloads())
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".info", ".mod", ".zip", ".ziphash"}, filepath.Ext(name)) {
			return err
		}
		files[name], err = fs.ReadFile(dir, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("nothing was downloaded")
	}
	return files
}

func sameDownloads(t *testing.T, what string, got, want map[string][]byte) {
	t.Helper()
	for name, data := range want {
		switch other, ok := got[name]; {
		case !ok:
			t.Errorf("%s: %s is missing", what, name)
		case !bytes.Equal(other, data):
			t.Errorf("%s: %s differs", what, name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is not from the upstream", what, name)
		}
	}
}
