package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// AccessQuery is a question to an access log.
type AccessQuery struct {
	Versions events.VersionPattern
	Since    time.Time
	Refused  bool // also who asked and was not given it
	Limit    int  // how many lines are returned at most: the newest
}

// Fetched says who was given files of some versions, as far as the access log of
// a node goes.
type Fetched struct {
	Fetches []Access  `json:"fetches"`        // newest first
	More    bool      `json:"more,omitempty"` // there are older ones
	From    time.Time `json:"from"`           // what was asked for before this is not known
	// Dropped is how many lines of the time that was asked for are missing, of
	// whichever modules.
	Dropped int64 `json:"dropped,omitempty"`
}

// Find answers a question. It reads the files of the days in question, so there
// is one at a time, and the others wait.
func (l *AccessLog) Find(ctx context.Context, q AccessQuery) (Fetched, error) {
	f := &finder{query: q}
	f.word()
	found, more, from, err := l.log.newest(ctx, period{since: q.Since}, q.Limit, f.match, func(a Access) time.Time { return a.Time })
	if err != nil {
		return Fetched{}, err
	}
	return Fetched{Fetches: some(found), More: more, From: from, Dropped: f.dropped}, nil
}

// finder looks at lines.
type finder struct {
	query   AccessQuery
	part    []byte // what each line that answers contains; empty if that is not known
	dropped int64
}

// word finds a part that every line in question has.
func (f *finder) word() {
	if mv, exact := f.query.Versions.Exact(); exact {
		path, err := json.Marshal(mv.Path)
		if err == nil {
			f.part = append([]byte(`"module":`), path...)
		}
	}
}

// match returns the line if it answers the question.
func (f *finder) match(line []byte) (a Access, ok bool) {
	gap := bytes.Contains(line, []byte(`"dropped":`))
	if !gap && !bytes.Contains(line, f.part) {
		return a, false
	}
	if json.Unmarshal(line, &a) != nil || a.Time.Before(f.query.Since) { // a crash may have cut it
		return a, false
	}
	if a.Dropped > 0 {
		f.dropped += a.Dropped
		return a, false
	}
	return a, (a.Status < 400 || f.query.Refused) && f.query.Versions.Match(module.Version{Path: a.Module, Version: a.Version})
}
