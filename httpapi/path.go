package httpapi

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/module"
)

// Request is a GOPROXY request: what follows /go/<repository>/ in its path. It
// is made by ParsePath.
type Request struct {
	// HeldOnly is the form cached-only/…: answer from what is held, and never
	// fetch.
	HeldOnly bool
	Ask      Ask
}

// Ask is what a Request asks for: one of List, Latest, Info, Mod, Zip, Sumdb.
// Module paths in it are well-formed and not escaped. Versions are well-formed
// as names, but need be neither canonical nor fit the path.
type Ask interface {
	// path returns the escaped path after cached-only/.
	path() string
}

// The things that can be asked for.
type (
	// List asks for the versions of a module: <module>/@v/list.
	List struct{ Module string }
	// Latest asks for the info of the newest version: <module>/@latest.
	Latest struct{ Module string }
	// Info asks for the info of a version, branch, tag or commit:
	// <module>/@v/<query>.info.
	Info struct{ Module, Query string }
	// Mod asks for a go.mod: <module>/@v/<version>.mod.
	Mod struct{ Version module.Version }
	// Zip asks for a module zip: <module>/@v/<version>.zip.
	Zip struct{ Version module.Version }
	// Sumdb asks something of a checksum database: sumdb/<Rest>. What the rest
	// means is for the database to say.
	Sumdb struct{ Rest string }
)

const (
	maxPath    = 1024 // bytes of a path below /go/<repository>/, decoded
	maxVersion = 128  // bytes of a version or query, unescaped

	heldOnlyPrefix = "cached-only/"
	sumdbPrefix    = "sumdb/"
	versionsInfix  = "/@v/"
	latestSuffix   = "/@latest"
)

// ParsePath parses what follows /go/<repository>/ in the escaped path of a URL.
// The error says what is wrong and is fit to be shown to a user.
//
// The path is percent-decoded once; then upper-case letters are !-escaped in it,
// in module paths and versions alike (package module). A decoded slash,
// backslash or NUL, an empty element, . and .. and anything but printable ASCII
// are refused, in whatever part they stand.
func ParsePath(escaped string) (Request, error) {
	path, err := decodePath(escaped)
	if err != nil {
		return Request{}, err
	}
	return parseDecoded(path)
}

// parseDecoded is ParsePath for a path that decodePath has decoded.
func parseDecoded(path string) (q Request, err error) {
	path, q.HeldOnly = strings.CutPrefix(path, heldOnlyPrefix)
	if rest, ok := strings.CutPrefix(path, sumdbPrefix); ok {
		q.Ask = Sumdb{rest}
		return q, nil
	}
	if m, ok := strings.CutSuffix(path, latestSuffix); ok {
		m, err := module.UnescapePath(m)
		q.Ask = Latest{m}
		return q, err
	}
	i := strings.LastIndex(path, versionsInfix)
	if i < 0 {
		return Request{}, fmt.Errorf("%q is none of <module>/@v/list, <module>/@v/<version>.info, .mod or .zip, <module>/@latest", clip(path))
	}
	m, err := module.UnescapePath(path[:i])
	if err != nil {
		return Request{}, err
	}
	q.Ask, err = parseFile(m, path[i+len(versionsInfix):])
	return q, err
}

// parseFile parses what follows <module>/@v/.
func parseFile(mod, file string) (Ask, error) {
	if file == "list" {
		return List{mod}, nil
	}
	dot := strings.LastIndexByte(file, '.')
	if dot < 0 {
		return nil, fmt.Errorf("%q after /@v/ is neither list nor a version with .info, .mod or .zip", clip(file))
	}
	v, err := unescapeVersion(file[:dot])
	if err != nil {
		return nil, err
	}
	switch file[dot:] {
	case ".info":
		return Info{mod, v}, nil
	case ".mod":
		return Mod{module.Version{Path: mod, Version: v}}, nil
	case ".zip":
		return Zip{module.Version{Path: mod, Version: v}}, nil
	}
	return nil, fmt.Errorf("%q after /@v/ ends in none of .info, .mod, .zip", clip(file))
}

func unescapeVersion(escaped string) (string, error) {
	v, err := module.UnescapeVersion(escaped)
	if err != nil {
		return "", err
	}
	if len(v) > maxVersion {
		return "", fmt.Errorf("version %q is longer than %d bytes", clip(v), maxVersion)
	}
	return v, nil
}

// Path returns the path that ParsePath parses into q, with upper-case letters
// !-escaped and without percent-encoding.
func (q Request) Path() string {
	if q.HeldOnly {
		return heldOnlyPrefix + q.Ask.path()
	}
	return q.Ask.path()
}

func (a List) path() string   { return escapePath(a.Module) + versionsInfix + "list" }
func (a Latest) path() string { return escapePath(a.Module) + latestSuffix }
func (a Info) path() string {
	return escapePath(a.Module) + versionsInfix + escapeVersion(a.Query) + ".info"
}
func (a Mod) path() string   { return versionPath(a.Version) + ".mod" }
func (a Zip) path() string   { return versionPath(a.Version) + ".zip" }
func (a Sumdb) path() string { return sumdbPrefix + a.Rest }

func versionPath(mv module.Version) string {
	return escapePath(mv.Path) + versionsInfix + escapeVersion(mv.Version)
}

// escapePath and escapeVersion return "" for what ParsePath does not make.
func escapePath(p string) string {
	s, err := module.EscapePath(p)
	if err != nil {
		return ""
	}
	return s
}

func escapeVersion(v string) string {
	s, err := module.EscapeVersion(v)
	if err != nil {
		return ""
	}
	return s
}

// decodePath percent-decodes a path, once, and checks that each of its elements
// can be one of a module path, a version or the path of a checksum database.
func decodePath(escaped string) (string, error) {
	path := escaped
	if strings.IndexByte(escaped, '%') >= 0 {
		var err error
		if path, err = percentDecode(escaped); err != nil {
			return "", err
		}
	}
	if len(path) > maxPath {
		return "", fmt.Errorf("the path is longer than %d bytes", maxPath)
	}
	start := 0
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if c := path[i]; c <= ' ' || c >= 0x7f || c == '\\' {
				return "", fmt.Errorf("the path %q has the character %q, which no module path or version has", clip(path), c)
			}
			continue
		}
		switch path[start:i] {
		case "":
			return "", fmt.Errorf("the path %q has an empty element", clip(path))
		case ".", "..":
			return "", fmt.Errorf("the path %q has the element %q", clip(path), path[start:i])
		}
		start = i + 1
	}
	return path, nil
}

func percentDecode(s string) (string, error) {
	buf := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			hi, lo := -1, -1
			if i+2 < len(s) {
				hi, lo = unhex(s[i+1]), unhex(s[i+2])
			}
			if hi < 0 || lo < 0 {
				return "", errors.New("the path has a % that two hex digits do not follow")
			}
			c = byte(hi<<4 | lo)
			if c == '/' || c == '\\' || c == 0 {
				return "", fmt.Errorf("the path has %s, which no module path or version has", s[i:i+3])
			}
			i += 2
		}
		buf = append(buf, c)
	}
	return string(buf), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return int(c - 'A' + 10)
	}
	return -1
}

// clip shortens what a user sent to what an error text has room for.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
