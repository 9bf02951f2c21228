package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

func envCommand() *cobra.Command {
	t, repo, write := new(target), "all", false
	cmd := &cobra.Command{
		Use:   "env [--server URL] [--repo NAME] [--write]",
		Short: "Print how the go command is set up for a registry",
		Long: `Print the "go env -w" lines by which the go command asks a registry, and nothing
else: without ",direct" behind the URL, it carries no private name to public hosts
when the registry says that there is none. It prints no GOPRIVATE: what that covers
the go command fetches past every proxy. --write has the go command remember them.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, err := events.ParseRepoName(repo)
			if err != nil {
				return usageError{fmt.Errorf("repository: %w", err)}
			}
			return goSetup(cmd, t, name, write)
		},
	}
	t.addFlags(cmd)
	cmd.Flags().StringVar(&repo, "repo", repo, "`name` of the repository that the go command asks")
	cmd.Flags().BoolVar(&write, "write", false, "set them, with go env -w")
	return cmd
}

func goSetup(cmd *cobra.Command, t *target, repo events.RepoName, write bool) error {
	if t.data != "" {
		return usagef("--data names no URL that the go command could ask; give --server")
	}
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.close()
	private, err := c.private(cmd.Context(), repo)
	if err != nil {
		return err
	}
	env, err := readGoEnv(cmd.Context())
	if err != nil && (write || !errors.Is(err, errNoGo)) {
		return err
	}
	s := newSetup(c.base, repo, private, env)
	stderr := cmd.ErrOrStderr()
	for _, n := range slices.Concat(s.notes, overridden(s.vars)) {
		fmt.Fprintf(stderr, "registry-node: env: %s\n", n)
	}
	if c.token == "" && c.base.Scheme == "https" {
		fmt.Fprintf(stderr, "registry-node: env: no token is stored for %s; get one with: registry-node login --server %[1]s\n", c.base)
	}
	for _, v := range s.vars {
		fmt.Fprintf(cmd.OutOrStdout(), "go env -w '%s'\n", v)
	}
	if write {
		return writeGoEnv(cmd.Context(), s.vars, stderr)
	}
	return nil
}

// private returns the patterns of modules of a repository that no public
// checksum database knows: what local repositories own, and what remote ones say.
func (c *client) private(ctx context.Context, repo events.RepoName) ([]events.Pattern, error) {
	var r node.RepoInfo
	if err := c.call(ctx, http.MethodGet, repoPath(repo), nil, &r); err != nil {
		return nil, err
	}
	private := slices.Concat(r.Owns, r.NoSumdb)
	for _, name := range r.Members {
		var m node.RepoInfo
		err := c.call(ctx, http.MethodGet, repoPath(name), nil, &m)
		if refused, ok := errors.AsType[*apiError](err); ok && (refused.Status == http.StatusForbidden || refused.Status == http.StatusUnauthorized) {
			continue // nothing of it comes through the virtual one either
		}
		if err != nil {
			return nil, err
		}
		private = slices.Concat(private, m.Owns, m.NoSumdb)
	}
	return private, nil
}

// setup is how the go command is set up for a registry.
type setup struct {
	vars  []string // NAME=value
	notes []string // for people
}

func newSetup(base *url.URL, repo events.RepoName, private []events.Pattern, env goEnv) setup {
	var s setup
	noSumdb := strings.FieldsFunc(env.GONOSUMDB, func(r rune) bool { return r == ',' || r == ' ' })
	for _, p := range private {
		g, whole := globOf(p)
		switch {
		case g == "":
			s.note("the pattern %s can't be said in GONOSUMDB; for such modules the go command asks a checksum database, which fails: add what they begin with yourself", p)
			continue
		case !whole:
			s.note("the pattern %s can't be said in GONOSUMDB; %s is there instead, which covers more", p, g)
		}
		if !slices.Contains(noSumdb, g) {
			noSumdb = append(noSumdb, g)
		}
		if env.GOPRIVATE != "" && module.MatchPrefixPatterns(env.GOPRIVATE, g) {
			s.note("GOPRIVATE=%s covers %s: without GONOPROXY=none the go command would fetch it past this registry; take it out of there", env.GOPRIVATE, p)
		}
	}
	if env.GONOPROXY != "" && env.GONOPROXY != "none" {
		s.note("GONOPROXY (or GOPRIVATE) is %s here: what it covers the go command fetched past every proxy until now, and asks this registry for from now on", env.GONOPROXY)
	}
	if base.Scheme == "http" {
		s.note("%s is plain http, over which the go command sends no credentials: it gets what is readable without", base)
	}
	s.vars = []string{"GOPROXY=" + base.String() + "/go/" + repo.String(), "GONOPROXY=none"}
	if len(noSumdb) > 0 {
		s.vars = append(s.vars, "GONOSUMDB="+strings.Join(noSumdb, ","))
	}
	if base.Scheme == "https" {
		s.vars = append(s.vars, "GOAUTH="+withGoauth(env.GOAUTH))
	}
	return s
}

func (s *setup) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// globOf returns a pattern as the go command's lists have it, where a glob stands
// for a prefix and * for no more than one element: up to the first **. whole is
// false if that covers more than the pattern, or, as "", can't be said.
func globOf(p events.Pattern) (glob string, whole bool) {
	before, after, found := strings.Cut(p.String(), "**")
	return strings.TrimSuffix(before, "/"), !found || after == ""
}

// withGoauth returns GOAUTH with this program before what is there: by default
// that is netrc.
func withGoauth(goauth string) string {
	ours := "registry-node goauth"
	if self, err := os.Executable(); err == nil {
		if found, err := exec.LookPath("registry-node"); err != nil || !sameFile(found, self) {
			ours = quoteWord(self) + " goauth"
		}
	}
	var all []string
	for word := range strings.SplitSeq(goauth, ";") {
		word = strings.TrimSpace(word)
		if word == ours {
			return goauth
		}
		if word != "" && word != "off" { // which allows no other beside it
			all = append(all, word)
		}
	}
	if goauth == "" {
		all = []string{"netrc"}
	}
	return strings.Join(append([]string{ours}, all...), ";")
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// quoteWord quotes a path for the go command, which splits GOAUTH at blanks.
func quoteWord(path string) string {
	path = filepath.ToSlash(path)
	if strings.ContainsAny(path, " \t") {
		return `"` + path + `"`
	}
	return path
}

// overridden tells which variables the environment sets: there "go env -w" has no
// effect.
func overridden(vars []string) (notes []string) {
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		if is := os.Getenv(name); is != "" && is != value {
			notes = append(notes, fmt.Sprintf("%s=%s is in the environment, which counts before go env -w; take it out of there", name, withoutPassword(is)))
		}
	}
	return notes
}

// withoutPassword returns the value of a variable without the user and password of
// URLs in it.
func withoutPassword(value string) string {
	at := strings.LastIndexByte(value, '@')
	if at < 0 || !strings.Contains(value[:at], "://") {
		return value
	}
	return "…" + value[at:]
}

// writeGoEnv has the go command remember the variables.
func writeGoEnv(ctx context.Context, vars []string, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"env", "-w"}, vars...)...)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	cmd.Stdout, cmd.Stderr = stderr, stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go env -w: %w", err)
	}
	return nil
}
