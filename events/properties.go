package events

import (
	"errors"
	"fmt"
)

// The files of a module version that may have properties, by the suffix under
// which GOPROXY serves them.
const (
	InfoFile = "info"
	ModFile  = "mod"
	ZipFile  = "zip"
)

// The bounds of properties; a value is at most as long as any other text.
const (
	maxPropertyKey    = 255      // bytes
	maxPropertyValue  = 2400     // bytes
	maxPropertyValues = 64       // of one key
	maxPropertyKeys   = 256      // that one event sets, or removes
	maxPropertyBytes  = 64 << 10 // of the texts of one event
)

// PropertiesChanged sets and removes properties of one of the files of a version
// in a local repository: texts that people and CI systems attach to it, such as
// the build that it came from. Decided by the repository's home.
type PropertiesChanged struct {
	always
	ModuleVersion
	File   string     `json:"file"` // InfoFile, ModFile or ZipFile
	Remove []string   `json:"remove,omitempty"`
	Set    []Property `json:"set,omitempty"` // sorted by key; each replaces what the key had
	Actor  string     `json:"actor,omitempty"`
}

// Property is the values that one property of a file has, in their order.
type Property struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

// Type returns "properties.changed".
func (PropertiesChanged) Type() Type { return "properties.changed" }

// Key returns the record of the properties of the version's files.
func (b PropertiesChanged) Key(EventID) Key { return KeyProperties(b.Repo, b.ModVersion()) }

func (b PropertiesChanged) check() error {
	if b.File != InfoFile && b.File != ModFile && b.File != ZipFile {
		return fmt.Errorf("file %q is none of %s, %s, %s", b.File, InfoFile, ModFile, ZipFile)
	}
	if len(b.Set) == 0 && len(b.Remove) == 0 {
		return errors.New("no properties")
	}
	return errors.Join(b.ModuleVersion.check(), checkProperties(b.Set, b.Remove), checkText("actor", b.Actor))
}

// checkProperties reports why properties can't be changed like that.
func checkProperties(set []Property, remove []string) error {
	if len(set) > maxPropertyKeys || len(remove) > maxPropertyKeys {
		return fmt.Errorf("more than %d properties at a time", maxPropertyKeys)
	}
	size := 0
	for _, key := range remove {
		if err := CheckPropertyKey(key); err != nil {
			return err
		}
		size += len(key)
	}
	for i, p := range set {
		if err := p.check(); err != nil {
			return err
		}
		if i > 0 && set[i-1].Key >= p.Key {
			return fmt.Errorf("property %s is set behind %s: they are sorted, and each is there once", p.Key, set[i-1].Key)
		}
		size += p.size()
	}
	if size > maxPropertyBytes {
		return fmt.Errorf("the properties are %d bytes, more than %d", size, maxPropertyBytes)
	}
	return nil
}

func (p Property) check() error {
	if err := CheckPropertyKey(p.Key); err != nil {
		return err
	}
	if n := len(p.Values); n == 0 || n > maxPropertyValues {
		return fmt.Errorf("property %s has %d values, not 1 to %d", p.Key, n, maxPropertyValues)
	}
	for _, v := range p.Values {
		if err := checkText("a value of property "+p.Key, v); err != nil {
			return err
		}
	}
	return nil
}

func (p Property) size() int {
	n := len(p.Key)
	for _, v := range p.Values {
		n += len(v)
	}
	return n
}

// CheckProperties reports why no event can set these properties of a file: their
// names, values and number, and that they are sorted by name.
func CheckProperties(set []Property) error { return checkProperties(set, nil) }

// CheckPropertyKey reports why a property can't be called key.
func CheckPropertyKey(key string) error {
	if key == "" || len(key) > maxPropertyKey {
		return fmt.Errorf("the name of a property is empty or longer than %d bytes", maxPropertyKey)
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("property name %q: it may have printable ASCII only, without spaces", key)
		}
	}
	return nil
}

// Properties are the values of each property of the files of a version, by file
// and key.
type Properties map[string]map[string][]string

// Change makes the change of b. It keeps what b holds.
func (p Properties) Change(b PropertiesChanged) {
	of := p[b.File]
	if of == nil {
		of = map[string][]string{}
		p[b.File] = of
	}
	for _, key := range b.Remove {
		delete(of, key)
	}
	for _, s := range b.Set {
		of[s.Key] = s.Values
	}
}

// ResolveProperties resolves the record of the properties of a version in
// repository r: what its homes stated in their tenures, one change after the
// other. It knows nothing of whether there is such a version.
func (d *Directory) ResolveProperties(r *Repo, cs Contributions) Properties {
	p := Properties{}
	for _, f := range d.byHomes(r.Homes, cs) {
		if b, ok := f.Body.(PropertiesChanged); ok {
			p.Change(b)
		}
	}
	return p
}
