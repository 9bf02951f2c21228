package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

const storagePrefix = artifactoryPrefix + "api/storage/"

// storedItem is a file as an Artifactory tells of it.
type storedItem struct {
	Repo         string   `json:"repo"`
	Path         string   `json:"path"`
	Created      string   `json:"created"`
	CreatedBy    string   `json:"createdBy,omitempty"`
	LastModified string   `json:"lastModified"`
	ModifiedBy   string   `json:"modifiedBy,omitempty"`
	LastUpdated  string   `json:"lastUpdated"`
	DownloadURI  string   `json:"downloadUri"`
	MimeType     string   `json:"mimeType"`
	Size         int64    `json:"size,string"` // bytes
	Checksums    itemSums `json:"checksums"`
	Original     itemSums `json:"originalChecksums"`
	URI          string   `json:"uri"`
}

// itemProperties are the properties of a file as an Artifactory tells of them.
type itemProperties struct {
	URI        string              `json:"uri"`
	Properties map[string][]string `json:"properties"`
}

// noProperties is the text that clients look for.
const noProperties = "No properties could be found."

// showItem tells of a file, or of its properties, or of a folder.
func (s *Server) showItem(c echo.Context) error {
	r := c.Request()
	ask, err := storageQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	l, err := storedAt(r)
	if err == nil && !isModuleFile(l.path) {
		return s.showFolder(c, l, ask)
	}
	var f moduleFile
	if err == nil {
		f, err = l.file()
	}
	if err == nil {
		err = events.CheckVersion(f.version)
	}
	if err != nil { // there can be no such file
		return &node.Error{Kind: node.ErrNotFound, Text: err.Error(), Err: err}
	}
	repo, err := s.repository(c.Response().Writer.(*writer), f.repo.String())
	if err != nil {
		return err
	}
	i, err := repo.Item(r.Context(), f.version, f.kind)
	if err != nil {
		return err
	}
	path := "/" + i.Dir() + "/" + i.Name()
	base, key := s.artifactoryBase(r), i.Repo.String()
	uri := base + "api/storage/" + key + path
	if ask.properties {
		return replyProperties(c, uri, i.Properties, ask.value)
	}
	sums, err := itemSumsOf(r.Context(), i)
	if err != nil {
		return err
	}
	created := formatTime(i.Created)
	return replyAs(c, http.StatusOK, typePlainJSON, storedItem{
		Repo: key, Path: path, Created: created, CreatedBy: i.CreatedBy, LastModified: created, ModifiedBy: i.CreatedBy, LastUpdated: created,
		DownloadURI: base + key + path, MimeType: mimeTypes[i.File], Size: i.Size, Checksums: sums, Original: sums, URI: uri,
	})
}

// replyProperties tells of the properties that are wanted: all if none is named.
func replyProperties(c echo.Context, uri string, all map[string][]string, wanted string) error {
	shown := all
	if wanted != "" {
		names, err := propertyNames(wanted)
		if err != nil {
			return err
		}
		shown = map[string][]string{}
		for _, name := range names {
			if values, ok := all[name]; ok {
				shown[name] = values
			}
		}
	}
	if len(shown) == 0 {
		return fail(node.ErrNotFound, noProperties)
	}
	return replyAs(c, http.StatusOK, typePlainJSON, itemProperties{uri, shown})
}

// setProperties gives a file properties in place of what it has under their names.
func (s *Server) setProperties(c echo.Context) error {
	return s.changeProperties(c, func(raw string, change *node.PropertyChange) (err error) {
		change.Set, err = parseProperties(raw)
		return err
	})
}

// removeProperties takes properties from a file.
func (s *Server) removeProperties(c echo.Context) error {
	return s.changeProperties(c, func(raw string, change *node.PropertyChange) (err error) {
		change.Remove, err = propertyNames(raw)
		return err
	})
}

func (s *Server) changeProperties(c echo.Context, say func(raw string, change *node.PropertyChange) error) error {
	r := c.Request()
	l, err := storedAt(r)
	if err != nil {
		return err
	}
	f, err := l.file()
	if err != nil {
		return err
	}
	a := auditOf(c)
	a.Repo, a.Name = f.repo.String(), f.kind
	a.about(f.version)
	ask, err := storageQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if ask.value == "" {
		return fail(node.ErrInvalid, "the URL names no properties: ?properties=name=value;name=value, to remove them ?properties=name,name")
	}
	change := node.PropertyChange{Repo: f.repo, Version: f.version, File: f.kind}
	if err := say(ask.value, &change); err != nil {
		return err
	}
	if err := s.node.SetProperties(r.Context(), caller(c), change); err != nil {
		return err
	}
	return noContent(c)
}

// storedAt returns what the path of a request names.
func storedAt(r *http.Request) (location, error) {
	l, err := parseLocation(strings.TrimPrefix(r.URL.EscapedPath(), storagePrefix))
	if err != nil {
		return l, invalid(err)
	}
	return l, nil
}

// storageAsk is what a query wants to know.
type storageAsk struct {
	properties bool
	value      string // of the parameter properties, escaped
	list, deep bool   // the files in a folder, and in those below it
}

// storageQuery parses a query. It does so itself: there are semicolons in it that are
// not escaped, for which net/url drops what they stand in. What is known and not listed
// here (recursive) changes nothing, as only files have properties.
func storageQuery(raw string) (ask storageAsk, err error) {
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "":
		case "properties":
			if ask.properties {
				return ask, fail(node.ErrInvalid, "the parameter properties is given more than once")
			}
			ask.properties, ask.value = true, value
		case "list":
			ask.list = true
		case "deep":
			ask.deep = value == "1"
		case "recursive", "recursiveProperties", "atomicProperties":
		default:
			return ask, fail(node.ErrInvalid, "the parameter "+quote(name)+" is not known here: properties is, and of folders list and deep")
		}
	}
	return ask, nil
}

// parseProperties parses name=value;name=value, where | separates as ; does. Names
// and values are form-escaped, by some clients all of it at once.
func parseProperties(raw string) (map[string][]string, error) {
	parts := splitRaw(raw, `\`, "%5c")
	if !strings.Contains(raw, "=") {
		text, err := url.QueryUnescape(raw)
		if err != nil {
			return nil, fail(node.ErrInvalid, fmt.Sprintf("the properties %s are not escaped as in a URL", quote(raw)))
		}
		parts = splitRaw(text, `\`)
		for i, p := range parts {
			name, value, _ := strings.Cut(p, "=")
			parts[i] = url.QueryEscape(name) + "=" + url.QueryEscape(value)
		}
	}
	m, err := parseMatrix(parts)
	if err != nil {
		return nil, invalid(err)
	}
	return m, nil
}

// splitRaw splits s at each ; and | before which there is none of these escapes.
func splitRaw(s string, escapes ...string) (parts []string) {
	begin := 0
	for i := range len(s) {
		if s[i] != ';' && s[i] != '|' {
			continue
		}
		escaped := false
		for _, e := range escapes {
			escaped = escaped || strings.HasSuffix(strings.ToLower(s[begin:i]), e)
		}
		if !escaped {
			parts, begin = append(parts, s[begin:i]), i+1
		}
	}
	return append(parts, s[begin:])
}

// propertyNames parses name,name.
func propertyNames(raw string) ([]string, error) {
	text, err := url.QueryUnescape(raw)
	if err != nil {
		return nil, fail(node.ErrInvalid, fmt.Sprintf("the properties %s are not escaped as in a URL", quote(raw)))
	}
	var names []string
	for _, name := range splitValues(text) {
		if name, err = checkProperty(name, ""); err != nil {
			return nil, invalid(err)
		}
		names = append(names, name)
	}
	if len(names) > maxProperties {
		return nil, fail(node.ErrInvalid, fmt.Sprintf("there are more than %d properties", maxProperties))
	}
	return names, nil
}
