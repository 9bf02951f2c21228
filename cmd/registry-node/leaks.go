package main

import (
	"archive/zip"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"registry-node/node/access"
)

// What looks like a secret in a file that is published is warned of: by the name of
// the file, or by what is in it. It is no proof of either: who leaks one in another
// form isn't told, and an example that looks like a key is.

// secretNames are names of files that hold secrets, as path.Match has them, in lower
// case. One with a slash is about the last two elements.
var secretNames = []string{
	".env", ".env.*", "*.env", ".netrc", "_netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd", ".dockercfg", ".pgpass", ".vault-token",
	"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
	"credentials.json", "kubeconfig", "*.kubeconfig", "terraform.tfstate", "*.tfvars",
	".aws/credentials", ".docker/config.json", ".kube/config", "gcloud/credentials.db", ".jfrog/*", ".ssh/*",
}

// harmlessNames are those of templates that are there to be filled in elsewhere.
var harmlessNames = []string{"*.example", "*.sample", "*.template", "*.dist", "*.tmpl"}

// secretForms are what secrets look like. One of the literals is in each of them, so
// that little text has to be looked at closely.
var secretForms = []struct {
	what     string
	literals []string
	form     *regexp.Regexp
	is       func(match string) bool // nil: whatever has the form
}{
	{"a private key", []string{"PRIVATE KEY"}, regexp.MustCompile("-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\\\\r|\\\\n|[\\s\"'`+])*(?:[A-Za-z-]+: [^\\n]*\\n\\s*)*[A-Za-z0-9+/]{32}"), nil},
	{"a token of this registry", []string{access.TokenPrefix}, regexp.MustCompile(`\brn_[a-z2-7]{12}_[a-z2-7]{59}\b`), isOwnToken},
	{"a key of AWS", []string{"AKIA", "ASIA"}, regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`), isNoExample},
	{"a token of GitHub", []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36,251}\b`), nil},
	{"a token of GitHub", []string{"github_pat_"}, regexp.MustCompile(`\bgithub_pat_[A-Za-z0-9_]{82}\b`), nil},
	{"a token of GitLab", []string{"glpat-"}, regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`), nil},
	{"a token of Slack", []string{"xox"}, regexp.MustCompile(`\bxox[abeoprs]-[0-9]{6,}-[0-9A-Za-z-]{16,}`), nil},
	{"a key of Google", []string{"AIza"}, regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}\b`), nil},
	{"a key of Stripe", []string{"k_live_"}, regexp.MustCompile(`\b[rs]k_live_[0-9A-Za-z]{24,}\b`), nil},
	{"a token of npm", []string{"npm_"}, regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`), nil},
	{"a key of Artifactory", []string{"AKCp"}, regexp.MustCompile(`\bAKCp[0-9][0-9A-Za-z]{68}\b`), nil},
	{"a token of Artifactory", []string{"cmVmdGtuO"}, regexp.MustCompile(`\bcmVmdGtuO[0-9A-Za-z]{55}\b`), nil},
}

func isOwnToken(s string) bool {
	_, err := access.ParseToken(s)
	return err == nil
}

// isNoExample tells a key from that in the documentation of AWS.
func isNoExample(s string) bool { return !strings.HasSuffix(s, "EXAMPLE") }

const (
	// leakWindow is how much of a file is looked at at once, and leakOverlap how much
	// of it again with what follows: no secret is longer, as far as it is looked at.
	leakWindow  = 256 << 10
	leakOverlap = 4 << 10
)

// findLeaks returns the files of a packed module that look like secrets, at most one
// warning for each.
func findLeaks(p *packed) ([]warning, error) {
	z, err := zip.OpenReader(p.file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.file, err)
	}
	defer z.Close()
	var list []warning
	window := make([]byte, 0, leakWindow)
	for i, f := range z.File {
		w, ok, err := leakIn(f, p.files[i].Path, window)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.file, f.Name, err)
		}
		if ok {
			list = append(list, w)
		}
	}
	return list, nil
}

// leakIn looks into a file of a zip. What is in it tells more than its name.
func leakIn(f *zip.File, name string, window []byte) (w warning, ok bool, err error) {
	r, err := f.Open()
	if err != nil {
		return w, false, err
	}
	defer r.Close()
	what, line, err := secretIn(r, window)
	if err != nil {
		return w, false, err
	}
	if what != "" {
		return warning{"secret", name, line, "it holds what looks like " + what}, true, nil
	}
	if secretName(name) && !publicPEM(f) {
		return warning{"secret", name, 0, "by its name it holds secrets"}, true, nil
	}
	return w, false, nil
}

// publicPEM reports whether a file is wholly of PEM, and what is in it is for
// everybody, as a certificate is.
func publicPEM(f *zip.File) bool {
	if f.UncompressedSize64 > leakWindow {
		return false
	}
	r, err := f.Open()
	if err != nil {
		return false
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	blocks := 0
	for b, rest := pem.Decode(text); err == nil && b != nil; b, rest = pem.Decode(rest) {
		if b.Type != "CERTIFICATE" && !strings.HasSuffix(b.Type, "PUBLIC KEY") {
			return false
		}
		blocks, text = blocks+1, rest
	}
	return blocks > 0 && len(bytes.TrimSpace(text)) == 0
}

// secretIn returns what the first secret in a text is and the line where it begins;
// an empty what if there is none.
func secretIn(r io.Reader, window []byte) (what string, line int, err error) {
	window, line = window[:0], 1
	for {
		n, err := io.ReadFull(r, window[len(window):cap(window)])
		window = window[:len(window)+n]
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return "", 0, err
		}
		if what, at := secretAt(window); what != "" {
			return what, line + bytes.Count(window[:at], []byte("\n")), nil
		}
		if last {
			return "", 0, nil
		}
		done := len(window) - leakOverlap
		line += bytes.Count(window[:done], []byte("\n"))
		window = window[:copy(window, window[done:])]
	}
}

// secretAt returns what the first secret in a text is, and where it begins.
func secretAt(text []byte) (what string, at int) {
	for _, s := range secretForms {
		if !slices.ContainsFunc(s.literals, func(l string) bool { return bytes.Contains(text, []byte(l)) }) {
			continue
		}
		for _, m := range s.form.FindAllIndex(text, -1) {
			if (s.is == nil || s.is(string(text[m[0]:m[1]]))) && (what == "" || m[0] < at) {
				what, at = s.what, m[0]
			}
		}
	}
	return what, at
}

// secretName reports whether a file is called as those are that hold secrets.
func secretName(file string) bool {
	file = strings.ToLower(file)
	base, dir := path.Base(file), path.Base(path.Dir(file))
	matches := func(pattern string) bool {
		name := base
		if strings.Contains(pattern, "/") {
			name = dir + "/" + base
		}
		ok, _ := path.Match(pattern, name) // the patterns are right: a test uses each
		return ok
	}
	return slices.ContainsFunc(secretNames, matches) && !slices.ContainsFunc(harmlessNames, matches)
}
