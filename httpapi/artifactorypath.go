package httpapi

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// A path below /artifactory/ names a repository and something in it, and may carry
// properties: matrix parameters, ";name=value" behind any of its elements. They are
// cut off before anything is decoded, as a decoded value may hold whatever a path
// may not (a URL with // and ;).

// location is what a path below /artifactory/ names: a repository and a path in it,
// decoded once. Both may be empty. Path is no module path yet, see file.
type location struct {
	repo, path string
	properties map[string][]string // nil: none
}

const (
	maxProperties    = 64
	maxPropertyName  = 255
	maxPropertyValue = 2400 // bytes, as an Artifactory has it
)

// parseLocation parses what follows a prefix in the escaped path of a URL:
// <repository>/<path>, with matrix parameters. The error says what is wrong and is
// fit to be shown to a user.
func parseLocation(escaped string) (l location, err error) {
	bare, raw := cutMatrix(escaped)
	if l.properties, err = parseMatrix(raw); err != nil {
		return l, err
	}
	if bare = strings.TrimSuffix(bare, "/"); bare == "" {
		return l, nil
	}
	path, err := decodePath(bare)
	if err != nil {
		return l, err
	}
	l.repo, l.path, _ = strings.Cut(path, "/")
	return l, nil
}

// cutMatrix takes the matrix parameters out of an escaped path. Behind the name of a
// module file everything is parameters, also slashes that somebody on the way has
// decoded.
func cutMatrix(escaped string) (bare string, params []string) {
	if i := strings.IndexByte(escaped, ';'); i >= 0 && isModuleFile(escaped[:i]) {
		return escaped[:i], strings.Split(escaped[i+1:], ";")
	}
	if !strings.Contains(escaped, ";") {
		return escaped, nil
	}
	elements := strings.Split(escaped, "/")
	for i, e := range elements {
		parts := strings.Split(e, ";")
		elements[i] = parts[0]
		params = append(params, parts[1:]...)
	}
	return strings.Join(elements, "/"), params
}

// isModuleFile reports whether an escaped path ends like that of a module file.
func isModuleFile(escaped string) bool {
	i := strings.LastIndex(escaped, versionsInfix)
	if i < 0 || strings.Contains(escaped[i+len(versionsInfix):], "/") {
		return false
	}
	return slices.ContainsFunc([]string{".zip", ".mod", ".info"}, func(ext string) bool { return strings.HasSuffix(escaped, ext) })
}

// parseMatrix parses matrix parameters. Names and values are form-escaped; a comma
// separates values of one name, and a backslash takes its meaning from it.
func parseMatrix(params []string) (map[string][]string, error) {
	var all map[string][]string
	for _, p := range params {
		if p == "" {
			continue
		}
		name, value, _ := strings.Cut(p, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return nil, fmt.Errorf("the property %q is not escaped as in a URL", clip(p))
		}
		if name, err = checkProperty(name, value); err != nil {
			return nil, err
		}
		if all == nil {
			all = map[string][]string{}
		}
		for _, v := range splitValues(value) {
			if !slices.Contains(all[name], v) {
				all[name] = append(all[name], v)
			}
		}
	}
	if len(all) > maxProperties {
		return nil, fmt.Errorf("there are more than %d properties", maxProperties)
	}
	return all, nil
}

// checkProperty returns the name of a property, or why it can't be one.
func checkProperty(name, value string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", errors.New("a property has no name")
	case len(name) > maxPropertyName || len(value) > maxPropertyValue:
		return "", fmt.Errorf("the property %q is too long: a name has at most %d bytes, a value %d", clip(name), maxPropertyName, maxPropertyValue)
	}
	return name, nil
}

// splitValues splits the values of a property at commas that no backslash stands
// before.
func splitValues(s string) (values []string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`,\|=;`, s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		case c == ',':
			values = append(values, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(values, b.String())
}

// moduleFile is a file of a version, as a location names it.
type moduleFile struct {
	repo    events.RepoName
	version module.Version
	kind    string // info, mod or zip
	// properties are what the path says of it.
	properties map[string][]string
}

// file returns the module file that a location names. The module path and the
// version may be !-escaped or have their capitals: no module path and no version has
// a ! itself. It fails with ErrInvalid.
func (l location) file() (f moduleFile, err error) {
	if f.repo, err = parseRepo(l.repo); err != nil {
		return f, err
	}
	f.properties = l.properties
	i := strings.LastIndex(l.path, versionsInfix)
	if i < 0 {
		return f, fail(node.ErrInvalid, quote(l.path)+" is no file of a Go module, which are <module>/@v/<version>.zip, .mod and .info")
	}
	name := l.path[i+len(versionsInfix):]
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || !slices.Contains([]string{"info", "mod", "zip"}, name[dot+1:]) || strings.Contains(name, "/") {
		return f, fail(node.ErrInvalid, quote(name)+" after /@v/ is no version with .zip, .mod or .info")
	}
	f.kind = name[dot+1:]
	f.version, err = unescapeRaw(l.path[:i], name[:dot])
	return f, err
}

// unescapeRaw returns the version that a path and a version name which may be
// !-escaped or not. It fails with ErrInvalid.
func unescapeRaw(path, version string) (mv module.Version, err error) {
	if strings.Contains(path, "!") {
		if path, err = module.UnescapePath(path); err != nil {
			return mv, invalid(err)
		}
	}
	if strings.Contains(version, "!") {
		if version, err = module.UnescapeVersion(version); err != nil {
			return mv, invalid(err)
		}
	}
	if len(version) > maxVersion {
		return mv, fail(node.ErrInvalid, fmt.Sprintf("version %s is longer than %d bytes", quote(version), maxVersion))
	}
	return module.Version{Path: path, Version: version}, nil
}

// rawPath returns the path of a module file within its repository, with its
// capitals, as an Artifactory names it.
func (f moduleFile) rawPath() string {
	return f.version.Path + versionsInfix + f.version.Version + "." + f.kind
}
