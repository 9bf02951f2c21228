package httpapi

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

const (
	// maxStated bounds the JSON about one version of several, in bytes.
	maxStated = 4 << 10
	// maxForm bounds a form of several versions, in bytes.
	maxForm = node.MaxPublications * (maxZip + maxStated + 2*partHeader)
)

// stated is what a form says of a version that is to be published.
type stated struct {
	Module  string    `json:"module"`
	Version string    `json:"version"`
	H1      events.H1 `json:"h1"`   // zero if unknown
	Time    time.Time `json:"time"` // of the commit; zero if there is none
}

// publishAll puts the versions of a form into a repository, all or none. For each
// it has a part version, which is JSON, and after that a part zip. 201, or 200 if
// all were there with the same content, or 202 if they are decided and not yet
// wherever they were asked to be.
func (s *Server) publishAll(c echo.Context) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	w.kind = kindPublish
	name, err := repoParam(c)
	if err != nil {
		return err
	}
	if info, err := s.node.Repo(w.who, name); err == nil {
		w.repo = repoKindOf(info.Kind)
	}
	params, err := query(c, "sites", "timeout")
	if err != nil {
		return err
	}
	ack, err := s.parseAcknowledgement(params["sites"], params["timeout"])
	if err != nil {
		return err
	}
	f, err := formOf(w, r, maxForm, "what is to be published")
	if err != nil {
		return err
	}
	got, err := s.node.PublishAll(r.Context(), w.who, publications(r.Context(), w, f, name))
	if err != nil {
		return err
	}
	ctx, cancel := w.untilStop(r.Context())
	defer cancel()
	answer, status := s.acknowledgeAll(ctx, got, ack)
	w.Header()[positionHeader] = []string{lastEntry(got).String()}
	return reply(c, status, struct {
		Published []published `json:"published"`
	}{answer})
}

// publications reads the versions of a form, one after the other.
func publications(ctx context.Context, w *writer, f *form, repo events.RepoName) iter.Seq2[node.Publication, error] {
	return func(yield func(node.Publication, error) bool) {
		for {
			p, err := readPublication(f)
			if err == io.EOF {
				return
			}
			if err == nil {
				w.versions = append(w.versions, p.Version)
				p.Repo = repo
				err = w.allowance.publish(ctx)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// readPublication reads a part version and the beginning of the zip after it; io.EOF
// if there is no more.
func readPublication(f *form) (p node.Publication, err error) {
	about, err := f.next(maxStated)
	if err != nil {
		return p, err
	}
	if about.name != "version" {
		return p, fail(node.ErrInvalid, "the form has a part "+quote(about.name)+" where a part version is to be: for each version a part version, with its JSON, and then a part zip")
	}
	text, err := about.text(maxStated)
	if err != nil {
		return p, err
	}
	var v stated
	if err := parseJSON(text, &v); err != nil {
		return p, &node.Error{Kind: node.ErrInvalid, Text: "a part version of the form is not the JSON object that is wanted: " + err.Error(), Err: err}
	}
	if err := v.check(); err != nil {
		return p, err
	}
	p.Version, p.H1, p.Time = module.Version{Path: v.Module, Version: v.Version}, v.H1, v.Time.UTC()
	if v.Time.IsZero() {
		p.Time = time.Time{}
	}
	zip, err := f.next(maxZip)
	if err == io.EOF || err == nil && zip.name != "zip" {
		err = fail(node.ErrInvalid, "the form has no part zip after the part version of "+quote(v.Module+"@"+v.Version))
	}
	p.Zip = zip
	return p, err
}

// check reports what the node does not.
func (v stated) check() error {
	what := quote(v.Module + "@" + v.Version)
	switch {
	case v.Module == "" || v.Version == "":
		return fail(node.ErrInvalid, "a part version of the form names no module or no version")
	case len(v.Version) > maxVersion:
		return fail(node.ErrInvalid, fmt.Sprintf("%s: the version is longer than %d bytes", what, maxVersion))
	case !v.Time.IsZero():
		if err := checkCommitTime(v.Time); err != nil {
			return fail(node.ErrInvalid, what+": the time "+err.Error())
		}
	}
	return nil
}

// acknowledgeAll waits as a says for the sites to hold all of what was published,
// and returns the answers with their status.
func (s *Server) acknowledgeAll(ctx context.Context, ps []node.Published, a acknowledgement) ([]published, int) {
	status := http.StatusOK
	answers := make([]published, len(ps))
	var entries []events.Position
	for i, p := range ps {
		answers[i].Published = p
		switch {
		case p.Pending:
			status = http.StatusAccepted
		case !p.Existed && status == http.StatusOK:
			status = http.StatusCreated
		}
		if !slices.Contains(entries, p.At) {
			entries = append(entries, p.At)
		}
	}
	if a.sites == 0 {
		return answers, status
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	held := map[events.Position]*int{}
	for _, at := range entries {
		have, ok := s.node.WaitSites(ctx, at, a.sites)
		if held[at] = &have; !ok {
			status = http.StatusAccepted
		}
	}
	for i := range answers {
		answers[i].SitesHave = held[answers[i].At]
	}
	return answers, status
}

// lastEntry returns the entry to wait for where all of ps are to be read: the one
// that was appended or, if all were there before, the last one.
func lastEntry(ps []node.Published) (last events.Position) {
	for _, p := range ps {
		if !p.Existed {
			return p.At
		}
		if last.Mark.IsZero() || p.At.Site == last.Site && p.At.Mark.Compare(last.Mark) > 0 {
			last = p.At
		}
	}
	return last
}
