package main

import (
	"encoding/json"
	"strings"
	"testing"

	"registry-node/node"
)

func show(t *testing.T, name string) (r node.RepoInfo) {
	t.Helper()
	if err := json.Unmarshal([]byte(ok(t, "repo", "show", name, "--json")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRepoLife(t *testing.T) {
	fresh(t)
	ok(t, "repo", "create", "tools", "--kind", "local", "--owns", "corp.example/tools/**", "--owns", "corp.example/x", "--description", "our tools")
	refused(t, exitNo, []string{"repo", "create", "tools", "--kind", "local"}, `there is a repository called "tools" already`)
	ok(t, "repo", "set", "tools", "--owns", "corp.example/y", "--disowns", "corp.example/x", "--description", "")
	if r := show(t, "tools"); list(r.Owns) != "corp.example/tools/**, corp.example/y" || r.Description != "" {
		t.Errorf("tools: %+v", r)
	}
	refused(t, exitNo, []string{"repo", "set", "tools", "--upstream", "https://a.example"}, "only a remote repository")
	refused(t, exitNo, []string{"repo", "set", "none", "--description", "x"}, `no repository called "none"`)

	ok(t, "repo", "create", "mirror", "--kind", "remote", "--upstream", "https://a.example|https://b.example", "--sumdb", "off", "--no-sumdb", "a.example/*")
	ok(t, "repo", "set", "mirror", "--no-sumdb", "b.example", "--use-sumdb", "a.example/*", "--upstream", "https://c.example")
	if r := show(t, "mirror"); list(r.NoSumdb) != "b.example" || r.Upstream != "https://c.example" {
		t.Errorf("mirror: %+v", r)
	}
	refused(t, exitNo, []string{"repo", "set", "mirror", "--upstream", "https://u:p@c.example"}, "credentials")

	ok(t, "repo", "create", "both", "--kind", "virtual", "--members", "tools,mirror", "--deploy", "tools")
	ok(t, "repo", "set", "both", "--members", "mirror", "--members", "tools", "--deploy", "")
	if r := show(t, "both"); list(r.Members) != "mirror, tools" || !r.Deploy.IsZero() {
		t.Errorf("both: %+v", r)
	}
	refused(t, exitNo, []string{"repo", "delete", "tools"}, "a member of both")
	ok(t, "repo", "delete", "both", "--reason", "no longer used")
	ok(t, "repo", "delete", "tools")
	refused(t, exitNo, []string{"repo", "show", "tools"}, `no repository called "tools"`)
	ok(t, "repo", "restore", "tools")
	refused(t, exitNo, []string{"repo", "restore", "tools"}, `"tools" is not deleted`)
	if out := ok(t, "repo", "list"); !strings.Contains(out, "tools") || strings.Contains(out, "both") {
		t.Errorf("repo list:\n%s", out)
	}
	if log := ok(t, "log"); !strings.Contains(log, "no longer used") {
		t.Error("the log does not hold the reason")
	}
}

func TestRepoListJSON(t *testing.T) {
	fresh(t)
	var l repoList
	if err := json.Unmarshal([]byte(ok(t, "repo", "list", "--json")), &l); err != nil || len(l.Repositories) != 3 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestCompletion(t *testing.T) {
	fresh(t)
	for _, c := range []struct {
		args, want, not string
	}{
		{"repo show|", "public\tremote, caches http://upstream.invalid", ""},
		{"repo show local|", "", "public\t"},
		{"publish x --repo|", "all\t", "public\t"},
		{"repo set all --deploy|", "local\t", "public\t"},
		{"repo create x --kind|", "virtual", "local\t"},
		{"serve --log-level|", "warn", ""},
	} {
		args := append([]string{"__complete"}, strings.Fields(strings.TrimSuffix(c.args, "|"))...)
		out := ok(t, append(args, "")...)
		if !strings.Contains(out, c.want) || c.not != "" && strings.Contains(out, c.not) {
			t.Errorf("%s: completions\n%s", c.args, out)
		}
	}
}
