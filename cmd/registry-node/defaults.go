package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/upstream"
)

// goEnv is how the go command on this machine finds modules.
type goEnv struct {
	GOPROXY   string
	GOSUMDB   string
	GONOSUMDB string // by default GOPRIVATE
	GONOPROXY string // likewise
	GOPRIVATE string
	GOAUTH    string
}

// errNoGo says that there is no go command on this machine.
var errNoGo = errors.New("there is no go command on this machine")

// readGoEnv asks the go command, in the working directory.
func readGoEnv(ctx context.Context) (e goEnv, err error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return e, errNoGo
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "env", "-json", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOAUTH")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local") // a go.mod here must not make it download another one
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return e, fmt.Errorf("go env: %w: %s", err, oneLine(stderr.String()))
	}
	if err := json.Unmarshal(out, &e); err != nil {
		return e, fmt.Errorf("go env: %w", err)
	}
	return e, nil
}

// defaultRepos returns the repositories of a new registry. What they can't have
// of the go command's settings is told in notes.
func defaultRepos(ctx context.Context, notes io.Writer) ([]node.NewRepo, error) {
	env, err := readGoEnv(ctx)
	if err != nil && !errors.Is(err, errNoGo) {
		return nil, err
	}
	local, public, all := repoName("local"), repoName("public"), repoName("all")
	repos := []node.NewRepo{{Name: local, Kind: events.Local, Settings: events.RepoSettings{
		Description: "what this organisation publishes",
	}}}
	both := events.RepoSettings{Description: "all modules", Members: []events.RepoName{local}, Deploy: local}

	remote, why, err := env.remote()
	if err != nil {
		return nil, err
	}
	if why == "" {
		repos = append(repos, node.NewRepo{Name: public, Kind: events.Remote, Settings: remote})
		both.Members = append(both.Members, public)
		env.note(notes)
	} else {
		fmt.Fprintf(notes, `registry-node: serve: %s, so there is no repository "public" for modules from elsewhere. To add it:
  registry-node repo create public --kind remote --upstream URL --sumdb %s
  registry-node repo set all --members local,public
`, why, quotedOr(env.GOSUMDB, "DATABASE"))
	}
	return append(repos, node.NewRepo{Name: all, Kind: events.Virtual, Settings: both}), nil
}

// remote returns the settings of a remote repository that asks what the go
// command would ask, or why there can't be one.
func (e goEnv) remote() (s events.RepoSettings, why string, err error) {
	if e == (goEnv{}) {
		return s, errNoGo.Error(), nil
	}
	urls := proxyURLs(e.GOPROXY)
	if urls == "" {
		return s, fmt.Sprintf("GOPROXY is %q on this machine and names no server", e.GOPROXY), nil
	}
	l, err := upstream.ParseList(urls)
	if err != nil {
		return s, "", fmt.Errorf("GOPROXY as the go command here has it: %w", err)
	}
	if l.HasCredentials() {
		return s, "", fmt.Errorf("GOPROXY as the go command here has it, %s, holds a password, which would stay in the registry's log for ever; "+
			"set GOPROXY to URLs without one for this start", l)
	}
	if _, err := upstream.ParseDatabase(e.GOSUMDB); err != nil {
		return s, "", fmt.Errorf("GOSUMDB as the go command here has it: %w", err)
	}
	s = events.RepoSettings{Description: "modules from elsewhere", Upstream: urls, Sumdb: e.GOSUMDB}
	if s.NoSumdb, err = patterns(e.GONOSUMDB); err != nil {
		return s, "", fmt.Errorf("GONOSUMDB or GOPRIVATE as the go command here has it: %w", err)
	}
	return s, "", nil
}

// proxyURLs returns a GOPROXY list up to the "direct" or "off" that ends it.
func proxyURLs(goproxy string) string {
	end := 0 // of the last URL
	for rest := goproxy; rest != ""; {
		at := len(goproxy) - len(rest)
		word, after := rest, len(rest)
		if i := strings.IndexAny(rest, ",|"); i >= 0 {
			word, after = rest[:i], i+1
		}
		switch strings.TrimSpace(word) {
		case "direct", "off":
			return goproxy[:end]
		case "":
		default:
			end = at + len(word)
		}
		rest = rest[after:]
	}
	return goproxy[:end]
}

// patterns returns the patterns in a list as the go command's variables have
// them.
func patterns(text string) (ps []events.Pattern, err error) {
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSuffix(strings.TrimSpace(word), "/")
		if word == "" {
			continue
		}
		p, err := events.ParsePattern(word)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// note tells what a remote repository can't do as the go command does.
func (e goEnv) note(w io.Writer) {
	if l, err := upstream.ParseList(e.GOPROXY); err == nil && l.EndsInDirect() {
		fmt.Fprintf(w, `registry-node: serve: GOPROXY here ends in "direct"; repository "public" asks only %s; for version control hosts make another:
  registry-node repo create git --kind remote --upstream vcs --sumdb %s
`, proxyURLs(e.GOPROXY), cmp.Or(e.GOSUMDB, "off"))
	}
	if e.GONOPROXY != "" && e.GONOPROXY != "none" {
		fmt.Fprintf(w, `registry-node: serve: GONOPROXY or GOPRIVATE here is %s; repository "public" asks its upstream for whatever it is asked for, unless a local repository owns it:
  registry-node repo set local --owns PATTERN
`, e.GONOPROXY)
	}
}

// quotedOr quotes s for a shell, or returns what stands for it.
func quotedOr(s, placeholder string) string {
	if s == "" {
		return placeholder
	}
	return "'" + s + "'"
}

// repoName is for names in this program, which are valid.
func repoName(s string) events.RepoName { return must1(events.ParseRepoName(s)) }

// must1 is must for a function with a result.
func must1[T any](v T, err error) T {
	must(err)
	return v
}

// The group and the rules that a new registry has.
const (
	adminsGroup = "admins"
	trialRule   = "trial"
)

// beginning returns what a new registry holds: the repositories, a group of
// administrators that is empty, and its rule; and that of the first site, whose
// operator is an administrator at its home, and so at the homes that other sites
// are later. All else is closed, but that on a node which only this machine
// reaches everybody here may read the repositories, for a trial.
func beginning(site events.Site, repos []node.NewRepo, trial bool) node.Fresh {
	everything := func(principal string) events.Grant {
		return events.Grant{Principals: []string{principal}, Repos: []string{"*"}, Actions: []string{"read", "publish", "delete", "block", "manage"}}
	}
	f := node.Fresh{
		Repos:  repos,
		Groups: map[string][]string{adminsGroup: nil},
		Rules: map[string]events.Grant{
			adminsGroup:             everything("group:" + adminsGroup),
			"site-" + site.String(): everything("site:" + site.String()),
		},
	}
	if !trial {
		return f
	}
	open := events.Grant{Principals: []string{events.Loopback}, Actions: []string{"read"}}
	for _, r := range repos {
		if r.Kind != events.Virtual { // those show what their members do
			open.Repos = append(open.Repos, r.Name.String())
		}
	}
	f.Rules[trialRule] = open
	return f
}
