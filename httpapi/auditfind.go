package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"time"

	"registry-node/events"
)

// AuditQuery is a question to an audit log. What is zero does not limit.
type AuditQuery struct {
	Since, Until time.Time
	Actor, Token string
	Action       string // as "block", or "repo.*" for all that begin so
	Outcome      string
	Client       netip.Prefix
	Repo         string
	Module       events.Pattern
	Limit        int // how many lines are returned at most: the newest
}

// Audited is what an audit log says.
type Audited struct {
	Lines []Audit   `json:"lines"`          // newest first
	More  bool      `json:"more,omitempty"` // there are older ones
	From  time.Time `json:"from"`           // what was before this is not known
	// Dropped is how many lines of the time that was asked for are missing, all of
	// what was refused or failed.
	Dropped int64 `json:"dropped,omitempty"`
}

// Find answers a question. It reads the files of the days in question, so there
// is one at a time, and the others wait.
func (l *AuditLog) Find(ctx context.Context, q AuditQuery) (Audited, error) {
	f := newAuditFinder(q)
	found, more, from, err := l.log.newest(ctx, f.period, q.Limit, f.match, func(a Audit) time.Time { return a.Time })
	if err != nil {
		return Audited{}, err
	}
	return Audited{Lines: some(found), More: more, From: from, Dropped: f.dropped}, nil
}

// Export writes the lines that answer a question to w, as they stand in the files,
// oldest first, whatever the limit.
func (l *AuditLog) Export(ctx context.Context, q AuditQuery, w io.Writer) error {
	f := newAuditFinder(q)
	days, err := l.daysOf(ctx, f.period)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 32<<10)
	for _, day := range days {
		err := l.log.lines(ctx, day, func(line []byte) error {
			if _, ok := f.match(line); !ok {
				return nil
			}
			out.Write(line) // Flush tells
			return out.WriteByte('\n')
		})
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

// daysOf returns the days in a period. An export holds up nobody who comes after
// it: it may take as long as its client likes.
func (l *AuditLog) daysOf(ctx context.Context, p period) (days []string, err error) {
	_, err = l.log.read(ctx, p, func(in []string) error {
		days = in
		return nil
	})
	return days, err
}

// auditFinder looks at lines.
type auditFinder struct {
	query   AuditQuery
	period  period
	parts   [][]byte // what each line that answers contains
	dropped int64
}

func newAuditFinder(q AuditQuery) *auditFinder {
	f := &auditFinder{query: q, period: period{q.Since, q.Until}}
	for key, text := range map[string]string{"actor": q.Actor, "token": q.Token, "outcome": q.Outcome, "repository": q.Repo} {
		if text != "" {
			quoted, _ := json.Marshal(text) // a string
			f.parts = append(f.parts, append([]byte(`"`+key+`":`), quoted...))
		}
	}
	return f
}

// match returns the line if it answers the question.
func (f *auditFinder) match(line []byte) (a Audit, ok bool) {
	gap := bytes.Contains(line, []byte(`"dropped":`))
	for _, part := range f.parts {
		if !gap && !bytes.Contains(line, part) {
			return a, false
		}
	}
	if json.Unmarshal(line, &a) != nil || !f.period.has(a.Time) { // a crash may have cut it
		return a, false
	}
	if a.Dropped > 0 {
		f.dropped += a.Dropped
		return a, false
	}
	return a, f.query.wants(a)
}

func (q AuditQuery) wants(a Audit) bool {
	same := func(want, is string) bool { return want == "" || want == is }
	return same(q.Actor, a.Actor) && same(q.Token, a.Token) && same(q.Outcome, a.Outcome) && same(q.Repo, a.Repo) &&
		q.wantsAction(a.Action) && q.wantsClient(a.Client) && (q.Module == events.Pattern{} || a.Module != "" && q.Module.Match(a.Module))
}

func (q AuditQuery) wantsAction(action string) bool {
	if family, ok := strings.CutSuffix(q.Action, "*"); ok {
		return strings.HasPrefix(action, family)
	}
	return q.Action == "" || q.Action == action
}

func (q AuditQuery) wantsClient(client string) bool {
	if !q.Client.IsValid() {
		return true
	}
	addr, err := netip.ParseAddr(client)
	return err == nil && q.Client.Contains(addr.Unmap())
}
