package upstream

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

// TestClassOfText: only what surely is absence is called so.
func TestClassOfText(t *testing.T) {
	t.Parallel()
	for text, class := range map[string]error{
		"a.test/r@v9: invalid version: unknown revision v9":                                              ErrNotFound,
		`module a.test/r/sub: no matching versions for query "latest"`:                                   ErrNotFound,
		"invalid version: missing a.test/r/go.mod at revision none/v1.0.0":                               ErrNotFound,
		"git fetch: exit status 128:\nfatal: unable to access: Could not resolve host: unknown revision": ErrUnavailable,
		"a.test/r@v1.0.0 requires go >= 1.99 (running go 1.26; GOTOOLCHAIN=local)":                       ErrUnavailable,
		"write /x: no space left on device: unknown revision":                                            ErrUnavailable,
		"fatal: could not read Username for 'https://a.test': terminal prompts disabled":                 ErrForbidden,
		"something new": ErrUnavailable,
	} {
		if got := classOfText(text); got != class {
			t.Errorf("%q is %v, want %v", text, got, class)
		}
	}
}

// TestJudge: a revision that is among the refs is not absent because git could
// not read it, and no secret is in the text.
func TestJudge(t *testing.T) {
	t.Parallel()
	u := &url.URL{Scheme: "https", Host: "a.test"}
	box := sandbox{
		book: &book{dir: "/cache/x"}, permit: &permit{token: "TOKEN", gitToken: "GITTOKEN"},
		user: basic("git", "pass word").secret(),
		src:  source{path: "a.test/r", url: u, query: "main"},
	}
	r := &refs{heads: map[string]string{"main": "x"}}
	say := `{"Path":"a.test/r","Version":"main","Error":{"Err":"invalid version: unknown revision main\n\tin /cache/x/mod: TOKEN GITTOKEN pass word pass+word Z2l0OnBhc3Mgd29yZA== \u001b[2J"}}`
	_, err := box.judge(r, []byte(say), nil, nil)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("a branch that is there: %v", err)
	}
	for _, hidden := range []string{"/cache", "TOKEN", "pass", "Z2l0", "\x1b", "\n"} {
		if strings.Contains(err.Error(), hidden) {
			t.Errorf("the text shows %q: %v", hidden, err)
		}
	}
	if _, err := box.judge(&refs{}, []byte(say), nil, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("a branch that is not there: %v", err)
	}
}
