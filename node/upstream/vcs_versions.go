package upstream

import (
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// versions returns the versions of s that its tags make, sorted, and whether
// these are surely all: a tag of a major version above 1 at the root may be an
// +incompatible version, which depends on whether there is a go.mod. The rules
// are the go command's (cmd/go/internal/modfetch, codeRepo.Versions).
func (r *refs) versions(s source) (list []string, sure bool) {
	if strings.HasPrefix(s.path, "gopkg.in/") && strings.HasSuffix(s.path, "-unstable") {
		return nil, true
	}
	prefix := s.tagOf("")
	sure = true
	for tag := range r.tags {
		v, ok := strings.CutPrefix(tag, prefix)
		if !ok || v == "" || v != semver.Canonical(v) || module.IsPseudoVersion(v) {
			continue
		}
		if module.CheckPathMajor(v, s.suffix) != nil {
			if s.dir == "" && s.suffix == "" && semver.Compare(semver.Major(v), "v1") > 0 {
				sure = false
			}
			continue
		}
		if isListed(s.path, v) {
			list = append(list, v)
		}
	}
	semver.Sort(list)
	return list, sure
}

// highest returns the highest release of a sorted list, else the highest
// pre-release, else "".
func highest(list []string) string {
	for _, v := range slices.Backward(list) {
		if semver.Prerelease(v) == "" {
			return v
		}
	}
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}
