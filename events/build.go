package events

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
)

// BuildName names the runs of a build: those of one number, or with an empty
// number all of them.
type BuildName struct {
	Project string `json:"project,omitempty"` // like the name of a repository; empty: of none
	Name    string `json:"name"`
	Number  string `json:"number"`
}

// BuildRecorded states that a run of a build told what it took and made: its build
// info, a blob of JSON. It contradicts nothing, so any member may state it. Runs
// with the same name and number are told apart by when they started.
type BuildRecorded struct {
	always
	BuildName
	Started time.Time `json:"started"` // UTC, as the build says
	Info    Blob      `json:"info"`
	Actor   string    `json:"actor,omitempty"`
}

// BuildDeleted ends the runs that sites recorded under a name and number up to
// places in their logs. Decided by the registry's home.
type BuildDeleted struct {
	always
	BuildName
	Clears []Cleared `json:"clears"`
	Actor  string    `json:"actor,omitempty"`
}

// Type returns "build.recorded".
func (BuildRecorded) Type() Type { return "build.recorded" }

// Type returns "build.deleted".
func (BuildDeleted) Type() Type { return "build.deleted" }

// Key returns the record of the runs of that name and number.
func (b BuildRecorded) Key(EventID) Key { return KeyBuild(b.BuildName) }

// Key returns the record of the runs of that name and number.
func (b BuildDeleted) Key(EventID) Key { return KeyBuild(b.BuildName) }

const maxBuildName = 255 // bytes

// Check reports why a build can't be called so.
func (n BuildName) Check() error {
	if err := n.CheckProject(); err != nil {
		return err
	}
	return errors.Join(checkBuildText("name", n.Name), checkBuildText("number", n.Number))
}

// CheckProject reports what is wrong with the project, which may be none.
func (n BuildName) CheckProject() error {
	if n.Project == "" {
		return nil
	}
	if err := checkName(n.Project); err != nil {
		return fmt.Errorf("project %w", err)
	}
	return nil
}

func checkBuildText(what, s string) error {
	if s == "" || len(s) > maxBuildName {
		return fmt.Errorf("the %s of a build is empty or longer than %d bytes", what, maxBuildName)
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return fmt.Errorf("the %s of a build has the character %q", what, r)
		}
	}
	return nil
}

func (b BuildRecorded) check() error {
	if b.Started.IsZero() {
		return errors.New("a build needs the time at which it started")
	}
	return errors.Join(b.BuildName.Check(), checkUTC("started", b.Started), b.Info.check(), checkText("actor", b.Actor))
}

func (b BuildDeleted) check() error {
	return errors.Join(b.BuildName.Check(), checkClears(b.Clears), checkText("actor", b.Actor))
}

// Build is a run of a build as a reader sees it.
type Build struct {
	BuildName
	Started time.Time
	Info    Blob
	Actor   string
	Event   EventID   // that recorded it
	Time    time.Time // of that event
}

// ResolveBuilds resolves the record of the runs of one name and number: those that
// were not deleted, by when they started. Of several that say they started at the
// same time, the one recorded last is it.
func (d *Directory) ResolveBuilds(cs Contributions) []Build {
	cleared := map[Site]Mark{}
	for _, f := range d.byRegistry(cs) {
		if b, ok := f.Body.(BuildDeleted); ok {
			for _, c := range b.Clears {
				if c.At.Compare(cleared[c.Site]) > 0 {
					cleared[c.Site] = c.At
				}
			}
		}
	}
	var list []Build
	for site, f := range d.byMembers(cs) {
		if b, ok := f.Body.(BuildRecorded); ok && f.Mark.Compare(cleared[site]) > 0 {
			list = append(list, Build{b.BuildName, b.Started, b.Info, b.Actor, EventID{site, f.Mark, f.Index}, f.Time})
		}
	}
	slices.SortFunc(list, func(a, b Build) int {
		return cmp.Or(a.Started.Compare(b.Started), b.Time.Compare(a.Time), b.Event.Compare(a.Event))
	})
	return slices.CompactFunc(list, func(a, b Build) bool { return a.Started.Equal(b.Started) })
}
