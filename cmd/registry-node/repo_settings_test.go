package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"registry-node/events"
)

// everySetting are values for all flags of remote repositories.
var everySetting = []string{
	"--include", "a.example/**", "--include", "b.example", "--exclude", "a.example/x",
	"--list-ttl", "90s", "--query-ttl", "2m", "--absent-ttl", "1m30s", "--stale-for", "1d12h", "--offline-for", "10s", "--timeout", "1h",
	"--offline", "--min-age", "7d", "--no-min-age", "a.example/**@v1.*", "--time-sites", "main", "--keep-nothing",
	"--allow-inside", "10.1.0.0/16", "--allow-inside", "192.0.2.7/32", "--proxy", "socks5://proxy.example:1080", "--secrets", "a.example:8443=mirror",
}

func TestRepoSettings(t *testing.T) {
	fresh(t)
	ok(t, slices.Concat([]string{"repo", "create", "mirror", "--kind", "remote", "--upstream", "https://a.example", "--sumdb", "off"}, everySetting)...)
	created := show(t, "mirror").RemotePolicy
	ok(t, "repo", "create", "later", "--kind", "remote", "--upstream", "https://a.example", "--sumdb", "off")
	ok(t, slices.Concat([]string{"repo", "set", "later"}, everySetting)...)
	if later := show(t, "later").RemotePolicy; !reflect.DeepEqual(later, created) {
		t.Errorf("set makes %+v\ncreate makes %+v", later, created)
	}
	text, err := json.Marshal(created)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"include":["a.example/**","b.example"],"exclude":["a.example/x"],"list_ttl":"1m30s","query_ttl":"2m","absent_ttl":"1m30s",` +
		`"stale_for":"1d12h","offline_for":"10s","timeout":"1h","offline":true,"min_age":"7d","no_min_age":["a.example/**@v1.*"],"time_sites":["main"],` +
		`"keep_nothing":true,"allow_inside":["10.1.0.0/16","192.0.2.7/32"],"proxy":"socks5://proxy.example:1080","secrets":[{"host":"a.example:8443","name":"mirror"}]}`
	if string(text) != want {
		t.Errorf("settings %s\nwant %s", text, want)
	}
	out := ok(t, "repo", "show", "mirror")
	for _, line := range []string{"include a.example/**, b.example", "stale for 1d12h", "offline yes", "min age 7d", "no min age for a.example/**@v1.*", "secrets a.example:8443=mirror"} {
		if !strings.Contains(squeezed(out), line) {
			t.Errorf("repo show lacks %q:\n%s", line, out)
		}
	}

	ok(t, "repo", "set", "mirror", "--include", "", "--exclude", "", "--list-ttl", "", "--query-ttl", "default", "--absent-ttl", "", "--stale-for", "", "--offline-for", "", "--timeout", "default",
		"--offline=false", "--min-age", "", "--no-min-age", "", "--time-sites", "", "--keep-nothing=false", "--allow-inside", "", "--proxy", "default", "--secrets", "")
	r := show(t, "mirror")
	if text, err := json.Marshal(r.RemotePolicy); err != nil || string(text) != "{}" {
		t.Errorf("reset to %s, %v", text, err)
	}
	out = squeezed(ok(t, "repo", "show", "mirror"))
	for _, line := range []string{"list ttl 1m (default)", "stale for 7d (default)", "timeout 30s (default)", "offline no", "min age none (default)", "include all (default)"} {
		if !strings.Contains(out, line) {
			t.Errorf("repo show lacks %q:\n%s", line, out)
		}
	}
}

func TestVCSSettings(t *testing.T) {
	fresh(t)
	out := squeezed(ok(t, "repo", "create", "hosts", "--kind", "remote", "--upstream", "vcs", "--sumdb", "off",
		"--allow-targets", "github.com/corp/**", "--allow-targets", "https://git.example/*", "--plain-hosts", "git.example:8080"))
	for _, line := range []string{"upstream vcs", "timeout 5m (default)", "allow targets github.com/corp/**, https://git.example/*", "plain hosts git.example:8080"} {
		if !strings.Contains(out, line) {
			t.Errorf("repo create lacks %q:\n%s", line, out)
		}
	}
	refused(t, exitNo, []string{"repo", "set", "hosts", "--upstream", "https://a.example"}, `allowed targets and plain hosts are for the upstream "vcs"`)
	refused(t, exitNo, []string{"repo", "set", "hosts", "--secrets", "git.example:8080=x"}, "asked over http, where everybody could read it")
	ok(t, "repo", "set", "hosts", "--upstream", "https://a.example", "--allow-targets", "", "--plain-hosts", "")
}

// TestAccessLogOfARepository: any kind has the setting.
func TestAccessLogOfARepository(t *testing.T) {
	fresh(t)
	for _, repo := range []string{"local", "public", "all"} {
		ok(t, "repo", "set", repo, "--access-log", "all")
		if out := squeezed(ok(t, "repo", "show", repo)); !strings.Contains(out, "access log all home") {
			t.Errorf("repo show:\n%s", out)
		}
	}
	if out := squeezed(ok(t, "repo", "set", "all", "--access-log", "default")); !strings.Contains(out, "access log as each node says (default)") {
		t.Errorf("repo set:\n%s", out)
	}
	refused(t, exitUsage, []string{"repo", "set", "all", "--access-log", "some"}, `access log "some" is none of off, zip, all`)
}

func squeezed(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestMemberRules(t *testing.T) {
	fresh(t)
	ok(t, "repo", "set", "all", "--member-include", "public=a.example/**", "--member-include", "public=b.example", "--member-exclude", "local=corp.example/old")
	if out := squeezed(ok(t, "repo", "show", "all")); !strings.Contains(out, "asks public for a.example/**, b.example, but not for -") ||
		!strings.Contains(out, "asks local for everything, but not for corp.example/old") {
		t.Errorf("repo show:\n%s", out)
	}
	ok(t, "repo", "set", "all", "--member-include", "public=")
	if r := show(t, "all"); len(r.MemberRules) != 1 || r.MemberRules[0].Member.String() != "local" {
		t.Errorf("rules %+v", r.MemberRules)
	}
	refused(t, exitNo, []string{"repo", "set", "all", "--member-exclude", "mirror=x.example"}, `"mirror", which is not a member`)
	refused(t, exitUsage, []string{"repo", "set", "all", "--member-exclude", "x.example"}, "write MEMBER=PATTERN")
}

// TestSettingsThatMakeNoSense are refused, naming what is wrong.
func TestSettingsThatMakeNoSense(t *testing.T) {
	fresh(t)
	remote := "repo create x --kind remote --upstream https://a.example --sumdb off "
	for _, c := range []struct{ args, want string }{
		{remote + "--list-ttl soon", `"--list-ttl" flag: time span "soon"`},
		{remote + "--list-ttl 10ms", "whole seconds from 1s"},
		{remote + "--stale-for -1d", `time span "-1d"`},
		{remote + "--timeout 2h", "at most 1h"},
		{remote + "--offline=perhaps", `"--offline" flag`},
		{remote + "--min-age 7", `time span "7"`},
		{remote + "--no-min-age a.example", "exemptions from the minimum age without a minimum age"},
		{remote + "--time-sites main", "sites whose time counts without a minimum age"},
		{remote + "--keep-nothing --blobs eager", "rules about zips in a repository that keeps none"},
		{remote + "--allow-inside 10.1.2.3/8", "with no bits behind it"},
		{remote + "--allow-inside inside", "is not a prefix of addresses"},
		{remote + "--allow-targets github.com/corp/**", `allowed targets and plain hosts are for the upstream "vcs"`},
		{remote + "--proxy ftp://p.example", `the scheme "ftp"`},
		{remote + "--proxy http://u:s3cret@p.example", "proxy holds credentials"},
		{remote + "--secrets a.example", "write HOST=NAME"},
		{remote + "--secrets a.example=A", `repository name "A"`},
		{remote + "--secrets a.example=a --secrets a.example=b", "two secrets for the host a.example"},
		{remote + "--include //", `"--include" flag: pattern "//"`},
		{remote + "--no-min-age a.example@ --min-age 1d", "nothing after the @"},
		{remote + "--members local", "only a virtual repository has members"},
		{remote + "--frobnicate", "unknown flag: --frobnicate"},
		{"repo create x --kind local --min-age 1d", "the setting min_age is about an upstream"},
		{"repo create x --kind virtual --members local --offline", "the setting offline is about an upstream"},
		{"repo create x --kind virtual --members local --member-include public=a.example", `"public", which is not a member`},
	} {
		refused(t, exitUsage, strings.Fields(c.args), c.want)
		if r := try(t, strings.Fields(c.args)...); strings.Contains(r.stderr, "s3cret") {
			t.Errorf("%s shows the password: %s", c.args, r.stderr)
		}
	}
	refused(t, exitNo, strings.Fields("repo set local --list-ttl 5m"), "the setting list_ttl is about an upstream, and a local repository has none")
	refused(t, exitNo, strings.Fields("repo set public --no-min-age a.example"), "without a minimum age")
}

// TestHelpSaysWhatSettingsAre holds that each setting is described with its
// default, and that spans name their unit.
func TestHelpSaysWhatSettingsAre(t *testing.T) {
	for _, cmd := range []string{"create", "set"} {
		help := ok(t, "repo", cmd, "--help")
		if !strings.Contains(help, "whole seconds: 90s, 5m, 12h, 7d") {
			t.Errorf("repo %s --help lacks the unit of spans", cmd)
		}
		for field := range reflect.TypeFor[events.RemotePolicy]().Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			flag := "--" + strings.ReplaceAll(name, "_", "-") + " "
			_, line, found := strings.Cut(help, flag)
			line, _, _ = strings.Cut(line, "\n")
			if !found || !strings.Contains(line, "remote") || name != "secrets" && !strings.Contains(line, "default") {
				t.Errorf("repo %s --help: %s %q", cmd, flag, line)
			}
		}
	}
}

func TestSettingFlagsHaveNoDefaults(t *testing.T) {
	cmd := repoSetCommand(new(target))
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.DefValue != "" && f.DefValue != "false" {
			t.Errorf("--%s has the default %q, which would be written over what there is", f.Name, f.DefValue)
		}
	})
}
