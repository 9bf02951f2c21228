package upstream

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// judge returns what a command that ended by itself wrote to stdout, or the
// *Error that it tells.
func (s sandbox) judge(r *refs, stdout, stderr []byte, err error) ([]byte, error) {
	text := string(stderr)
	if err == nil || len(stdout) > 0 {
		var a answered
		if json.NewDecoder(bytes.NewReader(stdout)).Decode(&a) == nil {
			said := errorText(a.Error)
			if err == nil && (len(a.Error) == 0 || a.isOfRetractions(said)) {
				return stdout, nil
			}
			text = said + "\n" + text
		}
	}
	text = s.secrets().Replace(text)
	shown := plainText(text)
	if shown == "" {
		shown = fmt.Sprintf("the go command failed: %v", err)
	}
	if m := tooOldGo.FindStringSubmatch(text); m != nil {
		return nil, s.src.fail(ErrOldGo, fmt.Errorf("this node's go command is %s; the module needs %s: install it", m[2], m[1]))
	}
	class := classOfText(text)
	if class == ErrNotFound && strings.Contains(text, "unknown revision") && (r.has(s.src.query) || r.has(s.src.tagOf(s.src.query))) {
		class = ErrUnavailable // it is there, and git could not read it
	}
	return nil, s.src.fail(class, errors.New(shown))
}

// isOfRetractions reports whether a is an answer, of which said tells no more
// than that the retractions, in the go.mod of the latest version, can't be read.
func (a answered) isOfRetractions(said string) bool {
	return a.Version != "" && a.Origin != nil && strings.HasPrefix(said, "loading module retractions for")
}

// tooOldGo is what the go command says of a module that needs a newer one.
var tooOldGo = regexp.MustCompile(`requires go >= ([0-9a-z.]+) \(running go ([0-9a-z.]+)`)

// errorText is the text of an error: a string, or an object with Err.
func errorText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var object struct{ Err string }
	if json.Unmarshal(raw, &object) == nil {
		return object.Err
	}
	return ""
}

// saysAbsent are texts of the go command that say that there is no such version,
// or no module of that path in it. They count only if git has not failed: the go
// command takes some faults of git for absence.
var saysAbsent = []string{
	"unknown revision",
	"no matching versions",
	"invalid version: missing ",
	"missing go.mod",
	"go.mod at revision",
	"invalid version: go.mod has ",
	"has post-v",
	"has non-",
	"module contains a go.mod file, so module path must match major version",
	"module path includes a major version suffix, so major version must match",
	"+incompatible suffix not allowed",
	"invalid pseudo-version",
	"resolves to version",
	"disallowed version string",
	"must be of the form v1.2.3",
	"is not a tag",
	"no commits",
}

// saysRefused are texts of git for credentials that are missing or wrong.
var saysRefused = []string{
	"could not read Username",
	"could not read Password",
	"Authentication failed",
	"returned error: 401",
	"returned error: 403",
}

// saysFault are texts of git, of the system and of the go command that tell of a
// fault, whatever else is said.
var saysFault = []string{
	"fatal:",
	"error:",
	"exit status",
	"signal:",
	"no space left",
	"permission denied",
	"too many open files",
	"cannot allocate memory",
	"i/o timeout",
}

// errDamaged: git complains of what earlier commands have fetched.
var errDamaged = errors.New("the clone is damaged")

// saysLocal are texts of a git that fails, saysDistant those by which it says
// that this is not for the clone that it works on.
var (
	saysLocal   = []string{"fatal:", "cannot lock ref", "Unable to create"}
	saysDistant = []string{
		"unable to access", "RPC failed", "early EOF", "hung up", "unexpected disconnect", "fsck error",
		"returned error", "Could not resolve", "find remote ref", "remote error", "protocol error", "bad line length",
	}
)

// isLocal reports whether a command failed for what it found in its directory,
// which a clone from the start does not have.
func (o outcome) isLocal() bool {
	return slices.ContainsFunc(saysLocal, o.says) && !slices.ContainsFunc(saysDistant, o.says)
}

// classOfText returns the class of an error of the go command by its text. What
// is not known is a fault, never absence.
func classOfText(text string) error {
	contains := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case slices.ContainsFunc(saysRefused, contains):
		return ErrForbidden
	case slices.ContainsFunc(saysFault, contains):
		return ErrUnavailable
	case slices.ContainsFunc(saysAbsent, contains):
		return ErrNotFound
	}
	return ErrUnavailable
}

// Bounds of what is shown of a command's text.
const (
	maxCommandLines = 8
	maxCommandBytes = 648
)

// plainText returns the first lines of a text, printable.
func plainText(text string) string {
	var lines []string
	size := 0
	for line := range strings.Lines(strings.ToValidUTF8(text, "?")) {
		line = strings.TrimSpace(strings.Map(func(c rune) rune {
			if unicode.IsGraphic(c) {
				return c
			}
			return ' '
		}, line))
		if line == "" || slices.Contains(lines, line) {
			continue
		}
		size += len(line) + 2
		if len(lines) == maxCommandLines || size > maxCommandBytes {
			break
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

// isObject reports whether s is the name of a git object, SHA-1 or SHA-256.
func isObject(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && (len(s) == 40 || len(s) == 64) && s == strings.ToLower(s)
}
