package upstream

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// sandbox is what one command may see and reach.
type sandbox struct {
	book   *book
	tools  *toolset
	src    source
	base   *url.URL // where the repository is, after redirects
	user   *secret  // for base, or nil
	ca     string   // PEM file, or ""
	permit *permit  // the way out
}

// telemetryOff is where the go command looks whether it may count anything.
const telemetryOff = ".config/go/telemetry/mode"

// prepare writes what the environment does not tell.
func (s sandbox) prepare() error {
	mode := s.book.path("home", filepath.FromSlash(telemetryOff))
	if err := os.MkdirAll(filepath.Dir(mode), 0o700); err != nil {
		return err
	}
	return os.WriteFile(mode, []byte("off\n"), 0o600)
}

// environ is the whole environment of a command; it has nothing of the user's.
func (s sandbox) environ() []string {
	home, tmp := s.book.path("home"), s.book.path("tmp")
	env := []string{
		"PATH=" + s.tools.path,
		"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "XDG_CACHE_HOME=" + filepath.Join(home, ".cache"),
		"USERPROFILE=" + home, "APPDATA=" + home, "LOCALAPPDATA=" + home,
		"TMPDIR=" + tmp, "TMP=" + tmp, "TEMP=" + tmp,
		"LC_ALL=C", // the texts of errors are read

		"GO111MODULE=on", "GOAUTH=off", "GOENV=off", "GOTOOLCHAIN=local", "GOWORK=off",
		"GOFLAGS=-modcacherw", // so that it can be removed
		"GOPATH=" + s.book.path("home", "go"), "GOMODCACHE=" + s.book.path("mod"), "GOCACHE=" + filepath.Join(home, "build"), "GOTMPDIR=" + tmp,
		"GOPROXY=direct", "GOSUMDB=off", "GOPRIVATE=", "GONOPROXY=", "GONOSUMDB=", "GOVCS=*:git",
		// By https the go command would not let the gate answer; what goes to the
		// gate stays within this process.
		"GOINSECURE=*",
		"HTTP_PROXY=" + s.permit.discovery.String(), "HTTPS_PROXY=" + s.permit.discovery.String(), "NO_PROXY=",

		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_SSH_COMMAND=false", "GIT_PAGER=cat", "GIT_EDITOR=false",
		"GIT_ALLOW_PROTOCOL=" + s.base.Scheme, "GIT_PROTOCOL_FROM_USER=0",
	}
	if root := os.Getenv("SYSTEMROOT"); root != "" { // Windows makes no connection without it
		env = append(env, "SYSTEMROOT="+root)
	}
	return append(env, gitConfig(s.settings())...)
}

// harmlessFlaws are what git's fsck finds in many old repositories: flaws of who
// and when, and of a file's mode, which lead nowhere (git-fsck, "fsck messages").
var harmlessFlaws = []string{
	"zeroPaddedFilemode",
	"badTimezone", "zeroPaddedDate", "badDateOverflow",
	"missingSpaceBeforeDate", "missingEmail", "missingNameBeforeEmail",
}

// settings are git's, as pairs of key and value.
func (s sandbox) settings() [][2]string {
	set := [][2]string{
		{"core.hooksPath", os.DevNull},
		{"core.symlinks", "false"},
		{"init.templateDir", ""}, // hooks, and more files
		{"core.fsmonitor", "false"},
		{"credential.helper", ""},
		{"protocol.ext.allow", "never"},
		{"protocol.file.allow", "never"},
		{"submodule.recurse", "false"},
		{"fetch.recurseSubmodules", "false"},
		{"transfer.fsckObjects", "true"},
		{"transfer.bundleURI", "false"},
		{"fetch.unpackLimit", "1"}, // few files
		{"gc.auto", "0"},           // nothing goes on in the background
		{"maintenance.auto", "false"},
		{"http.followRedirects", "false"}, // they were followed, and judged, before
		{"http.proxy", s.permit.tunnel.String()},
		{"http.proxyAuthMethod", "basic"},
		{"http.sslVerify", "true"},
		{"http.lowSpeedLimit", "100"}, // bytes a second,
		{"http.lowSpeedTime", "60"},   // for so many seconds: it stalls
	}
	for _, id := range harmlessFlaws {
		set = append(set, [2]string{"fetch.fsck." + id, "warn"})
	}
	base := s.base.String()
	if base != s.src.tag.target {
		set = append(set, [2]string{"url." + base + ".insteadOf", s.src.tag.target})
	}
	if s.ca != "" {
		set = append(set, [2]string{"http.sslCAInfo", s.ca})
	}
	if s.user != nil {
		set = append(set, [2]string{"http." + base + ".extraHeader", s.user.header + ": " + s.user.value})
	}
	return set
}

// gitConfig is how settings are told by the environment: they show in no file
// and on no command line.
func gitConfig(settings [][2]string) []string {
	env := []string{fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(settings))}
	for i, kv := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, kv[1]))
	}
	return env
}

// secrets are the texts that may not leave with what a command says, and what
// stands for each.
func (s sandbox) secrets() *strings.Replacer {
	hide := []string{s.book.dir, "$CACHE", s.permit.token, redacted, s.permit.gitToken, redacted}
	if s.user != nil {
		hide = append(hide, s.user.value, redacted)
		for _, echo := range s.user.echoes {
			hide = append(hide, echo, redacted)
		}
		if len(s.user.user) >= 16 { // a token; a short one is a name, and a word
			hide = append(hide, s.user.user, redacted)
		}
	}
	return strings.NewReplacer(hide...)
}
