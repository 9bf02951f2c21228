package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// send uploads what was packed: one version by the request for one, which is refused
// for its name before the zip is sent.
func (f *publishFlags) send(ctx context.Context, c *client, repo events.RepoName, packs packedList, stderr io.Writer) (done publications, err error) {
	var size int64
	for _, p := range packs {
		size += p.size
	}
	show := byteProgress(stderr, size)
	defer show.end()
	if len(packs) > 1 {
		if done, err = c.publishAll(ctx, repo, packs, f.acknowledgement(), show); err != nil {
			return nil, err
		}
	} else {
		one, err := c.publish(ctx, repo, packs[0], f.acknowledgement(), show)
		if err != nil {
			return nil, err
		}
		done = publications{one}
	}
	for i := range done {
		done[i].Warnings = packs[i].warnings
	}
	return done, nil
}

// publish uploads a packed module. The query says what sites to wait for.
func (c *client) publish(ctx context.Context, repo events.RepoName, p *packed, query url.Values, show *progress) (done publication, err error) {
	file, err := os.Open(p.file)
	if err != nil {
		return done, err
	}
	defer file.Close()
	escaped, err := module.EscapePath(p.mv.Path)
	if err != nil {
		return done, err
	}
	version, err := module.EscapeVersion(p.mv.Version)
	if err != nil {
		return done, err
	}
	query.Set("h1", p.h1.String())
	if !p.time.IsZero() {
		query.Set("time", p.time.UTC().Format(time.RFC3339))
	}
	path := "/api/v1/repos/" + repo.String() + "/modules/" + escaped + "/@v/" + url.PathEscape(version)
	req, err := c.request(ctx, http.MethodPut, path, query, show.reader("sending", file))
	if err != nil {
		return done, err
	}
	req.ContentLength = p.size
	req.Header.Set("Content-Type", "application/zip")
	req.Header.Set("Expect", "100-continue")
	resp, err := c.send(req)
	if err != nil {
		return done, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&done); err != nil {
		return done, fmt.Errorf("answer from %s: %w", c.where, err)
	}
	done.late = resp.StatusCode == http.StatusAccepted
	return done, nil
}

// publishAll uploads packed modules as one form, all of which are published, or none.
func (c *client) publishAll(ctx context.Context, repo events.RepoName, packs packedList, query url.Values, show *progress) (publications, error) {
	f, err := newUpload(packs)
	defer f.close()
	if err != nil {
		return nil, err
	}
	path := "/api/v1/repos/" + repo.String() + "/publications"
	req, err := c.request(ctx, http.MethodPost, path, query, show.reader("sending", io.MultiReader(f.pieces...)))
	if err != nil {
		return nil, err
	}
	req.ContentLength = f.size
	req.Header.Set("Content-Type", f.kind)
	req.Header.Set("Expect", "100-continue")
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct{ Published publications }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("answer from %s: %w", c.where, err)
	}
	if len(answer.Published) != len(packs) {
		return nil, fmt.Errorf("answer from %s: it is about %d versions, and %d were sent", c.where, len(answer.Published), len(packs))
	}
	for i := range answer.Published {
		answer.Published[i].late = resp.StatusCode == http.StatusAccepted
	}
	return answer.Published, nil
}

// upload is a form of several versions, whose zips are read from their files.
type upload struct {
	pieces []io.Reader
	files  []*os.File
	size   int64 // of all pieces, bytes
	kind   string
}

// newUpload makes the form. Who calls it closes it, also after an error.
func newUpload(packs packedList) (*upload, error) {
	var text bytes.Buffer
	u, form := &upload{}, multipart.NewWriter(&text)
	u.kind = form.FormDataContentType()
	for _, p := range packs {
		about, err := json.Marshal(map[string]any{"module": p.mv.Path, "version": p.mv.Version, "h1": p.h1, "time": p.time.UTC()})
		if err == nil {
			err = form.WriteField("version", string(about))
		}
		if err == nil {
			_, err = form.CreateFormFile("zip", "module.zip")
		}
		if err != nil {
			return u, err
		}
		file, err := os.Open(p.file)
		if err != nil {
			return u, err
		}
		u.files = append(u.files, file)
		u.add(&text)
		u.pieces = append(u.pieces, file)
		u.size += p.size
	}
	if err := form.Close(); err != nil {
		return u, err
	}
	u.add(&text)
	return u, nil
}

// add adds what was written since the last piece.
func (u *upload) add(text *bytes.Buffer) {
	u.pieces = append(u.pieces, strings.NewReader(text.String()))
	u.size += int64(text.Len())
	text.Reset()
}

func (u *upload) close() {
	for _, f := range u.files {
		f.Close()
	}
}

// print shows what was published.
func (ps publications) print(w io.Writer, asJSON bool) error {
	switch {
	case asJSON && len(ps) == 1:
		return printJSON(w, ps[0])
	case asJSON:
		return printJSON(w, struct {
			Published publications `json:"published"`
		}{ps})
	}
	for _, p := range ps {
		what := p.Module + "@" + p.Version
		text := fmt.Sprintf("published %s %v at %v\n", what, p.H1, p.Position)
		if p.Existed {
			text = fmt.Sprintf("%s %v is already there since %s at %v\n", what, p.H1, p.Time.Format(time.RFC3339), p.Position)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}
