package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"registry-node/node"
)

// tryWith is try with standard input.
func tryWith(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// TestFromNothingToAnAdministrator is the whole bootstrap: two commands of who may
// open the data directory, and from there on with the token.
func TestFromNothingToAnAdministrator(t *testing.T) {
	s := fresh(t)
	ok(t, "user", "create", "alice", "--groups", "admins", "--display", "Alice", "--data", s.data)
	r := try(t, "token", "create", "--user", "alice", "--data", s.data)
	token, isOne := strings.CutSuffix(r.stdout, "\n")
	if r.code != exitOK || !isOne || !strings.HasPrefix(token, "rn_t") || strings.ContainsAny(token, " \n,") {
		t.Fatalf("%+v", r)
	}
	if !strings.Contains(r.stderr, "what alice may do; it ends 20") || strings.Contains(r.stderr, token) {
		t.Errorf("standard error: %s", r.stderr)
	}
	t.Setenv(tokenEnv, token)
	if out := ok(t, "whoami"); !strings.Contains(out, "alice") || !strings.Contains(out, "group:admins") {
		t.Errorf("whoami:\n%s", out)
	}
	ok(t, "user", "create", "ci", "--service")
	refused(t, exitNo, []string{"user", "create", "ci"}, `there is a user called "ci" already`)
	refused(t, exitNo, []string{"user", "set", "cl", "--disable"}, `there is no user called "cl"`)
	ok(t, "group", "set", "team-a", "ci", "alice")
	ok(t, "group", "remove", "team-a", "alice")
	refused(t, exitNo, []string{"group", "add", "team-b", "alice"}, `there is no group called "team-b"`)
	if out := ok(t, "group", "list"); !strings.Contains(out, "team-a") || !strings.Contains(out, "ci") {
		t.Errorf("groups:\n%s", out)
	}
	out := ok(t, "permission", "set", "team-a", "--to", "group:team-a,user:alice", "--repos", "local,all", "--actions", "read,publish", "--include", "corp.example/a/**")
	if !strings.Contains(out, "corp.example/a/**") {
		t.Errorf("rule:\n%s", out)
	}
	if out := ok(t, "permission", "check", "ci", "publish", "local", "corp.example/a/x"); out != "yes: the rule team-a allows it\n" {
		t.Errorf("check: %s", out)
	}
	if out := ok(t, "permission", "check", "ci", "publish", "all", "corp.example/a/x"); out != "yes: the rule team-a allows it in local, a member of all\n" {
		t.Errorf("check: %s", out)
	}
	if r := try(t, "permission", "check", "ci", "publish", "local", "corp.example/b"); r.code != exitNo || r.stdout != "no: no rule allows it\n" || r.stderr != "" {
		t.Errorf("check: %+v", r)
	}
	if r := try(t, "permission", "set", "open", "--to", "anonymous", "--repos", "local", "--actions", "read,publish"); r.code != exitOK || !strings.Contains(r.stderr, "warning") {
		t.Errorf("a rule that is open: %+v", r)
	}
	if r := try(t, "permission", "set", "open", "--to", "anonymous", "--repos", "local", "--actions", "read"); r.code != exitOK || r.stderr != "" {
		t.Errorf("a rule that is less open: %+v", r)
	}
	if out := ok(t, "permission", "list"); !strings.Contains(out, "team-a") || !strings.Contains(out, "anonymous") {
		t.Errorf("rules:\n%s", out)
	}
	ok(t, "permission", "show", "open")
	ok(t, "permission", "delete", "open")

	var issued node.IssuedToken
	text := ok(t, "token", "create", "--user", "ci", "--repos", "local", "--actions", "publish", "--modules", "corp.example/a/**", "--expires", "never", "--description", "the pipeline", "--json")
	if err := json.Unmarshal([]byte(text), &issued); err != nil || !issued.Expires.IsZero() || issued.User != "ci" || len(issued.Modules) != 1 {
		t.Errorf("%s: %v", text, err)
	}
	if out := ok(t, "token", "list", "--user", "ci"); !strings.Contains(out, issued.ID) || !strings.Contains(out, "never") || !strings.Contains(out, "the pipeline") {
		t.Errorf("tokens:\n%s", out)
	}
	refused(t, exitUsage, []string{"token", "revoke", issued.Token}, "by its id")
	ok(t, "token", "revoke", issued.ID, "--reason", "leaked")
	if out := ok(t, "token", "list"); strings.Contains(out, issued.ID) {
		t.Errorf("a revoked token is listed:\n%s", out)
	}
	if out := ok(t, "token", "list", "--all"); !strings.Contains(out, "revoked") {
		t.Errorf("all tokens:\n%s", out)
	}
	ok(t, "group", "delete", "team-a")
	ok(t, "user", "delete", "ci")
	if out := ok(t, "user", "list"); strings.Contains(out, "ci ") || !strings.Contains(out, "Alice") {
		t.Errorf("users:\n%s", out)
	}
}

// TestReadmeOnUsers runs what README tells people to run, in its order.
func TestReadmeOnUsers(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Users, groups, permissions, tokens\n")
	section, _, _ = strings.Cut(section, "\n## ")
	s, ran := fresh(t), 0
	for line := range strings.Lines(section) {
		args, isOurs := strings.CutPrefix(strings.TrimSpace(line), "bin/registry-node ")
		if !isOurs {
			continue
		}
		out := ok(t, words(strings.ReplaceAll(args, "./data", s.data))...)
		if ran++; strings.HasPrefix(out, "rn_") && os.Getenv(tokenEnv) == "" {
			t.Setenv(tokenEnv, strings.TrimSpace(out))
		}
	}
	if ran != 9 {
		t.Errorf("%d commands have run", ran)
	}
}

// words splits a command line as a shell does, as far as README needs it.
func words(line string) (args []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}

func TestPasswordsComeFromStandardInput(t *testing.T) {
	s := fresh(t)
	const secret = "correct horse battery"
	if r := tryWith(t, secret+"\n", "user", "create", "bob", "--password-stdin", "--data", s.data); r.code != exitOK || strings.Contains(r.stdout+r.stderr, secret) {
		t.Errorf("%+v", r)
	}
	if out := ok(t, "user", "show", "bob", "--data", s.data, "--json"); !strings.Contains(out, `"password": true`) || strings.Contains(out, "$2a$") {
		t.Errorf("bob: %s", out)
	}
	if r := tryWith(t, "short", "user", "set", "bob", "--password-stdin", "--data", s.data); r.code != exitNo || !strings.Contains(r.stderr, "at least 12") {
		t.Errorf("%+v", r)
	}
	if r := tryWith(t, "\n", "user", "set", "bob", "--password-stdin", "--data", s.data); r.code != exitNo || !strings.Contains(r.stderr, "no password") {
		t.Errorf("%+v", r)
	}
	if out := ok(t, "user", "set", "bob", "--no-password", "--disable", "--data", s.data, "--json"); !strings.Contains(out, `"password": false`) || !strings.Contains(out, `"disabled": true`) {
		t.Errorf("bob: %s", out)
	}
}

func TestCompletionOfIdentities(t *testing.T) {
	s := fresh(t)
	t.Setenv(serverEnv, "")
	ok(t, "user", "create", "alice", "--groups", "admins", "--data", s.data)
	for args, want := range map[string]string{
		"user show": "alice", "group add": "admins", "group add admins": "alice", "permission show": "trial", "permission check": "alice",
		"permission check alice": "publish", "permission set x --to": "group:admins", "permission set x --repos": "local", "token create --user": "alice",
	} {
		words := append(append([]string{"__complete"}, strings.Fields(args)...), "--data", s.data, "")
		if f := strings.Fields(args); strings.HasPrefix(f[len(f)-1], "--") { // the flag is last
			words = append(append([]string{"__complete", f[0], f[1], "--data", s.data}, f[2:]...), "")
		}
		if out := ok(t, words...); !strings.Contains(out, want) {
			t.Errorf("%s: completions\n%s", args, out)
		}
	}
}
