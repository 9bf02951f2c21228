package e2e

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// reader does what README says, in a directory, with other ports.
type reader struct {
	t     testing.TB
	dir   string
	env   []string
	ports map[string]string // those of README → free ones
	token string            // that the last invitation printed
}

// TestReadmeSecondSite runs what README's "Add a second site" tells people to
// run, in its order, and then builds at each site what was published at another.
func TestReadmeSecondSite(t *testing.T) {
	r := newReader(t)
	mymodule := module.Version{Path: "corp.example/mymodule", Version: "v1.0.0"}
	r.files("mymodule", library(mymodule.Path, mymodule.Version))
	app := tree{
		"go.mod":  "module app.example/app\n\ngo 1.21\n",
		"main.go": "package main\n\nimport \"corp.example/mymodule\"\n\nfunc main() { print(mymodule.What) }\n",
	}
	r.files("app", app)

	blocks := codeBlocks(t, "## Add a second site")
	for _, block := range blocks {
		begin := time.Now()
		r.run(block)
		t.Logf("%v for\n%s", time.Since(begin).Round(time.Millisecond), block)
	}
	if len(r.ports) != 5 {
		t.Errorf("README speaks of ports %v; this test knows what five of them are", r.ports)
	}

	for site, version := range map[string]string{"8080": "v1.1.0", "8081": "v1.1.0", "8082": "v1.0.0"} { // each by another site's publisher
		c := newGoClient(t, app, "http://127.0.0.1:"+r.port(site)+"/go/all", "GONOSUMDB=corp.example")
		if res := c.run("get", mymodule.Path+"@"+version); res.code != 0 {
			t.Errorf("site at %s: go get: %s", site, res.stderr)
		} else if res := c.run("build", "-o", os.DevNull, "."); res.code != 0 {
			t.Errorf("site at %s: go build: %s", site, res.stderr)
		}
	}
}

// newReader returns one in an empty directory with the program. Settings may
// follow.
func newReader(t testing.TB, settings ...string) *reader {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		unavailable(t, "README's commands are for a shell: %v", err)
	}
	r := &reader{t: t, dir: t.TempDir(), ports: map[string]string{}}
	if err := os.MkdirAll(filepath.Join(r.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program(t), filepath.Join(r.dir, "bin", "registry-node")); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	r.env = environment(append([]string{"GOPROXY=off", "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOPATH=" + filepath.Join(cache, "gopath"), "GOMODCACHE=" + filepath.Join(cache, "mod"),
		"REGISTRY_NODE_SERVER=http://127.0.0.1:" + r.port("8080"), "REGISTRY_NODE_LISTEN=127.0.0.1:" + r.port("8080")}, settings...)...) // its defaults
	return r
}

// codeBlocks returns the code blocks of a section of README.
func codeBlocks(t testing.TB, section string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+section+"\n")
	if !ok {
		t.Fatalf("README has no section %q", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for i, part := range strings.Split(rest, "```\n") {
		if i%2 == 1 {
			blocks = append(blocks, part)
		}
	}
	if len(blocks) < 2 {
		t.Fatalf("section %q has %d code blocks", section, len(blocks))
	}
	return blocks
}

var (
	readmePort  = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)
	readmeToken = regexp.MustCompile(`\bTOKEN\b`)
	readmeServe = regexp.MustCompile(`^bin/registry-node (serve|join) .*--data (\S+)`)
)

// port returns the port that stands for one of README's.
func (r *reader) port(of string) string {
	r.t.Helper()
	if r.ports[of] == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			r.t.Fatal(err)
		}
		defer l.Close()
		_, r.ports[of], _ = net.SplitHostPort(l.Addr().String())
	}
	return r.ports[of]
}

func (r *reader) files(name string, files tree) {
	r.t.Helper()
	if err := os.Rename(files.write(r.t), filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// run runs a code block, and returns what it prints. One that serves goes on until
// the test ends.
func (r *reader) run(block string) string {
	r.t.Helper()
	script := readmePort.ReplaceAllStringFunc(block, func(addr string) string {
		return "127.0.0.1:" + r.port(readmePort.FindStringSubmatch(addr)[1])
	})
	script = readmeToken.ReplaceAllString(script, r.token)
	if m := readmeServe.FindStringSubmatch(script); m != nil {
		r.serve(script, m[2])
		return ""
	}
	res := execute(r.t, r.dir, r.env, "sh", "-ec", script)
	if res.code != 0 {
		r.t.Fatalf("%s\nexit code %d\n%s%s", script, res.code, res.stdout, res.stderr)
	}
	if strings.Contains(script, " invite ") {
		r.token = strings.TrimSuffix(res.stdout, "\n")
		if r.token == "" || strings.ContainsAny(r.token, " \n") {
			r.t.Fatalf("invite prints %q, want the token alone", res.stdout)
		}
	}
	return res.stdout
}

// serve runs a node until end is called, which interrupts it, or the test ends, and
// returns when it takes writes.
func (r *reader) serve(script, data string) (end func()) {
	r.t.Helper()
	said := &output{}
	cmd := exec.Command("sh", "-c", "exec "+script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.dir, r.env, said, said
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }() // ends with the process, which the cleanup kills
	end = sync.OnceFunc(func() {
		cmd.Process.Signal(os.Interrupt)
		defer time.AfterFunc(readyWithin, func() { cmd.Process.Kill() }).Stop()
		<-exited
	})
	r.t.Cleanup(func() {
		cmd.Process.Kill()
		end()
		if r.t.Failed() {
			r.t.Logf("%s\n%s", script, said.tail(40))
		}
	})
	eventually(r.t, readyWithin, script+" is ready", func() error {
		select {
		case err := <-exited:
			exited <- err
			r.t.Fatalf("%s ended: %v\n%s", script, err, said)
		default:
		}
		addr, err := os.ReadFile(filepath.Join(r.dir, data, "http.addr"))
		if err != nil || strings.Contains(script, "--tls-") { // who speaks to it knows what to trust
			return err
		}
		a, err := send(http.MethodGet, "http://"+string(addr)+"/readyz", nil)
		if err == nil && a.status != http.StatusOK {
			err = errors.New(string(a.body))
		}
		return err
	})
	return end
}
