package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigPrecedence(t *testing.T) {
	dir := writeTree(t, t.TempDir(), map[string]string{
		"node.yaml": "listen: 127.0.0.1:1\nsite: file\ndata: file\ninit: true\n",
	})
	file := filepath.Join(dir, "node.yaml")
	t.Setenv("REGISTRY_NODE_SITE", "env")
	t.Setenv("REGISTRY_NODE_DATA", "env")
	cmd := serveCommand()
	if err := cmd.ParseFlags([]string{"--config", file, "--data", "flag"}); err != nil {
		t.Fatal(err)
	}
	if err := completeFlags(cmd.Flags()); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"data": "flag", "site": "env", "listen": "127.0.0.1:1", "init": "true", "log-level": "info",
	} {
		if got := cmd.Flag(flag).Value.String(); got != want {
			t.Errorf("%s is %q, want %q", flag, got, want)
		}
	}
}

func TestConfigFileNamedByEnvironment(t *testing.T) {
	dir := writeTree(t, t.TempDir(), map[string]string{"node.yaml": "site: file\n"})
	t.Setenv("REGISTRY_NODE_CONFIG", filepath.Join(dir, "node.yaml"))
	cmd := serveCommand()
	if err := completeFlags(cmd.Flags()); err != nil {
		t.Fatal(err)
	}
	if got := cmd.Flag("site").Value.String(); got != "file" {
		t.Errorf("site is %q, want %q", got, "file")
	}
}

// TestEveryFlagIsASetting sets all of serve's flags in each of the other two ways.
func TestEveryFlagIsASetting(t *testing.T) {
	values := map[string]string{
		"data": "d", "init": "true", "site": "s", "listen": "localhost:1", "tls-cert": "c", "tls-key": "k",
		"conns": "70", "conns-address": "60", "insecure-http": "true", "tls-self-signed": "true", "trusted-proxy": "10.0.0.0/8,192.0.2.1/32",
		"rate-address": "1", "rate-user": "2", "rate-publish": "3", "rate-misses": "4", "log-level": "debug", "log-format": "json",
		"access-log": "all", "access-days": "7", "audit-days": "8", "peer-listen": "localhost:2", "advertise": "host", "peer-bandwidth": "10MiB",
	}
	var yaml strings.Builder
	for name, v := range values {
		yaml.WriteString(name + ": " + v + "\n")
	}
	dir := writeTree(t, t.TempDir(), map[string]string{"node.yaml": yaml.String()})
	for _, way := range []string{"environment", "file"} {
		t.Run(way, func(t *testing.T) {
			cmd := serveCommand()
			if got := len(configKeys(cmd.Flags())); got != len(values) {
				t.Fatalf("serve has %d flags, this test knows %d", got, len(values))
			}
			if way == "file" {
				cmd.Flags().Set(configFlag, filepath.Join(dir, "node.yaml"))
			} else {
				for name, v := range values {
					t.Setenv(envName(name), v)
				}
			}
			if err := completeFlags(cmd.Flags()); err != nil {
				t.Fatal(err)
			}
			for name, want := range values {
				if got := cmd.Flag(name).Value.String(); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	for text, want := range map[string]string{
		"listn: 127.0.0.1:0\n":            `unknown key "listn"; there are: access-days, access-log, advertise, audit-days, conns, conns-address, data, init, insecure-http, listen`,
		"config: other.yaml\n":            `unknown key "config"`,
		"help: true\n":                    `unknown key "help"`,
		"tls_cert: a\n":                   `unknown key "tls_cert"`,
		"site: [a, b]\n":                  "line 1: site needs one plain value",
		"site:\n":                         "line 1: site needs one plain value",
		"site: a\nsite: b\n":              "already defined",
		"init: perhaps\n":                 `init: "perhaps" is no value for it`,
		"site: a\n---\nsite: b\n":         "more than one document",
		"- site\n":                        "cannot unmarshal",
		"site: \"\n":                      "yaml: ",
		"#" + strings.Repeat("x", 65<<10): "larger than 64 KiB",
	} {
		writeTree(t, dir, map[string]string{"node.yaml": text})
		refused(t, exitUsage, []string{"serve", "--data", data, "--config", filepath.Join(dir, "node.yaml")}, "node.yaml: ", want)
	}
	refused(t, exitNo, []string{"serve", "--data", data, "--config", filepath.Join(dir, "none.yaml")}, "none.yaml", "no such file")
	t.Setenv("REGISTRY_NODE_INIT", "perhaps")
	refused(t, exitUsage, []string{"serve", "--data", data}, `REGISTRY_NODE_INIT: "perhaps" is no value for it`)
}

func TestEmptyConfigIsFine(t *testing.T) {
	dir := writeTree(t, t.TempDir(), map[string]string{"node.yaml": "# nothing\n"})
	cmd := serveCommand()
	cmd.Flags().Set(configFlag, filepath.Join(dir, "node.yaml"))
	if err := completeFlags(cmd.Flags()); err != nil {
		t.Error(err)
	}
}
