package httpapi

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// arriving is content that comes while it is served. Its Read blocks until there
// are bytes that may be passed on.
type arriving struct {
	io.ReadSeeker
	err error // what Read failed with
}

func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		a.err = err
	}
	return n, err
}

// serveArriving answers with a zip that is not here in whole, recorded at a time,
// if that is known. If the rest never comes, it returns the error, and the answer
// is cut: see Server.failed.
func serveArriving(w *writer, r *http.Request, at time.Time, zip io.ReadSeeker) error {
	if strings.Contains(r.Header.Get("Range"), ",") {
		// For several ranges http.ServeContent reads in a goroutine that may
		// outlive it. To send all instead is allowed (RFC 9110, section 14.2).
		whole := *r
		whole.Header = r.Header.Clone()
		whole.Header.Del("Range")
		r = &whole
	}
	a := &arriving{ReadSeeker: zip}
	http.ServeContent(w, r, "", at, a)
	return a.err
}

// serveUnmeasured is serveArriving for a zip whose length nobody knows yet: it
// goes out in chunks, and an answer that is cut lacks the last one. To send all
// to who asks for a range is allowed.
func serveUnmeasured(w *writer, r *http.Request, zip io.ReadSeeker) error {
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	a := &arriving{ReadSeeker: zip}
	w.ReadFrom(a) // fails by itself only if the client is gone
	return a.err
}

// arrivingPart is how much is passed on at a time, in bytes.
const arrivingPart = 64 << 10

// readArriving copies what arrives to the client. The time for which it has to
// be waited for is not the client's.
func (w *writer) readArriving(src io.Reader) (n int64, err error) {
	conn := http.NewResponseController(w.ResponseWriter)
	buf := make([]byte, arrivingPart)
	deadline, moved := time.Now().Add(w.pace), 0
	defer func() { w.extended = time.Time{} }() // the deadline is another one now
	for {
		asked := time.Now()
		got, err := src.Read(buf)
		deadline = deadline.Add(time.Since(asked))
		if moved >= paceBytes {
			deadline, moved = time.Now().Add(w.pace), 0
		}
		if got > 0 {
			conn.SetWriteDeadline(deadline) // fails only on a connection that is gone
			sent, err := w.ResponseWriter.Write(buf[:got])
			n += int64(sent)
			w.sent += int64(sent)
			moved += sent
			if err == nil {
				err = conn.Flush() // more may be long in coming
			}
			w.rest()
			if err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
