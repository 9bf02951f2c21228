package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// storedFolder is a folder as an Artifactory tells of it. Nothing here knows when one
// was made: there are only paths of modules.
type storedFolder struct {
	Repo     string        `json:"repo"`
	Path     string        `json:"path"`
	Children []folderChild `json:"children"`
	URI      string        `json:"uri"`
}

type folderChild struct {
	URI    string `json:"uri"`
	Folder bool   `json:"folder"`
}

// listedFiles are the files in a folder as an Artifactory lists them.
type listedFiles struct {
	URI     string       `json:"uri"`
	Created string       `json:"created"`
	Files   []listedFile `json:"files"`
}

type listedFile struct {
	URI          string `json:"uri"`
	Size         int64  `json:"size"`
	LastModified string `json:"lastModified"`
	Folder       bool   `json:"folder"`
	SHA1         string `json:"sha1,omitempty"`
	SHA256       string `json:"sha2"`
}

// showFolder tells what lies in a folder, or lists the files in it. As a search it has
// a bound of time, and a place that is given back.
func (s *Server) showFolder(c echo.Context, l location, ask storageAsk) error {
	r := c.Request()
	repo, err := s.repository(c.Response().Writer.(*writer), l.repo)
	if err != nil {
		return err
	}
	if ask.properties {
		return fail(node.ErrNotFound, noProperties) // folders have none
	}
	done, err := s.searches.take(c, "searches")
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(r.Context(), searchTime)
	defer cancel()
	folder := storedFolder{Repo: l.repo, Path: "/" + l.path, URI: s.artifactoryBase(r) + "api/storage/" + strings.TrimSuffix(l.repo+"/"+l.path, "/"), Children: []folderChild{}}
	if ask.list {
		list, err := s.listFolder(ctx, c, l, ask.deep)
		if err != nil {
			return err
		}
		return replyAs(c, http.StatusOK, typePlainJSON, listedFiles{folder.URI, formatTime(time.Now()), list})
	}
	entries, err := repo.Folder(ctx, l.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		folder.Children = append(folder.Children, folderChild{"/" + e.Name, e.Folder})
	}
	return replyAs(c, http.StatusOK, typePlainJSON, folder)
}

// listFolder returns the files in a folder, with deep also those in folders below it.
func (s *Server) listFolder(ctx context.Context, c echo.Context, l location, deep bool) ([]listedFile, error) {
	name, err := events.ParseRepoName(l.repo)
	if err != nil {
		return nil, invalid(err)
	}
	prefix, looks, list := l.path, maxLooks, []listedFile{}
	if prefix != "" {
		prefix += "/"
	}
	for i, err := range s.node.Items(ctx, caller(c), node.ItemQuery{Repo: name, Prefix: prefix, Looks: &looks}) {
		if err != nil {
			return nil, err
		}
		if !deep && i.Dir() != l.path {
			continue
		}
		if len(list) == maxFound {
			return nil, fail(node.ErrTooLarge, "there are too many files in this folder for a list; ask for one below it, or search")
		}
		sums, err := itemSumsOf(ctx, i)
		if err != nil {
			return nil, err
		}
		list = append(list, listedFile{
			URI: "/" + strings.TrimPrefix(i.Dir()+"/"+i.Name(), prefix), Size: i.Size, LastModified: formatTime(i.Created), SHA1: sums.SHA1, SHA256: sums.SHA256,
		})
	}
	if len(list) == 0 && deep && l.path != "" {
		return nil, fail(node.ErrNotFound, "there is nothing in "+quote(l.path)+" of repository "+l.repo+" that you may read")
	}
	return list, nil
}
