package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// Info is what an upstream says about one version.
type Info struct {
	Version string    // canonical, and fits the module path
	Time    time.Time // by convention the commit time; zero if the upstream gave none
	Raw     []byte    // the JSON as received; it may have more (Origin)
}

var (
	errHTML = errors.New("the answer is HTML")
	errUTF8 = errors.New("the answer is not UTF-8")
)

// ParseInfo parses the info of a version that did not come from an upstream.
func ParseInfo(mv module.Version, body []byte) (Info, error) {
	return parseInfo(mv.Path, mv.Version, body)
}

// CheckGoMod refuses what is surely no go.mod. What the go command takes from a
// proxy passes: any module path, and even none.
func CheckGoMod(body []byte) error { return checkGoMod(body) }

// parseInfo parses the body of .info or @latest for a module path. If want is
// not empty, the answer must be for that version.
func parseInfo(path, want string, body []byte) (Info, error) {
	if err := checkText(body); err != nil {
		return Info{}, err
	}
	var v struct {
		Version string
		Time    time.Time
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return Info{}, fmt.Errorf("the answer is not version JSON: %w", err)
	}
	if want != "" && v.Version != want {
		return Info{}, fmt.Errorf("the answer is for version %q instead of %s", clip(v.Version), want)
	}
	if v.Version == "" || v.Version != module.CanonicalVersion(v.Version) {
		return Info{}, fmt.Errorf("version %q in the answer is not canonical", clip(v.Version))
	}
	if err := module.Check(path, v.Version); err != nil {
		return Info{}, fmt.Errorf("version in the answer: %w", err)
	}
	return Info{Version: v.Version, Time: v.Time, Raw: body}, nil
}

// parseList parses the body of @v/list for a module path. Of each line the first
// field counts, as for the go command; other lines than versions are dropped,
// but a body of nothing else is no list.
func parseList(path string, body []byte) ([]string, error) {
	if err := checkText(body); err != nil {
		return nil, err
	}
	var versions []string
	lines, plausible := 0, false
	for line := range bytes.Lines(body) {
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		lines++
		v := string(fields[0])
		plausible = plausible || semver.IsValid(v)
		if isListed(path, v) {
			versions = append(versions, v)
		}
	}
	if lines > 0 && !plausible {
		return nil, fmt.Errorf("none of the %d lines is a version", lines)
	}
	semver.Sort(versions)
	return slices.Compact(versions), nil
}

// goModVerbs are the words that a line of a go.mod may begin with.
var goModVerbs = []string{"module", "go", "toolchain", "godebug", "require", "exclude", "replace", "retract", "tool", "ignore"}

// checkGoMod refuses bodies that are surely no go.mod. What the go command takes
// from a proxy passes: any module path, and even none.
func checkGoMod(body []byte) error {
	if isHTML(body) {
		return errHTML
	}
	if modfile.ModulePath(body) != "" {
		return nil
	}
	f, err := modfile.ParseLax("go.mod", body, nil)
	if err != nil {
		return fmt.Errorf("the answer is no go.mod: %w", err)
	}
	for _, stmt := range f.Syntax.Stmt {
		var tokens []string
		switch stmt := stmt.(type) {
		case *modfile.Line:
			tokens = stmt.Token
		case *modfile.LineBlock:
			tokens = stmt.Token
		}
		if len(tokens) > 0 && !slices.Contains(goModVerbs, tokens[0]) {
			return fmt.Errorf("the answer is no go.mod: no module line, and %q", clip(tokens[0]))
		}
	}
	return nil
}

func checkText(body []byte) error {
	if isHTML(body) {
		return errHTML
	}
	if !utf8.Valid(body) {
		return errUTF8
	}
	return nil
}

func isHTML(body []byte) bool {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("<"))
}

// clip shortens text of an upstream for an error.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
