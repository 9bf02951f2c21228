package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node/access"
)

const (
	// maxBuildProjects bounds the projects in which a build is looked for.
	maxBuildProjects = 1000
	// maxBuildFiles bounds the files of a build.
	maxBuildFiles = 20_000
)

// BuildFile is a file that a run of a build says it made or took.
type BuildFile struct {
	Dir, Name string // as Item has them
	SHA1      string // in hex; empty if the build does not say it
}

// buildProjects returns the projects that have builds which a caller may read; the
// empty name stands for builds without one. Errors: ErrTooLarge.
func (n *Node) buildProjects(ctx context.Context, who *access.Caller) (projects []string, err error) {
	for last := ""; ; {
		project, ok, err := n.buildProject(last)
		if err != nil || !ok {
			return projects, err
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case n.mayBuilds(who, access.Read, events.BuildName{Project: project}) != nil:
		case len(projects) == maxBuildProjects:
			return nil, fail(ErrTooLarge, "there are builds of too many projects to look through them all")
		default:
			projects = append(projects, project)
		}
		last = project + "\x01" // sorts behind the NUL that follows the project in keys
	}
}

// buildProject returns the first project whose builds have keys behind last.
func (n *Node) buildProject(last string) (project string, ok bool, err error) {
	for rec, err := range n.index.Load().Behind(events.KindPrefix(events.KindBuild), last) {
		if err != nil {
			return "", false, fmt.Errorf("builds: index: %w", err)
		}
		name, ok := rec.Key.Build()
		return name.Project, ok, nil
	}
	return "", false, nil
}

// BuildFiles returns the files of modules that the runs of a build made, or took as
// dependencies: of each project that a caller may read the run of that number that
// started last. What a build info says in other ways than the JFrog CLI does is passed
// over. If there is no such build there are no files. Errors: ErrTooLarge,
// ErrUnavailable.
func (n *Node) BuildFiles(ctx context.Context, who *access.Caller, name, number string, taken bool) (files []BuildFile, err error) {
	projects, err := n.buildProjects(ctx, who)
	if err != nil {
		return nil, err
	}
	for _, project := range projects {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		_, info, err := n.Build(ctx, who, events.BuildName{Project: project, Name: name, Number: number}, time.Time{})
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
			continue
		}
		if err != nil {
			return nil, err
		}
		more, err := n.filesIn(ctx, info, taken)
		if files = append(files, more...); err == nil && len(files) > maxBuildFiles {
			err = fail(ErrTooLarge, "build %s number %s has more than %d files", name, number, maxBuildFiles)
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// buildModule is what is read of a module in a build info.
type buildModule struct {
	ID           string      `json:"id"`
	Artifacts    []buildPart `json:"artifacts"`
	Dependencies []buildPart `json:"dependencies"`
}

// buildPart is an artifact or a dependency. Of a dependency the id is the escaped
// module path, a colon and the version.
type buildPart struct {
	Name string `json:"name"`
	Path string `json:"path"` // older clients say none
	ID   string `json:"id"`
	Type string `json:"type"`
	SHA1 string `json:"sha1"`
}

// filesIn reads a build info, and closes it. Only few are in memory at a time.
func (n *Node) filesIn(ctx context.Context, info io.ReadCloser, taken bool) (files []BuildFile, err error) {
	defer info.Close()
	select {
	case n.buildTurns <- struct{}{}:
		defer func() { <-n.buildTurns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	var said struct {
		Modules []buildModule `json:"modules"`
	}
	if err := json.NewDecoder(info).Decode(&said); errors.As(err, new(*json.UnmarshalTypeError)) {
		return nil, nil // recorded as it came, by a client that writes modules in another way
	} else if err != nil {
		return nil, fmt.Errorf("build info: %w", err)
	}
	for _, m := range said.Modules {
		parts := m.Artifacts
		if taken {
			parts = m.Dependencies
		}
		for _, p := range parts {
			if f, ok := p.file(m, taken); ok {
				files = append(files, f)
			}
		}
	}
	return files, nil
}

// file returns the file of a module that a part of a build is; ok is false if it is
// none.
func (p buildPart) file(m buildModule, taken bool) (f BuildFile, ok bool) {
	f.SHA1 = strings.ToLower(p.SHA1)
	if taken {
		id, version, _ := strings.Cut(p.ID, ":")
		modulePath, err := module.UnescapePath(id)
		version, err2 := module.UnescapeVersion(version)
		f.Dir, f.Name = modulePath+versionsDir, version+"."+p.Type
		return f, err == nil && err2 == nil && slices.Contains(itemFiles, p.Type)
	}
	if p.Path == "" {
		p.Path = m.ID + versionsDir + "/" + p.Name
	}
	f.Dir, f.Name = path.Split(strings.TrimPrefix(p.Path, "/"))
	f.Dir = strings.TrimSuffix(f.Dir, "/")
	if f.Name == "" || !strings.HasSuffix(f.Dir, versionsDir) {
		return f, false
	}
	if strings.HasSuffix(f.Name, "."+events.InfoFile) {
		f.SHA1 = "" // the registry writes its own, see Deploy
	}
	return f, true
}
