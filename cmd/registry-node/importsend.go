package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"registry-node/events"
)

// importing sends what a plan has to a repository.
type importing struct {
	client   *client
	repo     events.RepoName
	local    bool // it publishes
	unproved bool
	dryRun   bool
	workers  int
	total    int // to be sent
	// vain says that waiting for what can't be had now was in vain of late.
	vain atomic.Bool
}

// sent is what became of an item that was sent.
type sent struct {
	item    *importItem
	existed bool
	refused *importRefusal
	err     error // that ends all of it
}

// run asks what is missing and sends that. If it ends early, the report says what
// was done until then.
func (im *importing) run(ctx context.Context, plan *importPlan, show *progress) (*importReport, error) {
	r := &importReport{Repo: im.repo, Left: plan.leftOut, Refused: append([]importRefusal{}, plan.refused...), DryRun: im.dryRun}
	missing, err := im.missing(ctx, plan.items, r)
	if err != nil {
		return r, err
	}
	r.Existed = len(plan.items) - len(missing) - (len(r.Refused) - len(plan.refused))
	if im.dryRun {
		for _, it := range missing {
			r.count(it)
			r.Versions = append(r.Versions, it.mv.String())
		}
		return r, nil
	}
	im.total = len(missing)
	done := 0
	err = im.sendAll(ctx, missing, func(s sent) {
		done++
		switch {
		case s.refused != nil:
			r.Refused = append(r.Refused, *s.refused)
		case s.existed:
			r.Existed++
		default:
			r.count(s.item)
		}
		show.show("importing", uint64(done))
	})
	r.Unsent = len(missing) - done
	r.sort()
	return r, err
}

func (r *importReport) count(it *importItem) {
	r.Imported++
	if it.zip == "" {
		r.Mods++
	}
}

func (r *importReport) sort() {
	p := importPlan{refused: r.Refused}
	p.sort()
}

// sendAll sends items with several workers and tells each, one at a time and in no
// order, what became of them. It ends early with ctx, and with the first error that
// concerns them all.
func (im *importing) sendAll(ctx context.Context, items []*importItem, each func(sent)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo, done := make(chan *importItem), make(chan sent)
	var wg sync.WaitGroup
	for range min(im.workers, len(items)) {
		wg.Go(func() {
			for it := range todo {
				done <- im.send(ctx, it)
			}
		})
	}
	wg.Go(func() {
		defer close(todo)
		for _, it := range items {
			select {
			case todo <- it:
			case <-ctx.Done():
				return
			}
		}
	})
	go func() { wg.Wait(); close(done) }() // is waited for by what follows
	for s := range done {
		if s.err != nil {
			cancel(s.err)
			continue
		}
		each(s)
	}
	return context.Cause(ctx)
}

// missingBatch is how many versions are asked for at a time: so many, with the
// longest names, are well below what the node reads of a request.
const missingBatch = 500

// missing returns the items that the repository lacks. Those that it would refuse
// are put into the report.
func (im *importing) missing(ctx context.Context, items []importItem, r *importReport) ([]*importItem, error) {
	type claim struct {
		Module  string    `json:"module"`
		Version string    `json:"version"`
		ModH1   events.H1 `json:"mod_h1"`
		ZipH1   events.H1 `json:"zip_h1,omitzero"`
	}
	var missing []*importItem
	for chunk := range slices.Chunk(items, missingBatch) {
		in := struct {
			Versions []claim `json:"versions"`
		}{make([]claim, len(chunk))}
		by := make(map[module.Version]*importItem, len(chunk))
		for i := range chunk {
			it := &chunk[i]
			in.Versions[i] = claim{it.mv.Path, it.mv.Version, it.modH1, it.zipH1}
			by[it.mv] = it
		}
		var out struct {
			Missing []claim         `json:"missing"`
			Refused []importRefusal `json:"refused"`
		}
		if err := im.client.call(ctx, http.MethodPost, "/api/v1/repos/"+im.repo.String()+"/imports/missing", in, &out); err != nil {
			return nil, err
		}
		for _, m := range out.Missing {
			if it := by[module.Version{Path: m.Module, Version: m.Version}]; it != nil {
				missing = append(missing, it)
			}
		}
		r.Refused = append(r.Refused, out.Refused...)
	}
	return missing, nil
}

// The waits between tries of what failed for a reason that may pass: a node that is
// started anew, or a limit.
var importWaits = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// send sends an item, several times if need be.
func (im *importing) send(ctx context.Context, it *importItem) sent {
	for try := 0; ; try++ {
		existed, err := im.sendOnce(ctx, it)
		api := new(apiError)
		switch {
		case err == nil:
			im.vain.Store(false)
			return sent{item: it, existed: existed}
		case ctx.Err() != nil:
			return sent{item: it, err: ctx.Err()}
		case errors.As(err, &api) && api.Code == "no_space":
			return sent{item: it, err: err}
		case errors.As(err, &api) && !api.passes() && !im.waits(api, try), errors.As(err, new(*fs.PathError)):
			code := codeBroken
			if api.Code != "" {
				code = api.Code
			}
			return sent{item: it, refused: &importRefusal{it.mv.Path, it.mv.Version, code, err.Error()}}
		case try == len(importWaits):
			return sent{item: it, err: fmt.Errorf("%v: %w; what was imported stays, and the same command goes on from there", it.mv, err)}
		}
		select {
		case <-time.After(importWaits[try]):
		case <-ctx.Done():
			return sent{item: it, err: ctx.Err()}
		}
	}
}

// passes reports whether a refusal is about the moment: the client asks too often, or
// it is not the node that answers.
func (e *apiError) passes() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500 && e.Code == ""
}

// waits reports whether what is refused is to be tried again since the node can't do
// it now. That may be so for one version alone, and for long: the checksum database
// can't be asked. So it ends in a refusal, and the waits are for the first only.
func (im *importing) waits(e *apiError, try int) bool {
	if e.Code != "unavailable" || im.vain.Load() {
		return false
	}
	if try == len(importWaits) {
		im.vain.Store(true)
		return false
	}
	return true
}

// sendOnce sends an item, and reports whether it was there.
func (im *importing) sendOnce(ctx context.Context, it *importItem) (existed bool, err error) {
	var body importBody
	var what string
	if im.local {
		what, err = "modules", body.ofPublication(it)
	} else {
		what, err = "imports", body.ofImport(it)
	}
	if err != nil {
		return false, err
	}
	defer body.close()
	path, err := module.EscapePath(it.mv.Path)
	if err != nil {
		return false, err
	}
	version, err := module.EscapeVersion(it.mv.Version)
	if err != nil {
		return false, err
	}
	target := "/api/v1/repos/" + im.repo.String() + "/" + what + "/" + path + "/@v/" + url.PathEscape(version)
	req, err := im.client.request(ctx, http.MethodPut, target, im.query(it, &body), body.reader)
	if err != nil {
		return false, err
	}
	req.ContentLength = body.size
	req.Header.Set("Content-Type", body.contentType)
	req.Header.Set("Expect", "100-continue")
	var got struct {
		Existed bool `json:"existed"`
	}
	err = im.client.do(req, &got)
	return got.Existed, err
}

// query says what the item is to be.
func (im *importing) query(it *importItem, b *importBody) url.Values {
	q := url.Values{}
	set := func(name string, h events.H1) {
		if !h.IsZero() {
			q.Set(name, h.String())
		}
	}
	if im.local {
		set("h1", it.zipH1)
		if !b.time.IsZero() {
			q.Set("time", b.time.UTC().Format(time.RFC3339))
		}
		return q
	}
	set("mod_h1", it.modH1)
	set("zip_h1", it.zipH1)
	if im.unproved && it.vouched {
		q.Set("unproved", "true")
	}
	return q
}

// importBody is the body of a request that sends an item.
type importBody struct {
	reader      io.Reader
	size        int64 // bytes
	contentType string
	time        time.Time // that the info says; zero if it says none
	zip         *os.File  // nil if there is none
}

func (b *importBody) close() {
	if b.zip != nil {
		b.zip.Close()
	}
}

// openZip opens the zip of an item, and returns its size.
func (b *importBody) openZip(it *importItem) (int64, error) {
	f, err := os.Open(it.zip)
	if err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return 0, err
	}
	b.zip = f
	return st.Size(), nil
}

// ofPublication is the zip alone.
func (b *importBody) ofPublication(it *importItem) (err error) {
	b.contentType = "application/zip"
	if it.info != "" {
		var info struct{ Time time.Time }
		data, err := os.ReadFile(it.info)
		if err == nil && json.Unmarshal(data, &info) == nil {
			b.time = info.Time
		}
	}
	b.size, err = b.openZip(it)
	b.reader = b.zip
	return err
}

// ofImport are the parts info, mod and zip, as far as they are there.
func (b *importBody) ofImport(it *importItem) error {
	var frame bytes.Buffer // all but the zip
	w := multipart.NewWriter(&frame)
	b.contentType = w.FormDataContentType()
	write := func(part string, data []byte) error {
		to, err := w.CreateFormField(part)
		if err == nil {
			_, err = to.Write(data)
		}
		return err
	}
	if it.info != "" {
		info, err := os.ReadFile(it.info)
		if err := errors.Join(err, write("info", info)); err != nil {
			return err
		}
	}
	mod, err := it.readMod()
	if err := errors.Join(err, write("mod", mod)); err != nil {
		return err
	}
	if it.zip == "" {
		err := w.Close()
		b.reader, b.size = &frame, int64(frame.Len())
		return err
	}
	if _, err := w.CreateFormFile("zip", "source.zip"); err != nil {
		return err
	}
	before := frame.Len()
	if err := w.Close(); err != nil {
		return err
	}
	size, err := b.openZip(it)
	if err != nil {
		return err
	}
	head, tail := frame.Bytes()[:before], frame.Bytes()[before:]
	b.reader, b.size = io.MultiReader(bytes.NewReader(head), b.zip, bytes.NewReader(tail)), int64(frame.Len())+size
	return nil
}
