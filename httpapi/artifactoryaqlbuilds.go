package httpapi

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"registry-node/events"
	"registry-node/httpapi/aql"
	"registry-node/node"
)

// For a search builds are two things: what items were made by, and files themselves, in
// a repository of their own, where clients look for the last run of one.

// buildRepoSuffix ends the names of those repositories, as rules have them.
const buildRepoSuffix = "-build-info"

// buildProject returns the project whose builds a repository stands for; ok is false
// for another repository.
func buildProject(repo events.RepoName) (project string, ok bool) {
	project, ok = strings.CutSuffix(repo.String(), buildRepoSuffix)
	if project == "artifactory" {
		project = ""
	}
	return project, ok
}

// tellBuilds tells the query which files the builds have that it is about.
func (f *search) tellBuilds() error {
	for _, b := range f.query.Builds() {
		files, err := f.server.node.BuildFiles(f.ctx, f.who, b.Name, b.Number, b.Taken)
		if err != nil {
			return err
		}
		told := make([]aql.File, 0, len(files))
		for _, n := range files {
			told = append(told, aql.File{Path: n.Dir, Name: n.Name, SHA1: n.SHA1})
		}
		f.query.Tell(b, told)
	}
	return nil
}

// sha1Of returns what says the SHA-1 of an item: nothing, if that is not known here.
func (f *search) sha1Of(i node.Item) func() string {
	return func() string {
		s, ok, err := i.Sums(f.ctx)
		if err != nil || !ok {
			return ""
		}
		return hex.EncodeToString(s.SHA1[:])
	}
}

// inBuilds looks in a repository of build infos. They have no checksums but the SHA-256.
func (f *search) inBuilds(t target) error {
	project, _ := buildProject(t.repo)
	name := ""
	if len(t.prefixes) == 1 {
		name = buildNamed(t.prefixes[0])
	}
	for b, err := range f.server.node.Builds(f.ctx, f.who, project, name) {
		switch {
		case errors.Is(err, node.ErrForbidden), errors.Is(err, node.ErrUnauthorized) && f.who.Known():
			return nil
		case err != nil:
			return err
		}
		v := aql.Item{
			Repo: t.repo.String(), Path: buildPath(b.Name), Name: fmt.Sprintf("%s-%d.json", buildPath(b.Number), b.Started.UnixMilli()),
			Size: b.Info.Size, Created: b.Time, Modified: b.Time, SHA256: b.Info.Digest.Hex,
		}
		if ok, err := f.query.Match(f.ctx, &v); err != nil {
			return err
		} else if !ok {
			continue
		}
		f.found = append(f.found, found{Item: v, size: foundBytes, sums: itemSums{SHA256: b.Info.Digest.Hex()}})
		if err := f.bound(); err != nil || f.full {
			return err
		}
	}
	return nil
}

// inBuildPath are the characters that are escaped in the path of a build info, and what
// they become: the apostrophe, too, as it does in Artifactory.
var inBuildPath = strings.NewReplacer("/", "%2F", `\`, "%5C", "|", "%7C", "*", "%2A", "?", "%3F", "'", "%22", ":", "%3A", ";", "%3B", "%", "%25")

// buildPath returns the name or the number of a build as the path of its build info has
// it.
func buildPath(s string) string { return inBuildPath.Replace(s) }

// buildNamed returns the name of the build whose build infos have paths that begin with
// prefix; empty if that may be several.
func buildNamed(prefix string) string {
	path, _, whole := strings.Cut(prefix, "/")
	name, err := url.PathUnescape(path)
	if !whole || err != nil || buildPath(name) != path {
		return ""
	}
	return name
}
