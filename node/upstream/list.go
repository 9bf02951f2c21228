package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// List is a parsed GOPROXY list. The zero List is empty and of no use; other
// values come from ParseList or UnmarshalText.
type List struct {
	text    string  // as given
	entries []entry // in order
	end     string  // "direct", "off" or ""
}

// entry is one URL of a list.
type entry struct {
	url *url.URL // http, https or file, without userinfo, query and fragment
	// user is the userinfo of the URL, for https only, else nil.
	user *url.Userinfo
	// onAnyError says that the next entry may be asked whatever went wrong
	// with this one ("|"), not only after 404 and 410 (",").
	onAnyError bool
}

func (e entry) String() string {
	if e.user == nil {
		return e.url.String()
	}
	u := *e.url
	u.User = url.User("xxxxx")
	return u.String()
}

// ParseList parses a GOPROXY list as the go command does (go help goproxy): URLs
// separated by "," or "|"; https:// is added where there is no scheme; "direct"
// and "off" end the list and what follows them is ignored. "off" alone is a list
// that fetches nothing. Errors never show userinfo.
func ParseList(goproxy string) (List, error) {
	l := List{text: goproxy}
	for rest := goproxy; rest != "" && l.end == ""; {
		text, anyError := rest, false
		if i := strings.IndexAny(rest, ",|"); i >= 0 {
			text, anyError, rest = rest[:i], rest[i] == '|', rest[i+1:]
		} else {
			rest = ""
		}
		switch text = strings.TrimSpace(text); text {
		case "":
		case "direct", "off":
			l.end = text
		default:
			e, err := parseEntry(text)
			if err != nil {
				return List{}, fmt.Errorf("upstream list, entry %d: %w", len(l.entries)+1, err)
			}
			e.onAnyError = anyError
			l.entries = append(l.entries, e)
		}
	}
	if len(l.entries) > 0 || l.end == "off" {
		return l, nil
	}
	if l.end == "direct" {
		return List{}, errors.New(`upstream list has only "direct", which is not followed: name at least one GOPROXY URL`)
	}
	return List{}, errors.New("upstream list is empty: name at least one GOPROXY URL")
}

func parseEntry(text string) (entry, error) {
	// As in the go command: words are reserved, absolute paths are refused
	// below, all else without a scheme is a host.
	if strings.ContainsAny(text, ".:/") && !strings.Contains(text, ":/") &&
		!filepath.IsAbs(text) && !path.IsAbs(text) {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return entry{}, errors.New("not a URL") // the parser's error would show userinfo
	}
	e := entry{url: u, user: u.User}
	u.User = nil
	return e, e.check()
}

func (e entry) check() error {
	u := e.url
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return fmt.Errorf("%s: a GOPROXY URL has no query and no fragment", withoutQuery(u))
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" || u.Opaque != "" {
			return fmt.Errorf("%s: no host", u)
		}
		if e.user != nil && u.Scheme != "https" {
			return fmt.Errorf("%s: credentials are only sent over https", u)
		}
	case "file":
		if u.Host != "" || u.Opaque != "" || !path.IsAbs(u.Path) || e.user != nil {
			return fmt.Errorf("%s: a file URL is file:/// and an absolute path", withoutQuery(u))
		}
	case "":
		return fmt.Errorf("%s: no scheme", withoutQuery(u))
	default:
		return fmt.Errorf("scheme %q must be https, http or file", u.Scheme)
	}
	return nil
}

// withoutQuery is u's text without what may be a secret.
func withoutQuery(u *url.URL) string {
	v := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return v.String()
}

// String returns the list in its normal form, with "xxxxx" in place of userinfo.
func (l List) String() string {
	var b strings.Builder
	for i, e := range l.entries {
		b.WriteString(e.String())
		last := i == len(l.entries)-1
		switch {
		case last && l.end == "":
		case e.onAnyError:
			b.WriteByte('|')
		default:
			b.WriteByte(',')
		}
	}
	return b.String() + l.end
}

// EndsInDirect reports whether the list ends in "direct", which a Client does
// not follow: what no URL of the list has is not found.
func (l List) EndsInDirect() bool { return l.end == "direct" }

// EndsInOff reports whether the list ends in "off".
func (l List) EndsInOff() bool { return l.end == "off" }

// HasCredentials reports whether a URL of the list carries userinfo. Such a list
// must not be recorded.
func (l List) HasCredentials() bool {
	for _, e := range l.entries {
		if e.user != nil {
			return true
		}
	}
	return false
}

// MarshalText returns the text the list was parsed from. It is an error if the
// list has credentials: secrets never enter a record.
func (l List) MarshalText() ([]byte, error) {
	if l.HasCredentials() {
		return nil, fmt.Errorf("upstream list %s carries credentials, which may not be recorded", l)
	}
	return []byte(l.text), nil
}

// UnmarshalText is ParseList.
func (l *List) UnmarshalText(text []byte) error {
	v, err := ParseList(string(text))
	if err != nil {
		return err
	}
	*l = v
	return nil
}
