package main

import (
	"strings"
	"testing"
)

func TestUsageErrorsExitWith2(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "needs a command"},
		{"stats", `no command "stats"; did you mean status?`},
		{"--frobnicate", "unknown flag: --frobnicate"},
		{"repo", "repo: it needs a command"},
		{"repo make x", `repo: there is no command "make"`},
		{"completion klingon", `completion: there is no command "klingon"`},
		{"completion bash x", `completion bash: unexpected argument "x"`},
		{"serve", "serve: --data is missing"},
		{"serve x", `serve: unexpected argument "x"`},
		{"serve --data d --site Main", `site name "Main" may only have`},
		{"serve --data d --listen 8080", `--listen "8080" is not HOST:PORT`},
		{"serve --data d --listen localhost:", `is not HOST:PORT`},
		{"serve --data d --listen 0.0.0.0:0", "--insecure-http"},
		{"serve --data d --listen :0", "--insecure-http"},
		{"serve --data d --listen corp.example:0", "--insecure-http"},
		{"serve --data d --tls-cert c.pem", "go together"},
		{"serve --data d --tls-cert c.pem --tls-key k.pem --tls-self-signed", "give one of them"},
		{"serve --data d --conns 0", "--conns"},
		{"repo list --token a --token-file b", "give one"},
		{"serve --data d --trusted-proxy 10.0.0.0/33", "no network"},
		{"serve --data d --trusted-proxy 10.0.0.1/8", "10.0.0.0/8"},
		{"serve --data d --trusted-proxy proxy.test", "no network"},
		{"serve --data d --trusted-proxy ::ffff:10.0.0.0/104", "no network"},
		{"serve --data d --rate-user=-1", "less than 0"},
		{"serve --data d --log-level loud", `--log-level "loud"`},
		{"serve --data d --log-format xml", `--log-format "xml"`},
		{"serve --data d --access-log some", `--access-log "some" is none of zip, all, off`},
		{"serve --data d --access-days 0", "--access-days 0"},
		{"serve --data d --audit-days 0", "--audit-days 0: at least today is kept"},
		{"audit --export --json", "neither --json nor --limit"},
		{"fetched", "fetched: MODULE[@VERSION] is missing"},
		{"fetched A", "malformed module path"},
		{"fetched a.example --since soon", `time span "soon"`},
		{"fetched a.example --limit many", "invalid argument"},
		{"serve --data d --advertise a.example", "without --peer-listen nobody answers"},
		{"serve --data d --peer-listen 4222", "is not HOST:PORT"},
		{"serve --data d --peer-listen a.example:", "is not HOST:PORT"},
		{"serve --data d --peer-listen 0.0.0.0:0", "give --advertise HOST"},
		{"serve --data d --peer-listen [::]:0", "give --advertise HOST"},
		{"serve --data d --peer-listen :0", "give --advertise HOST"},
		{"serve --data d --peer-listen :0 --advertise a.example:1", "is not a host alone"},
		{"serve --data d --peer-listen :0 --advertise 0.0.0.0", "no address that can be dialled"},
		{"serve --data d --peer-listen :0 --advertise a..example", "neither a host name nor"},
		{"serve --data d --peer-listen :0 --advertise http://a", "is not a host alone"},
		{"serve --data d --peer-bandwidth fast", `"fast" is not a number of bytes`},
		{"serve --data d --peer-bandwidth -1", `"-1" is not a number of bytes`},
		{"join --data d", "join: TOKEN is missing"},
		{"join - --data d", "join: TOKEN is missing"}, // standard input is empty
		{"join t", "join: --data is missing"},
		{"join t u --data d", `join: unexpected argument "u"`},
		{"join t --data d --init", "unknown flag: --init"},
		{"join t --data d --advertise a", "without --peer-listen"},
		{"invite", "invite: NAME is missing"},
		{"invite Oslo", `site name "Oslo" may only have`},
		{"invite oslo --valid 0s", "has to be good for some time"},
		{"invite oslo --valid soon", "invalid argument"},
		{"leave x", `leave: unexpected argument "x"`},
		{"site", "site: it needs a command"},
		{"site remove", "site remove: NAME is missing"},
		{"site remove x", "--reason is missing"},
		{"site remove X --reason y", `site name "X" may only have`},
		{"home move", "home move: NAME, or --registry, is missing"},
		{"home move x --registry --to y", `unexpected argument "x"`},
		{"home move x", "--to is missing"},
		{"home move x --to Y", `site name "Y" may only have`},
		{"home move X --to y", `repository name "X" may only have`},
		{"home move x --to y --force", "--reason is missing"},
		{"home move x --to y --yes", "--yes goes with --force"},
		{"block add a.example", "--reason is missing"},
		{"block add a.example@v1 --reason x", `a.example@v1`},
		{"block add a.example@ --reason x", `a.example@`},
		{"block add A --reason x", "malformed module path"},
		{"block remove", "MODULE[@VERSION] is missing"},
		{"epoch new", "say --yes"},
		{"diff", "diff: SITE is missing"},
		{"diff Oslo", `site name "Oslo" may only have`},
		{"repo create x --kind local --home X", `site name "X" may only have`},
		{"repo set x --blobs sometimes", "blob rule"},
		{"publish . --version v1.0.0 --sites none", `--sites "none" is neither`},
		{"publish . --version v1.0.0 --sites 0", `--sites "0" is neither`},
		{"publish . --version v1.0.0 --timeout 1s", "--sites, which is missing"},
		{"publish . --version v1.0.0 --sites 1 --timeout -1s", "less than no time"},
		{"publish", "publish: DIR or ZIP is missing"},
		{"publish a b", "a has no version: write a@v1.2.3"},
		{"publish a@v1.0.0 b", "b has no version"},
		{"publish a@v1.0.0 b@v1", `"v1" is not a version`},
		{"publish @v1.0.0", "names no directory and no zip"},
		{"publish a b --module corp.example/a --version v1.0.0", "there are 2 to publish"},
		{"publish " + strings.Repeat("a ", 65) + "--version v1.0.0", "65 modules are more than can be published at once, 64"},
		{"publish .", "--version is missing"},
		{"publish . --version 1.0.0", `--version "1.0.0" is not a version`},
		{"publish . --version v1", `--version "v1" is not a version`},
		{"publish . --version v1.0.0 --repo A", `repository name "A" may only have`},
		{"publish . --version v2.0.0 --module corp.example/a", "should be v0 or v1"},
		{"repo show", "repo show: NAME is missing"},
		{"repo show x/y", `repository name "x/y" may only have`},
		{"repo create x", "--kind is missing"},
		{"repo create x --kind huge", `"huge" is none of local, remote, virtual`},
		{"repo create x --kind local --upstream http://a.example", "only a remote repository has an upstream"},
		{"repo create x --kind remote", "needs an upstream"},
		{"repo create x --kind virtual", "has 1 to 64 members"},
		{"repo create x --kind local --owns //", "has an empty element"},
		{"repo set x", "nothing to change is named"},
		{"repo set x --members a,B", `repository name "B" may only have`},
		{"repo list --server ftp://a.example", "is not a URL like http"},
		{"repo list --server http://u:p@a.example", "holds a password"},
		{"repo list --server http://a.example --data d", "give one"},
		{"log --from 0", "counted from 1"},
		{"log --from -1", "invalid argument"},
		{"log --site A", `site name "A" may only have`},
		{"verify x", `unexpected argument "x"`},
		{"user", "user: it needs a command"},
		{"user create", "user create: NAME is missing"},
		{"user set x", "nothing to change is named"},
		{"user set x --enable --disable", "are opposites"},
		{"user set x --password-stdin --no-password", "are opposites"},
		{"group add x", "group add: USER is missing"},
		{"permission set x --repos a --actions read", "--to is missing"},
		{"permission set x --to anonymous --actions read", "--repos is missing"},
		{"permission set x --to anonymous --repos a", "--actions is missing"},
		{"permission set x --to alice", `"alice" is none of user:NAME`},
		{"permission set x --actions fly", `action "fly" is none of`},
		{"permission set x --include //", "empty element"},
		{"permission check x fly y", `action "fly" is none of`},
		{"permission check x read", "REPOSITORY is missing"},
		{"token create --expires soon", `time span "soon"`},
		{"token create --expires 3651d", "3650d"},
		{"token revoke", "token revoke: ID is missing"},
		{"whoami x", `unexpected argument "x"`},
		{"invite oslo --rights some", `--rights "some" is none of none, publish, manage`},
		{"version x", `unexpected argument "x"`},
	} {
		refused(t, exitUsage, strings.Fields(c.args), "registry-node: ", c.want, "--help' for usage.")
	}
}

func TestUsageErrorsDoNotShowPasswords(t *testing.T) {
	if r := try(t, "repo", "list", "--server", "http://user:s3cret@a.example"); strings.Contains(r.stderr, "s3cret") {
		t.Errorf("the password is shown: %s", r.stderr)
	}
}

// TestStableInterface holds what scripts rely on.
func TestStableInterface(t *testing.T) {
	for cmd, flags := range map[string]string{
		"serve":        "--data --init --site --listen --config --tls-cert --tls-key --tls-self-signed --insecure-http --trusted-proxy --conns --conns-address --rate-address --rate-user --rate-publish --rate-misses --log-level --access-log --access-days --audit-days --peer-listen --advertise --peer-bandwidth",
		"join":         "--data --site --listen --config --tls-cert --tls-key --tls-self-signed --insecure-http --trusted-proxy --conns --conns-address --rate-address --rate-user --rate-publish --rate-misses --log-level --access-log --access-days --audit-days --peer-listen --advertise --peer-bandwidth",
		"invite":       "--valid --rights --server --token --data",
		"leave":        "--server --token --data",
		"site list":    "--json --server --token --data",
		"site remove":  "--reason --json",
		"home move":    "--registry --to --force --reason --yes --json --server",
		"block add":    "--reason --json --server --token --data",
		"block remove": "--server",
		"block list":   "--json --server",
		"block":        "--reason --json --server --token --data",
		"unblock":      "--server --token --data",
		"audit":        "--since --until --actor --token-id --action --outcome --client --repo --module --limit --export --json --server --token --data",
		"fetched":      "--since --refused --limit --json --server --token --data",
		"secret set":   "--data",
		"secret list":  "--json --data",
		"purge":        "--reason --yes --json --server --token --data",
		"settle":       "--repo --mod-h1 --h1 --reason --server",
		"offline show": "--json --server",
		"offline on":   "--json --server",
		"repo refresh": "--json",
		"repo clean":   "--json",
		"repo pending": "--json",
		"repo drift":   "--json",
		"epoch new":    "--yes --json --server",
		"diff":         "--json --server --token --data",
		"publish":      "--version --repo --sites --timeout --strict --dry-run --worktree --server --token --data --json",
		"status":       "--json --watch --server --token --token-file --data",
		"verify":       "--json --server --token --data",
		"rebuild":      "--json --server --token --data",
		"log":          "--site --from --server --token --data",
		"repo create":  "--kind --owns --upstream --sumdb --no-sumdb --members --deploy --description --home --blobs --json --server",
		"repo set":     "--owns --disowns --upstream --sumdb --no-sumdb --use-sumdb --members --deploy --description --blobs --json",
		"repo list":    "--json --server --token --data",
		"repo show":    "--json",
		"repo delete":  "--reason",
		"repo restore": "--json",
		"version":      "--json",
		"user create":  "--service --display --groups --disable --password-stdin --json --server --token --data",
		"user set":     "--service --display --groups --enable --disable --password-stdin --no-password --json",
		"user list":    "--json", "user show": "--json", "user delete": "--data",
		"group set": "--json", "group add": "--json", "group remove": "--json", "group list": "--json", "group delete": "--data",
		"permission set":  "--to --repos --actions --include --exclude --json --server --token --data",
		"permission list": "--json", "permission show": "--json", "permission check": "--json", "permission delete": "--data",
		"token create": "--user --repos --actions --modules --expires --description --json --server --token --data",
		"token list":   "--user --all --json", "token revoke": "--reason", "whoami": "--json --server --token --data",
	} {
		help := ok(t, append(strings.Fields(cmd), "--help")...)
		for flag := range strings.FieldsSeq(flags) {
			if !strings.Contains(help, flag+" ") {
				t.Errorf("%s --help lacks %s:\n%s", cmd, flag, help)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	if out := ok(t, "version"); !strings.HasPrefix(out, "registry-node ") {
		t.Errorf("version prints %q", out)
	}
	if out := ok(t, "version", "--json"); !strings.Contains(out, `"platform"`) {
		t.Errorf("version --json prints %q", out)
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out := ok(t, "completion", shell); !strings.Contains(out, "registry-node") {
			t.Errorf("completion %s prints %.100q", shell, out)
		}
	}
}
