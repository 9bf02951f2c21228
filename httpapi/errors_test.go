package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"registry-node/httpapi"
	"registry-node/node"
)

// nodeKinds are the kinds of error that node declares; TestEveryKind checks
// that it knows them all.
var nodeKinds = map[string]error{
	"ErrNotFound": node.ErrNotFound, "ErrExists": node.ErrExists, "ErrInvalid": node.ErrInvalid,
	"ErrUnprocessable": node.ErrUnprocessable, "ErrTooLarge": node.ErrTooLarge, "ErrForbidden": node.ErrForbidden, "ErrUnauthorized": node.ErrUnauthorized,
	"ErrUpstream": node.ErrUpstream, "ErrUpstreamTimeout": node.ErrUpstreamTimeout,
	"ErrUnavailable": node.ErrUnavailable, "ErrNoSpace": node.ErrNoSpace,
}

func TestEveryKindIsInTheTable(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../node/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Err") {
			return true
		}
		found++
		name := spec.Names[0].Name
		if kind := nodeKinds[name]; kind == nil {
			t.Errorf("node.%s is not in this test", name)
		} else if !slices.Contains(httpapi.Kinds(), kind) {
			t.Errorf("node.%s is not in the table", name)
		}
		return true
	})
	if found != len(nodeKinds) {
		t.Errorf("found %d kinds in node, want %d", found, len(nodeKinds))
	}
}

func TestFailure(t *testing.T) {
	told := func(kind error, cause error) error { return &node.Error{Kind: kind, Text: "told", Err: cause} }
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name        string
		ctx         context.Context
		err         error
		api, module int
		text, cache string // below /go/
	}{
		{"absent", t.Context(), told(node.ErrNotFound, nil), 404, 404, "told", "public, max-age=60"},
		{"absent, the upstream in trouble", t.Context(), told(node.ErrNotFound, told(node.ErrUpstream, nil)), 404, 404, "told", never},
		{"taken", t.Context(), told(node.ErrExists, nil), 409, 500, "told", never},
		{"malformed", t.Context(), told(node.ErrInvalid, nil), 400, 404, "told", "public, max-age=60"},
		{"bad zip", t.Context(), told(node.ErrUnprocessable, nil), 422, 502, "told", never},
		{"too large", t.Context(), told(node.ErrTooLarge, nil), 413, 502, "told", never},
		{"policy", t.Context(), told(node.ErrForbidden, nil), 403, 403, "told", never},
		{"upstream", t.Context(), told(node.ErrUpstream, nil), 502, 502, "told", never},
		{"time-out", t.Context(), told(node.ErrUpstreamTimeout, nil), 504, 504, "told", never},
		{"lost", t.Context(), told(node.ErrUnavailable, nil), 503, 503, "told", never},
		{"lost, and absent upstream", t.Context(), told(node.ErrUnavailable, told(node.ErrNotFound, nil)), 503, 503, "told", never},
		{"joined: the first counts", t.Context(), errors.Join(told(node.ErrUnavailable, nil), told(node.ErrNotFound, nil)), 503, 503, "told", never},
		{"disk full", t.Context(), told(node.ErrNoSpace, nil), 507, 507, "told", never},
		{"wrapped", t.Context(), fmt.Errorf("op: %w", told(node.ErrExists, nil)), 409, 500, "told", never},
		{"of a storage layer", t.Context(), fmt.Errorf("open /secret: %w", fs.ErrNotExist), 500, 500, "internal error; the log of the node says more", never},
		{"a kind without a text", t.Context(), fmt.Errorf("secret: %w", node.ErrNotFound), 500, 500, "internal error; the log of the node says more", never},
		{"the client has gone", gone, context.Canceled, 499, 499, "the client has gone away", never},
		{"the node stops", t.Context(), context.Canceled, 503, 503, "this node is stopping", never},
	}
	for _, tt := range tests {
		status, _, _, _ := httpapi.Failure(tt.ctx, tt.err, false)
		if status != tt.api {
			t.Errorf("%s: %d on the API, want %d", tt.name, status, tt.api)
		}
		status, _, text, cache := httpapi.Failure(tt.ctx, tt.err, true)
		if status != tt.module || text != tt.text || cache != tt.cache {
			t.Errorf("%s: %d %q %q below /go/, want %d %q %q", tt.name, status, text, cache, tt.module, tt.text, tt.cache)
		}
	}
}

func TestPlainText(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"one", "one\n"},
		{"one\n\ntwo\r\n", "one\ntwo\n"},
		{"a\x00b\tc\u200bd\xffe", "a?b c?d?e\n"},
		{strings.Repeat("x\n", 20), strings.Repeat("x\n", 8)},
		{strings.Repeat("ä", 500), strings.Repeat("ä", 323) + "\n"},
		{strings.Repeat("y", 640) + "\n" + strings.Repeat("z", 20), strings.Repeat("y", 640) + "\n" + "zzzzzz\n"},
	} {
		if got := httpapi.PlainText(tt.text); got != tt.want {
			t.Errorf("PlainText(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
