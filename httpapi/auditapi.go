package httpapi

import (
	"cmp"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// Bounds of what is answered from the audit log, but for an export.
const (
	auditSince = 30 * 24 * time.Hour
	auditLimit = 1000
	auditMost  = 10_000
	maxExports = 4 // at a time
)

// listAudit answers from the audit log of this node who changed what, newest
// first; or, where JSON lines are wanted, exports all of it that was asked for,
// oldest first.
func (s *Server) listAudit(c echo.Context) error {
	if err := s.node.MayAudit(caller(c)); err != nil {
		return err
	}
	q, export, err := auditParams(c, time.Now())
	if err != nil {
		return err
	}
	if s.audit == nil {
		return fail(node.ErrNotFound, "this node keeps no audit log")
	}
	s.metrics.auditReads.Inc()
	if export {
		return s.exportAudit(c, q)
	}
	found, err := s.audit.Find(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, found)
}

func (s *Server) exportAudit(c echo.Context, q AuditQuery) error {
	select {
	case s.exports <- struct{}{}:
		defer func() { <-s.exports }()
	default:
		return fail(node.ErrUnavailable, "as many exports of the audit log as may be are under way; try again when one is done")
	}
	w, r := c.Response().Writer.(*writer), c.Request()
	h := w.Header()
	h["Content-Type"] = typeLines
	h["Cache-Control"] = cacheNever
	if r.Method == http.MethodHead {
		return nil
	}
	return s.audit.Export(r.Context(), q, w)
}

func auditParams(c echo.Context, now time.Time) (q AuditQuery, export bool, err error) {
	p, err := query(c, "since", "until", "actor", "token", "action", "outcome", "client", "repository", "module", "limit", "format")
	if err != nil {
		return q, false, err
	}
	q = AuditQuery{Actor: p["actor"], Token: p["token"], Action: p["action"], Outcome: p["outcome"], Repo: p["repository"]}
	if q.Since, err = auditTime("since", p["since"], now, now.Add(-auditSince)); err != nil {
		return q, false, err
	}
	if q.Until, err = auditTime("until", p["until"], now, time.Time{}); err != nil {
		return q, false, err
	}
	if q.Client, err = auditClient(p["client"]); err != nil {
		return q, false, err
	}
	if p["module"] != "" {
		if q.Module, err = events.ParsePattern(p["module"]); err != nil {
			return q, false, invalid(err)
		}
	}
	switch q.Outcome {
	case "", outcomeDone, outcomeRefused, outcomeFailed:
	default:
		return q, false, fail(node.ErrInvalid, "the parameter outcome is "+quote(q.Outcome)+", none of done, refused, failed")
	}
	if export, err = wantsLines(p["format"], c.Request()); err != nil {
		return q, false, err
	}
	if export && p["limit"] != "" {
		return q, false, fail(node.ErrInvalid, "an export has all that was asked for; the parameter limit is for the list of the newest")
	}
	q.Limit, err = strconv.Atoi(cmp.Or(p["limit"], strconv.Itoa(auditLimit)))
	if err != nil || q.Limit < 1 || q.Limit > auditMost {
		return q, false, fail(node.ErrInvalid, "the parameter limit is "+quote(p["limit"])+", not a number from 1 to "+strconv.Itoa(auditMost))
	}
	return q, export, nil
}

// wantsLines reports whether a request is for an export.
func wantsLines(format string, r *http.Request) (bool, error) {
	switch format {
	case "ndjson":
		return true, nil
	case "json":
		return false, nil
	case "":
	default:
		return false, fail(node.ErrInvalid, "the parameter format is "+quote(format)+", neither json nor ndjson")
	}
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if kind, _, err := mime.ParseMediaType(part); err == nil && kind == typeLines[0] {
			return true, nil
		}
	}
	return false, nil
}

// auditTime parses a time, or how long ago it was.
func auditTime(name, s string, now, otherwise time.Time) (time.Time, error) {
	if s == "" {
		return otherwise, nil
	}
	if t, err := time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+")); err == nil { // a + that was not escaped
		return t, nil
	}
	span, err := events.ParseSpan(s)
	if err != nil {
		return otherwise, fail(node.ErrInvalid, "the parameter "+name+" is "+quote(s)+", neither a span like 12h or 30d nor a time like 2006-01-02T15:04:05Z")
	}
	return now.Add(-span.Or(0)), nil
}

// auditClient parses an address, or a prefix of addresses.
func auditClient(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fail(node.ErrInvalid, "the parameter client is "+quote(s)+", neither an address nor a prefix like 10.1.0.0/16")
	}
	return p.Masked(), nil
}
