package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

const (
	maxJSON      = 1 << 20 // bytes of a JSON body
	maxJSONDepth = 32      // objects and arrays in each other
	// jsonTime is how long a JSON body may take, if paceTime isn't shorter.
	jsonTime = 10 * time.Second
)

// problem is an error of the API in JSON.
type problem struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func problemOf(f failure) (p problem) {
	p.Error.Code, p.Error.Message = f.code, f.text
	return p
}

func sendProblem(w *writer, r *http.Request, f failure) {
	body, _ := marshal(problemOf(f)) // two strings
	h := w.Header()
	h["Cache-Control"] = cacheNever
	f.retry(h)
	send(w, r, f.status, typeJSON, body)
}

// reply answers with a value in JSON.
func reply(c echo.Context, status int, v any) error { return replyAs(c, status, typeJSON, v) }

// replyAs is reply with another content type.
func replyAs(c echo.Context, status int, contentType []string, v any) error {
	body, err := marshal(v)
	if err != nil {
		return err
	}
	w := c.Response().Writer.(*writer)
	w.Header()["Cache-Control"] = cacheNever
	send(w, c.Request(), status, contentType, body)
	return nil
}

// marshal returns the JSON of v as one line. It is for programs and for people,
// not to be put into HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return b.Bytes(), nil
}

// decode reads the JSON value that is the body of a request into v. Unknown
// fields, what checkJSON finds, and anything after the value are errors.
func decode(c echo.Context, v any) error {
	from, err := limited(c.Response().Writer.(*writer), c.Request(), maxJSON, "the body")
	if err != nil {
		return err
	}
	if b, ok := c.Request().Body.(*body); ok {
		b.pace = min(b.pace, jsonTime)
	}
	text, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	if depth(text) > maxJSONDepth {
		return fail(node.ErrInvalid, fmt.Sprintf("the body has more than %d objects and arrays in each other", maxJSONDepth))
	}
	auditOf(c).said(text)
	if err := parseJSON(text, v); err != nil {
		return &node.Error{Kind: node.ErrInvalid, Text: "the body is not the JSON object that is wanted: " + err.Error(), Err: err}
	}
	return nil
}

// parseJSON reads a text that is one JSON value into v. Unknown fields, what
// checkJSON finds, and anything after the value are errors.
func parseJSON(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if errors.Is(err, io.EOF) {
		err = errors.New("it is empty")
	}
	if err == nil && len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		err = fmt.Errorf("something follows the JSON value, after %d bytes", d.InputOffset())
	}
	if err == nil {
		err = checkJSON(text, v)
	}
	return err
}

// depth returns how deep the objects and arrays of a JSON text lie in each other,
// before anything is made of it. Of what is no JSON it returns a bound.
func depth(text []byte) (deepest int) {
	in, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++ // whatever it is, it ends no string
		case quoted:
		case c == '{', c == '[':
			in++
			deepest = max(deepest, in)
		case c == '}', c == ']':
			in--
		}
	}
	return deepest
}

func quote(s string) string { return strconv.Quote(clip(s)) }
