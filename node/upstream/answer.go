package upstream

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	errStalled   = errors.New("no data arrived for too long")
	errTotal     = errors.New("the answer took too long as a whole")
	errTruncated = errors.New("the answer is truncated")
)

// answer is a 200 of one entry whose body is still to be read. Who opened it
// closes it. Errors of reading are *Error.
type answer struct {
	body io.Reader
	rq   request
	fail failure
	size int64 // as announced, -1 if it was not
	// endUnknown says that the body ends where the connection ends (HTTP/1.0),
	// so that a cut one looks like a whole one.
	endUnknown bool
	ended      func() error // the *Error that ended reading, if one did; nil for files
	close      func()
}

// bad is the error that the body is not what it should be.
func (a *answer) bad(err error) error {
	return a.fail.make(Error{Status: http.StatusOK, Class: ErrBadAnswer, Err: err})
}

func (a *answer) tooLarge() error {
	return a.bad(fmt.Errorf("the answer is larger than %d bytes", a.rq.limit))
}

// readAll reads the body, up to the limit of the request.
func (a *answer) readAll() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(a.body, a.rq.limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > a.rq.limit {
		return nil, a.tooLarge()
	}
	if a.rq.lines && a.endUnknown && (len(body) == 0 || body[len(body)-1] != '\n') {
		return nil, a.bad(fmt.Errorf("%w, as it seems: no length, no final newline", errTruncated))
	}
	return body, nil
}

// pacedReader fails a body that does not move. The time in which nobody reads
// does not count, so a slow consumer is no stalled upstream.
type pacedReader struct {
	body  io.Reader
	timer *time.Timer // ends the request
	pace  time.Duration
	fail  failure
	err   error // that ended it, as returned; nil for io.EOF
}

func (r *pacedReader) Read(p []byte) (int, error) {
	r.timer.Reset(r.pace)
	n, err := r.body.Read(p)
	r.timer.Stop()
	if err != nil && err != io.EOF {
		err = r.fail.of(err)
		r.err = err
	}
	return n, err
}

// Bounds of what is kept of an error body: those of the go command.
const (
	maxDetailLines = 8
	maxDetailBytes = 648
)

// detail returns the first lines of an error answer, if they are fit to be
// shown: text/plain in UTF-8, all of it printable.
func detail(r *http.Response, body io.Reader) string {
	// Read in any case: a connection whose answer was read can be used again.
	b, err := io.ReadAll(io.LimitReader(body, 4*maxDetailBytes))
	if err != nil && len(b) == 0 {
		return ""
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || media != "text/plain" || charset != "" && charset != "utf-8" && charset != "us-ascii" {
		return ""
	}
	return detailText(string(b))
}

func detailText(s string) string {
	var kept []string
	size := 0
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\r\n")
		size += len(line) + 1
		if strings.TrimSpace(line) == "" || len(kept) == maxDetailLines || size > maxDetailBytes {
			break
		}
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsGraphic(r) && r != '\t' }) {
			return ""
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\n")
}

// isAbsent reports whether err of opening a file below a directory that exists
// says that the file is not there.
func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
