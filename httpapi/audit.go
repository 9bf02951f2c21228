package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"registry-node/node"
)

// Audit is a line of the audit log: one thing that somebody asked a node to do,
// and what came of it. It holds no secret: of a token its id, of a request no body
// and no header.
type Audit struct {
	Time time.Time `json:"time"` // when it was over
	// Request is an id that the answer has, too (RequestHeader). A site that asks
	// another to decide hands it on.
	Request string `json:"request,omitempty"`
	Action  string `json:"action"`  // see actions, and node.AuditEvent
	Outcome string `json:"outcome"` // done, refused, failed
	Status  int    `json:"status"`  // of HTTP
	Code    string `json:"code,omitempty"`
	Actor   string `json:"actor,omitempty"` // as events name who did it
	Token   string `json:"token,omitempty"` // id
	Client  string `json:"client,omitempty"`
	Site    string `json:"site"`           // that was asked
	Node    string `json:"node,omitempty"` // the address at which it was
	Via     string `json:"via,omitempty"`  // the site that handed it on

	Repo    string `json:"repository,omitempty"`
	Module  string `json:"module,omitempty"`
	Version string `json:"version,omitempty"`
	Name    string `json:"name,omitempty"`   // of what else it is about
	Reason  string `json:"reason,omitempty"` // as the actor gave it
	// Position is the entry of a site's log that says what was done, if one was
	// appended: site/epoch/entry.
	Position string `json:"position,omitempty"`
	// Count says of how many requests, of one address and refused within about a
	// second, this is the last; none stands for 1. See auditSums.
	Count int64 `json:"count,omitempty"`

	// Dropped says how many lines are missing at this place; such a line has
	// nothing but this and the time.
	Dropped int64 `json:"dropped,omitempty"`
}

// The outcomes of an Audit.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused" // the answer is 4xx: it may not be, or can't be
	outcomeFailed  = "failed"  // the answer is 5xx, or was cut
)

// RequestHeader is the header of an answer that has the id of the request, where
// that is in the audit log.
const RequestHeader = "Registry-Request"

const auditDays = 400

// auditRefused bounds the bytes of lines in a day of what was refused or failed.
const auditRefused = 64 << 20

// AuditConfig says what an AuditLog keeps. Dir is required.
type AuditConfig struct {
	// Dir holds a file for each day (UTC), YYYY-MM-DD.ndjson. It is made with mode
	// 0700 if it is not there, the files with 0600.
	Dir string
	// Days is for how many days files are kept, today included; default 400.
	Days int
	// Logger gets failures. Nil discards them.
	Logger *slog.Logger
}

// AuditLog writes down who changed what, and who tried to. A line of something
// that was done is never dropped: it is written and synced within a second, also
// if the disk has no room for other things. Those of what was refused or failed
// may be, if they come faster than the disk takes them, and beyond auditRefused in
// a day; they are counted, in the metrics and in the log itself. All methods work on nil, which is a log that
// keeps nothing.
type AuditLog struct {
	log  *dailyLog[Audit]
	sums auditSums
}

// NewAuditLog returns a log that takes lines, and keeps them in memory until Open.
func NewAuditLog(cfg AuditConfig) *AuditLog {
	l := &AuditLog{}
	l.log = newDailyLog(dailyConfig[Audit]{
		what: "audit log", dir: cfg.Dir, days: cmp.Or(cfg.Days, auditDays), sync: true, logger: cfg.Logger,
		encode: appendAudit, late: l.sums.due, perDay: auditRefused,
	})
	return l
}

// Open opens the log in its directory and removes the files that are too old. full
// reports why the disk has no room for lines that may be dropped, if so; nil: it
// always has. Close it after the last request, and after the node.
func (l *AuditLog) Open(full func() error) error {
	if l == nil {
		return nil
	}
	l.log.cfg.full = full
	return l.log.open()
}

// Close writes what is left, syncs it and closes the files.
func (l *AuditLog) Close() error {
	if l == nil {
		return nil
	}
	return l.log.close()
}

// note keeps a line. One of something that was done, or of which an entry says
// that it was, is not dropped.
func (l *AuditLog) note(a Audit) {
	if l == nil {
		return
	}
	a.Time = time.Now().UTC()
	l.log.note(a.cleaned(), a.Outcome == outcomeDone || a.Position != "")
}

// written returns how many lines were written.
func (l *AuditLog) written() float64 {
	if l == nil {
		return 0
	}
	return float64(l.log.written.Load())
}

// lost returns how many lines were dropped.
func (l *AuditLog) lost() float64 {
	if l == nil {
		return 0
	}
	return float64(l.log.dropped.Load())
}

// Event keeps a line of what a node did that no request of its own asked for; see
// node.Options.
func (l *AuditLog) Event(e node.AuditEvent) {
	a := Audit{
		Request: e.Request, Action: e.Action, Actor: e.Actor, Token: e.Token, Site: e.Site.String(), Via: e.Via.String(),
		Repo: e.Repo, Module: e.Module, Version: e.Version, Name: e.Name, Reason: e.Reason, Status: http.StatusOK,
	}
	if e.Err != nil {
		f := failureOf(context.Background(), e.Err, false)
		a.Status, a.Code = f.status, f.code
	}
	if !e.Position.Mark.IsZero() {
		a.Position = e.Position.String()
	}
	a.Outcome = outcomeOf(a.Status)
	l.note(a)
}

func outcomeOf(status int) string {
	switch {
	case status < 400:
		return outcomeDone
	case status < 499: // statusCanceled is nobody's refusal
		return outcomeRefused
	}
	return outcomeFailed
}

// appendAudit appends a line.
func appendAudit(b []byte, a Audit) []byte {
	line, err := json.Marshal(a)
	if err != nil {
		panic(err) // its types always can be
	}
	return append(append(b, line...), '\n')
}
