package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"registry-node/node"
)

// fed runs the program with a standard input.
func fed(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(context.WithoutCancel(t.Context()), args, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func TestSecretLife(t *testing.T) {
	const canary = "canary-c0ffee"
	s := fresh(t)
	good := `{"basic":{"user":"bot","password":"` + canary + `"}}`
	if r := fed(t, good, "secret", "set", "mirror", "--data", s.data); r.code != exitOK || r.stdout != "kept mirror (basic)\n" {
		t.Errorf("%+v", r)
	}
	for stdin, want := range map[string]string{"": "is no secret", canary: "is no secret", good + good: "is no secret"} {
		if r := fed(t, stdin, "secret", "set", "mirror", "--data", s.data); r.code != exitNo || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, canary) {
			t.Errorf("%q: %+v", stdin, r)
		}
	}
	for _, args := range [][]string{{"secret", "list", "--data", s.data}, {"secret", "list", "--json", "--data", s.data}} {
		if out := ok(t, args...); !strings.Contains(out, "mirror") || !strings.Contains(out, "basic") || strings.Contains(out, canary) {
			t.Errorf("%q:\n%s", args, out)
		}
	}
	ok(t, "repo", "set", "public", "--secrets", "upstream.invalid=mirror")
	if r := show(t, "public"); r.Problem != "" {
		t.Errorf("problem: %s", r.Problem)
	}
	ok(t, "secret", "set", "mirror", "--kind", "webhook", "--generate", "--data", s.data)
	if r := show(t, "public"); !strings.Contains(r.Problem, "the secret mirror signs what webhooks are sent") {
		t.Errorf("problem: %s", r.Problem)
	}
	ok(t, "secret", "remove", "mirror", "--data", s.data)
	if r := show(t, "public"); !strings.Contains(r.Problem, "registry-node secret set mirror --data DIR") {
		t.Errorf("problem: %s", r.Problem)
	}
	refused(t, exitNo, []string{"secret", "remove", "mirror", "--data", s.data}, "there is no file secrets/mirror")
	refused(t, exitUsage, []string{"secret", "set", "Mirror", "--data", s.data}, `"Mirror" may only have`)
	refused(t, exitUsage, []string{"secret", "set", "mirror"}, "--data is missing")
	refused(t, exitUsage, []string{"secret", "set", "mirror", canary, "--data", s.data}, "unexpected argument")
	refused(t, exitNo, []string{"secret", "list", "--data", t.TempDir()}, "holds no registry")
}

// TestAskSecret holds what a person is asked for, and that what is secret of it
// does not show.
func TestAskSecret(t *testing.T) {
	dir := writeTree(t, t.TempDir(), map[string]string{"c.pem": "C", "k.pem": "K"})
	for _, c := range []struct {
		answers      []string
		want, hidden string
	}{
		{[]string{"basic", "bot", "p"}, `{"basic":{"password":"p","user":"bot"}}`, "password"},
		{[]string{"bearer", "t"}, `{"bearer":{"token":"t"}}`, "token"},
		{[]string{"header", "X-Key", "v"}, `{"header":{"name":"X-Key","value":"v"}}`, "value"},
		{[]string{"webhook", "k"}, `{"webhook":{"key":"k"}}`, "key (whsec_…)"},
		{[]string{"certificate", filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")}, `{"certificate":{"cert":"C","key":"K"}}`, ""},
		{[]string{"magic"}, "", ""},
	} {
		i, hid := 0, ""
		text, err := askSecret(func(what string, hidden bool) (string, error) {
			if hidden {
				hid += what
			}
			i++
			return c.answers[i-1], nil
		})
		if string(text) != c.want || hid != c.hidden || (err == nil) != (c.want != "") {
			t.Errorf("%q: %s, %v, hidden: %q", c.answers, text, err, hid)
		}
	}
}

func TestSecretFromTheEnvironment(t *testing.T) {
	t.Setenv(node.SecretEnvPrefix+"MY_MIRROR", `{"bearer":{"token":"x"}}`)
	fresh(t)
	ok(t, "repo", "set", "public", "--secrets", "upstream.invalid=my-mirror")
	if r := show(t, "public"); r.Problem != "" {
		t.Errorf("problem: %s", r.Problem)
	}
	os.Unsetenv(node.SecretEnvPrefix + "MY_MIRROR")
	if r := show(t, "public"); !strings.Contains(r.Problem, "my-mirror") {
		t.Errorf("problem: %q", r.Problem)
	}
}
