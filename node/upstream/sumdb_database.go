package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// publicDatabase is the verifier key of the public checksum database, the same
// constant as in the go command.
const publicDatabase = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

// Database names a checksum database. Values other than the zero Database come
// from ParseDatabase or UnmarshalText.
type Database struct {
	text     string        // as given
	key      string        // text form of verifier
	verifier note.Verifier // nil: no database ("off")
	url      *url.URL      // where it is to be asked; nil: through the upstreams, or at its name
}

// ParseDatabase parses the value of GOSUMDB: "off", the name of the public
// database, a verifier key "name+hash+key", and after either of these an URL, at
// which the database is asked instead of at its name or through a proxy.
func ParseDatabase(gosumdb string) (Database, error) {
	fail := func(format string, args ...any) (Database, error) {
		return Database{}, fmt.Errorf("checksum database: "+format, args...)
	}
	fields := strings.Fields(gosumdb)
	switch {
	case len(fields) == 0:
		return fail(`nothing given; "off" means none`)
	case len(fields) > 2:
		return fail("more than a name or key and an URL")
	case fields[0] == "off" && len(fields) == 1:
		return Database{text: "off"}, nil
	case fields[0] == "sum.golang.google.cn" && len(fields) == 1: // an alias, as in the go command
		fields = []string{"sum.golang.org", "https://sum.golang.google.cn"}
	}
	d := Database{text: gosumdb, key: fields[0]}
	if name, _, _ := strings.Cut(publicDatabase, "+"); d.key == name {
		d.key = publicDatabase
	}
	v, err := note.NewVerifier(d.key)
	if err != nil {
		return fail("%q is neither a known name nor a verifier key: %w", clip(fields[0]), err)
	}
	d.verifier = v
	if err := checkDatabaseName(v.Name()); err != nil {
		return fail("%w", err)
	}
	if len(fields) == 2 {
		if d.url, err = parseDatabaseURL(fields[1]); err != nil {
			return fail("%w", err)
		}
	}
	return d, nil
}

// checkDatabaseName admits host[/path], as the go command.
func checkDatabaseName(name string) error {
	u, err := url.Parse("https://" + name)
	if err != nil || strings.HasSuffix(name, "/") || u.Host == "" || u.RawPath != "" ||
		*u != (url.URL{Scheme: "https", Host: u.Host, Path: u.Path}) {
		return fmt.Errorf("name %q must be host[/path]", clip(name))
	}
	return nil
}

func parseDatabaseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("its URL is not one")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("URL %s must be http(s)://host[/path]", withoutQuery(u))
	}
	return u, nil
}

// Off reports whether there is no database.
func (d Database) Off() bool { return d.verifier == nil }

// Name returns the name of the database, host[/path]; empty if Off.
func (d Database) Name() string {
	if d.Off() {
		return ""
	}
	return d.verifier.Name()
}

// direct is where the database is asked if no upstream stands in for it.
func (d Database) direct() *url.URL {
	if d.url != nil {
		return d.url
	}
	u, _ := url.Parse("https://" + d.Name()) // was parsed by checkDatabaseName
	return u
}

// String returns the text the database was parsed from.
func (d Database) String() string { return d.text }

// MarshalText returns the text the database was parsed from.
func (d Database) MarshalText() ([]byte, error) { return []byte(d.text), nil }

// UnmarshalText is ParseDatabase.
func (d *Database) UnmarshalText(text []byte) error {
	v, err := ParseDatabase(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}
