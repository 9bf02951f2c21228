package upstream

import (
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// SetMaxZip lowers the size limit of zips.
func (c *Client) SetMaxZip(n int64) { c.maxZip = n }

// Parsers and rules for tests from outside.
var (
	ParseVersions  = parseList
	ParseQueryInfo = parseInfo
	Fold           = fold
)

// SetClock makes c take the time from now, before its first request.
func (c *Client) SetClock(now func() time.Time) { c.breakers.now = now }

// HeadSize returns the size of the pinned head.
func (s *Sumdb) HeadSize() int64 { return s.head.Load().tree.N }

// StoreTile stores a tile as one that was verified.
func (s *Sumdb) StoreTile(t tlog.Tile, data []byte, mend bool) error {
	return s.storeTile(t, data, mend)
}
