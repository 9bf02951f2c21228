package upstream

import (
	"fmt"
	"regexp"
	"strings"
)

// knownHost is a rule of the go command that maps module paths to repositories
// without asking anybody (cmd/go/internal/vcs, vcsPaths).
type knownHost struct {
	prefix string // paths below it that do not match are invalid; "" for any host
	path   *regexp.Regexp
	vcs    string // "" if the path says it
	plain  bool   // the repository's name may not end in a VCS suffix
}

var knownHosts = []knownHost{
	{"github.com", regexp.MustCompile(`^(?P<root>github\.com/[\w.\-]+/[\w.\-]+)(/[\w.\-]+)*$`), "git", true},
	{"bitbucket.org", regexp.MustCompile(`^(?P<root>bitbucket\.org/[\w.\-]+/[\w.\-]+)(/[\w.\-]+)*$`), "git", true},
	{"hub.jazz.net/git", regexp.MustCompile(`^(?P<root>hub\.jazz\.net/git/[a-z0-9]+/[\w.\-]+)(/[\w.\-]+)*$`), "git", true},
	{"git.apache.org", regexp.MustCompile(`^(?P<root>git\.apache\.org/[a-z0-9_.\-]+\.git)(/[\w.\-]+)*$`), "git", false},
	{"git.openstack.org", regexp.MustCompile(`^(?P<root>git\.openstack\.org/[\w.\-]+/[\w.\-]+)(\.git)?(/[\w.\-]+)*$`), "git", false},
	{"chiselapp.com", regexp.MustCompile(`^(?P<root>chiselapp\.com/user/[A-Za-z0-9]+/repository/[\w.\-]+)$`), "fossil", false},
	// Any host, if the path tells the VCS. Must be last.
	{"", regexp.MustCompile(`^(?P<root>(?P<repo>([a-z0-9.\-]+\.)+[a-z0-9.\-]+(/~?[\w.\-]+)+?)\.(?P<vcs>bzr|fossil|git|hg|svn))(/~?[\w.\-]+)*$`), "", false},
}

// vcsSuffixes end the names of repositories on hosts of the general rule.
var vcsSuffixes = []string{".bzr", ".fossil", ".git", ".hg", ".svn"}

// goImport is where a path leads: a go-import tag, or what a known host implies.
type goImport struct {
	prefix string // the module path of the repository's root
	vcs    string
	target string // URL
	subdir string // of the root in the repository
}

// known returns where path leads by its text alone, and whether it is known. An
// error says that the path is none of its host.
func known(path string) (goImport, bool, error) {
	for _, h := range knownHosts {
		if h.prefix != "" && !hasPathPrefix(path, h.prefix) {
			continue
		}
		m := h.path.FindStringSubmatch(path)
		if m == nil {
			if h.prefix != "" {
				return goImport{}, false, fmt.Errorf("%s is no path of a repository on %s", path, h.prefix)
			}
			continue
		}
		group := func(name string) string {
			if i := h.path.SubexpIndex(name); i >= 0 {
				return m[i]
			}
			return ""
		}
		found := goImport{prefix: group("root"), vcs: h.vcs}
		repo := found.prefix
		if h.vcs == "" {
			found.vcs, repo = group("vcs"), group("repo")
		}
		for _, suffix := range vcsSuffixes {
			if h.plain && strings.HasSuffix(found.prefix, suffix) {
				return goImport{}, false, fmt.Errorf("%s: a repository on %s is named without %s", path, h.prefix, suffix)
			}
		}
		found.target = "https://" + repo
		return found, true, nil
	}
	return goImport{}, false, nil
}

// hasPathPrefix reports whether prefix is s or a path that s is below.
func hasPathPrefix(s, prefix string) bool {
	return s == prefix || strings.HasPrefix(s, prefix) && s[len(prefix)] == '/'
}
