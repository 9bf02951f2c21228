package upstream

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// foldedNames finds names that are equal under case folding, and names that are
// a file and a directory. The key is the folded name.
type foldedNames map[string]foldedName

type foldedName struct {
	name string
	dir  bool
}

// add adds a file and the directories it is in.
func (m foldedNames) add(name string) error {
	// Folding leaves "/" alone, so a parent's key is a prefix of its child's.
	key, dir := fold(name), false
	for {
		have, ok := m[key]
		switch {
		case !ok:
			m[key] = foldedName{name, dir}
		case have.name != name:
			return fmt.Errorf("%q and %q differ in upper and lower case only", clip(name), clip(have.name))
		case have.dir != dir:
			return fmt.Errorf("%q is both a file and a directory", clip(name))
		case !dir:
			return errors.New("it occurs more than once")
		default:
			return nil // with its parents
		}
		i, j := strings.LastIndexByte(name, '/'), strings.LastIndexByte(key, '/')
		if i < 0 {
			return nil
		}
		name, key, dir = name[:i], key[:j], true
	}
}

// fold returns a text that is equal for names that strings.EqualFold holds to be
// equal, and only for those: each rune becomes the least that folds to it.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				r = next
				break
			}
			r = next
		}
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A' // so that most names are their own fold
		}
		return r
	}, s)
}
