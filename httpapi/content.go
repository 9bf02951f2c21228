package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

// Content types, as header values.
var (
	typeText = []string{"text/plain; charset=utf-8"}
	typeJSON = []string{"application/json; charset=utf-8"}
	typeZip  = []string{"application/zip"}
	// typeLines are JSON values, one per line.
	typeLines = []string{"application/x-ndjson"}
)

// content answers with a body that is in memory and has an ETag.
func content(w *writer, r *http.Request, contentType []string, body []byte) {
	h := w.Header()
	h["Etag"] = []string{etag(body)}
	if conditional(r.Header) {
		h["Content-Type"] = contentType
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		return
	}
	send(w, r, http.StatusOK, contentType, body)
}

// countedBytes is how large a body may be so that net/http finds its length by
// itself. One header less keeps the others in a map that need not grow, which is a
// tenth of what a small answer costs.
const countedBytes = 2 << 10

// send writes a whole answer, with its length.
func send(w *writer, r *http.Request, status int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	if len(body) > countedBytes || r.Method == http.MethodHead {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body) // fails only if the client is gone
	}
}

// etag returns a strong entity tag: a hash of the body, so that all sites agree.
func etag(body []byte) string {
	sum := sha256.Sum256(body)
	var b [2 + 32]byte
	b[0], b[33] = '"', '"'
	hex.Encode(b[1:33], sum[:16])
	return string(b[:])
}

// conditional reports whether a request asks for a range, or only for what has
// changed.
func conditional(h http.Header) bool {
	for _, name := range [...]string{"If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since", "Range"} {
		if h[name] != nil {
			return true
		}
	}
	return false
}
