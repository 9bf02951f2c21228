package httpapi

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

// routeItems adds the routes about files, their properties, and builds.
func (s *Server) routeItems(e *echo.Echo) {
	e.POST("/artifactory/api/search/aql", s.searchItems)
	get(e, "/artifactory/api/storage/*", s.showItem)
	e.PUT("/artifactory/api/storage/*", s.setProperties)
	e.DELETE("/artifactory/api/storage/*", s.removeProperties)
	e.PUT("/artifactory/api/build", s.recordBuild)
	get(e, "/artifactory/api/build", s.listBuilds)
	get(e, "/artifactory/api/build/*", s.showBuild)
	e.POST("/artifactory/api/build/delete", s.deleteBuilds)
	e.POST("/artifactory/api/build/retention/*", s.discardBuilds)
}

func formatTime(t time.Time) string { return t.UTC().Format(artifactoryTime) }

// itemSums are the checksums of an item in hex, as JSON has them; those that are not
// known here are left out.
type itemSums struct {
	SHA1   string `json:"sha1,omitempty"`
	MD5    string `json:"md5,omitempty"`
	SHA256 string `json:"sha256"`
}

func itemSumsOf(ctx context.Context, i node.Item) (itemSums, error) {
	s, ok, err := i.Sums(ctx)
	if err != nil || !ok {
		return itemSums{SHA256: i.SHA256().Hex()}, err
	}
	return itemSums{hex.EncodeToString(s.SHA1[:]), hex.EncodeToString(s.MD5[:]), s.SHA256.Hex()}, nil
}
