package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// emptyModule is one that needs nothing yet.
func emptyModule() tree { return tree{"go.mod": "module app.example/app\n\ngo 1.21\n"} }

// refused downloads a version, which must fail with texts that the user sees.
func (c *goClient) refused(t testing.TB, version string, texts ...string) {
	t.Helper()
	r := c.run("mod", "download", version)
	if r.code == 0 {
		t.Errorf("go mod download %s: it succeeds", version)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("go mod download %s: %q is not in what it says:\n%s", version, text, r.stderr)
		}
	}
}

// download downloads one version, which must succeed.
func (c *goClient) download(version string) (d moduleDownload) {
	c.t.Helper()
	r := c.run("mod", "download", "-json", version)
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil || r.code != 0 {
		c.t.Fatalf("go mod download %s: exit code %d, %v\n%s%s", version, r.code, err, r.stdout, r.stderr)
	}
	return d
}

// moduleInfo is the info of a version from a VCS host.
type moduleInfo struct {
	Version, Time string
	Origin        struct{ VCS, URL, Subdir, Hash, Ref string }
}

// moduleDownload is what "go mod download -json" says of a version.
type moduleDownload struct {
	Version, Sum, GoModSum string
	Info                   string // a file
}

func (d moduleDownload) info(t testing.TB) (i moduleInfo) {
	t.Helper()
	b, err := os.ReadFile(d.Info)
	if err == nil {
		err = json.Unmarshal(b, &i)
	}
	if err != nil {
		t.Error(err)
	}
	return i
}
