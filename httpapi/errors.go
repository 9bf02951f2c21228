package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

// The kinds of error that are this package's own.
var (
	errSlow = errors.New("too slow")
	errLoop = errors.New("loop")
	// errPosition is a position that can't be waited for. It is no 404 even below
	// /at-least/, where a 404 is a promise about a position.
	errPosition = errors.New("invalid position")
	// errThrottled is too much of what a client may have, within a time. Below /go/
	// it is no 429, after which the go command would not try again either, but says
	// what a 503 says: not now.
	errThrottled = errors.New("throttled")
	// errConflict is a request at odds with itself, or with what it says of its body.
	errConflict = errors.New("conflict")
	errMethod   = errors.New("method not allowed")
	errLongURL  = errors.New("URL too long")
)

// kinds maps each kind of error to its code in JSON and to its status, in the
// API and below /go/. There, the go command goes on to its next proxy after a
// 404 and stops after anything else, so only what is known not to be there, or
// can't exist, is a 404; and what is wrong with the content of an upstream is
// the upstream's failure.
var kinds = []struct {
	kind        error
	code        string
	api, module int
}{
	{node.ErrNotFound, "not_found", http.StatusNotFound, http.StatusNotFound},
	{node.ErrExists, "exists", http.StatusConflict, http.StatusInternalServerError},
	{node.ErrInvalid, "invalid", http.StatusBadRequest, http.StatusNotFound},
	{node.ErrUnprocessable, "unprocessable", http.StatusUnprocessableEntity, http.StatusBadGateway},
	{node.ErrTooLarge, "too_large", http.StatusRequestEntityTooLarge, http.StatusBadGateway},
	{node.ErrUnauthorized, "unauthorized", http.StatusUnauthorized, http.StatusUnauthorized},
	{node.ErrForbidden, "forbidden", http.StatusForbidden, http.StatusForbidden},
	{node.ErrUpstream, "upstream", http.StatusBadGateway, http.StatusBadGateway},
	{node.ErrUpstreamTimeout, "upstream_timeout", http.StatusGatewayTimeout, http.StatusGatewayTimeout},
	{node.ErrUnavailable, "unavailable", http.StatusServiceUnavailable, http.StatusServiceUnavailable},
	{node.ErrNoSpace, "no_space", http.StatusInsufficientStorage, http.StatusInsufficientStorage},
	{errSlow, "too_slow", http.StatusRequestTimeout, http.StatusRequestTimeout},
	{errPosition, "invalid", http.StatusBadRequest, http.StatusBadRequest},
	{errLoop, "loop", http.StatusLoopDetected, http.StatusLoopDetected},
	{errThrottled, throttledCode, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	{errConflict, "conflict", http.StatusConflict, http.StatusConflict},
	{errMethod, "method_not_allowed", http.StatusMethodNotAllowed, http.StatusMethodNotAllowed},
	{errLongURL, "url_too_long", http.StatusRequestURITooLong, http.StatusNotFound},
}

const (
	// statusCanceled is what is recorded for a request whose client has gone
	// away. Nobody reads it, but it must not be a 200.
	statusCanceled = 499

	// throttledCode is the code of errThrottled.
	throttledCode = "throttled"

	closingText = "this node is stopping"
)

// failure is an error as a client is told of it.
type failure struct {
	status int
	code   string
	text   string
	// internal says that the error is for operators only.
	internal bool
}

// internal is all that a client is told of what only operators may see.
var internal = failure{http.StatusInternalServerError, "internal", "internal error; the log of the node says more", true}

// failureOf returns what a client is told of err. A text comes from an error
// that was written for users, or is ours. The outermost *node.Error decides:
// what it wraps is its cause, whatever kind that has.
func failureOf(ctx context.Context, err error, module bool) failure {
	var told *node.Error
	if errors.As(err, &told) {
		for _, k := range kinds {
			if told.Kind != k.kind {
				continue
			}
			if module {
				return failure{status: k.module, code: k.code, text: told.Text}
			}
			return failure{status: k.api, code: k.code, text: told.Text}
		}
	}
	var routed *echo.HTTPError
	switch {
	case errors.As(err, &routed) && routed.Code == http.StatusNotFound:
		return failure{status: http.StatusNotFound, code: "not_found", text: "there is nothing at this path"}
	case errors.As(err, &routed) && routed.Code == http.StatusMethodNotAllowed:
		return failure{status: http.StatusMethodNotAllowed, code: "method_not_allowed", text: "this path does not take that method, but those that the Allow header names"}
	case ctx.Err() != nil:
		return failure{status: statusCanceled, code: "canceled", text: "the client has gone away"}
	case errors.Is(err, context.Canceled): // not the client's context, so the node's
		return failure{status: http.StatusServiceUnavailable, code: "unavailable", text: closingText}
	}
	return internal
}

// cache returns what caches may do with the failure. An absence that follows
// from trouble with an upstream (err says so among its causes) is no absence
// tomorrow.
func (f failure) cache(err error) []string {
	trouble := errors.Is(err, node.ErrUpstream) || errors.Is(err, node.ErrUpstreamTimeout) || errors.Is(err, node.ErrUnavailable)
	if f.status == http.StatusNotFound && !trouble {
		return cacheBriefly
	}
	return cacheNever
}

// fail returns an error of this package with a text for users.
func fail(kind error, text string) error { return &node.Error{Kind: kind, Text: text} }

// Bounds of an error text below /go/: those up to which the go command shows it.
const (
	maxTextLines = 8
	maxTextBytes = 648
)

// plainText makes text fit to be shown by the go command, which drops a text as
// a whole if it holds anything that is not printable, and cuts it at the first
// blank line.
func plainText(text string) string {
	var b strings.Builder
	lines := 0
	for line := range strings.Lines(text) {
		line = strings.Map(printable, strings.TrimRight(line, "\r\n"))
		room := maxTextBytes - b.Len() - 1
		if strings.TrimSpace(line) == "" {
			continue
		}
		if lines++; lines > maxTextLines || room <= 0 {
			break
		}
		b.WriteString(clipTo(line, room))
		b.WriteByte('\n')
	}
	return b.String()
}

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case r == utf8.RuneError || !unicode.IsPrint(r):
		return '?'
	}
	return r
}

// clipTo cuts s to at most n bytes, between two characters.
func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
