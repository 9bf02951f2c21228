package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
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
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-ctx.Done():
		return Fetched{}, ctx.Err()
	}
	if err := l.flush(ctx); err != nil {
		return Fetched{}, err
	}
	days, err := l.days()
	if err != nil {
		return Fetched{}, fmt.Errorf("access log: %w", err)
	}
	f := &finder{query: q, result: Fetched{Fetches: []Access{}, From: q.Since}}
	f.word()
	if len(days) > 0 {
		if first, err := time.Parse(accessFile, days[0]); err == nil && first.After(q.Since) {
			f.result.From = first
		}
	}
	for _, day := range slices.Backward(days) {
		if day < q.Since.UTC().Format(accessFile) || f.result.More {
			break
		}
		if err := f.file(ctx, l, day); err != nil {
			return Fetched{}, fmt.Errorf("access log: %s: %w", day, err)
		}
	}
	return f.result, nil
}

// finder goes through files, newest first.
type finder struct {
	query  AccessQuery
	part   []byte // what each line that answers contains; empty if that is not known
	result Fetched
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

// file adds what a day's file has, as long as there is room.
func (f *finder) file(ctx context.Context, l *AccessLog, day string) error {
	file, err := l.root.Open(day + accessSuffix)
	if errors.Is(err, fs.ErrNotExist) { // too old by now
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	room := f.query.Limit - len(f.result.Fetches)
	var newest []Access // a ring of room lines and one more
	lines := bufio.NewReaderSize(file, accessBuffer)
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue // none that this program wrote
		}
		if errors.Is(err, io.EOF) { // a line without an end is being written
			break
		}
		if err != nil {
			return err
		}
		if a, ok := f.match(line); ok {
			if newest = append(newest, a); len(newest) > 2*room+1 {
				newest = append(newest[:0], newest[len(newest)-room-1:]...)
			}
		}
	}
	if extra := len(newest) - room; extra > 0 {
		newest, f.result.More = newest[extra:], true
	}
	slices.SortStableFunc(newest, func(a, b Access) int { return b.Time.Compare(a.Time) })
	f.result.Fetches = append(f.result.Fetches, newest...)
	return nil
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
		f.result.Dropped += a.Dropped
		return a, false
	}
	return a, (a.Status < 400 || f.query.Refused) && f.query.Versions.Match(module.Version{Path: a.Module, Version: a.Version})
}
