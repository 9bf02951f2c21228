package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"registry-node/events"
)

// BuildTime is how a build info writes when a run started; ParseBuildTime reads other
// forms, too.
const BuildTime = "2006-01-02T15:04:05.000-0700"

// ParseBuildTime returns the time that a build info says, in UTC, in milliseconds.
func ParseBuildTime(s string) (time.Time, error) {
	for _, layout := range []string{BuildTime, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Truncate(time.Millisecond), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.64q is no time like 2006-01-02T15:04:05.000+0000", s)
}

// parseBuildInfo returns what a build info says of itself. All of it must be one JSON
// object; of what is in it, only what is read here is judged: these keys must be
// there, once, and written so.
func parseBuildInfo(info []byte) (b events.BuildRecorded, err error) {
	if !utf8.Valid(info) {
		return b, errors.New("it is not valid UTF-8")
	}
	if !json.Valid(info) {
		return b, errors.New("it is no JSON")
	}
	said := map[string]string{"name": "", "number": "", "started": ""}
	d := json.NewDecoder(bytes.NewReader(info))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return b, errors.New("it is no JSON object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return b, err
		}
		key := t.(string) // the keys of an object are
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return b, err
		}
		old, wanted := said[key]
		if _, looks := said[strings.ToLower(key)]; looks && (!wanted || old != "") {
			return b, fmt.Errorf("the key %q stands twice, or is written otherwise", strings.ToLower(key))
		}
		if !wanted {
			continue
		}
		var text string
		if json.Unmarshal(value, &text) != nil || text == "" {
			return b, fmt.Errorf("its %s is no text, or an empty one", key)
		}
		said[key] = text
	}
	b.Name, b.Number = said["name"], said["number"]
	if b.Name == "" || b.Number == "" || said["started"] == "" {
		return b, errors.New("it lacks a name, a number, or when it started (started)")
	}
	if b.Number == LatestBuild {
		return b, fmt.Errorf("the number of a build can't be %s, which stands for the last one", LatestBuild)
	}
	if b.Started, err = ParseBuildTime(said["started"]); err != nil {
		return b, fmt.Errorf("started: %w", err)
	}
	return b, nil
}
