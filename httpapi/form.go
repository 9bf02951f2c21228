package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"registry-node/node"
)

const (
	// partHeader bounds the bytes of a part of a form that are not its content, with
	// what a reader of it may take in advance.
	partHeader = 16 << 10
	// typeForm is the media type of a form whose parts may be files.
	typeForm = "multipart/form-data"
)

// form is a body of parts, which are read one after the other as they come. Errors
// of reading it are fit to be told.
type form struct {
	parts *multipart.Reader
	in    *metered
}

// part is a part of a form. It is read before the next one is asked for.
type part struct {
	name string
	form *form
	raw  *multipart.Part
}

// formOf returns the form that is the body of a request, of at most limit bytes.
func formOf(w *writer, r *http.Request, limit int64, what string) (*form, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != typeForm || params["boundary"] == "" {
		return nil, fail(node.ErrInvalid, "the body is to be "+typeForm+", with a boundary, and the Content-Type is "+quote(r.Header.Get("Content-Type")))
	}
	from, err := limited(w, r, limit, what)
	if err != nil {
		return nil, err
	}
	in := &metered{from: from}
	return &form{multipart.NewReader(in, params["boundary"]), in}, nil
}

// next returns the next part, whose content is at most limit bytes; io.EOF if there
// is none.
func (f *form) next(limit int64) (*part, error) {
	f.in.left = partHeader
	raw, err := f.parts.NextRawPart()
	if err == io.EOF && f.in.failed == nil {
		return nil, io.EOF
	}
	if err != nil {
		return nil, f.told(err)
	}
	f.in.left = limit + partHeader
	return &part{raw.FormName(), f, raw}, nil
}

// Read reads the content of the part.
func (p *part) Read(b []byte) (int, error) {
	n, err := p.raw.Read(b)
	if err != nil && (err != io.EOF || p.form.in.failed != nil) {
		err = p.form.told(err)
	}
	return n, err
}

// text returns the whole content, of at most limit bytes.
func (p *part) text(limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(p, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = &node.Error{Kind: node.ErrTooLarge, Text: fmt.Sprintf("the part %s of the form is larger than %d KiB", quote(p.name), limit>>10)}
	}
	return text, err
}

// told says what a failure to read the form means for who sent it.
func (f *form) told(err error) error {
	if f.in.failed != nil {
		return f.in.failed
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return &node.Error{Kind: node.ErrInvalid, Text: "the form ends before its last boundary", Err: err}
	}
	return &node.Error{Kind: node.ErrInvalid, Text: "the form can't be read: " + clip(err.Error()), Err: err}
}

// metered is a reader of which no more is read than was granted; so what stands
// around the content of parts is bounded, too.
type metered struct {
	from   io.Reader
	left   int64
	failed error // of from, or that there was more; other than io.EOF
}

func (m *metered) Read(b []byte) (int, error) {
	if m.failed != nil {
		return 0, m.failed
	}
	if m.left <= 0 {
		m.failed = fail(node.ErrTooLarge, fmt.Sprintf("a part of the form is larger than it may be, or has more than %d KiB of header", partHeader>>10))
		return 0, m.failed
	}
	n, err := m.from.Read(b[:min(int64(len(b)), m.left)])
	m.left -= int64(n)
	if err != nil && err != io.EOF {
		m.failed = err
	}
	return n, err
}
