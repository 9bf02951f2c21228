package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"path"
	"strings"
	"testing"

	"registry-node/node/access"
)

func TestSecretNames(t *testing.T) {
	for _, pattern := range append(append([]string{}, secretNames...), harmlessNames...) {
		if _, err := path.Match(pattern, "x"); err != nil || pattern != strings.ToLower(pattern) {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
	for _, name := range []string{".env", "deploy/.env.production", "prod.env", "a/b/.netrc", ".npmrc", ".git-credentials", "testdata/id_rsa", "server.key", "SERVER.KEY", "x.p12",
		"x.pfx", "x.jks", "cert.pem", "credentials.json", "kubeconfig", ".kube/config", "home/.docker/config.json", ".jfrog/jfrog-cli.conf.v6", ".ssh/known"} {
		if !secretName(name) {
			t.Errorf("%s is not warned of", name)
		}
	}
	for _, name := range []string{".env.example", "prod.env.sample", "env", "environment.go", "key.go", "keys", "config.json", "config", "id_rsa.pub", "credentials.go", "docker/config.json", "jfrog/x", "pem.go"} {
		if secretName(name) {
			t.Errorf("%s is warned of", name)
		}
	}
}

// privateKey is a new one in PEM; public has the other half.
func privateKey(t *testing.T) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if der, err = x509.MarshalPKIXPublicKey(pub); err != nil {
		t.Fatal(err)
	}
	return private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// TestSecretsInFiles has secrets, and what isn't one, in files of a module. The
// examples are put together here, so that no file of this project looks like one.
func TestSecretsInFiles(t *testing.T) {
	private, public := privateKey(t)
	token := access.NewToken(false).Secret()
	wrong := token[:len(token)-1] + "2"
	if wrong == token {
		wrong = token[:len(token)-1] + "3"
	}
	letters := strings.Repeat("aB3", 40)
	secrets := map[string]string{
		"key.txt":     "some\ntext\n" + private,
		"key.go":      "package a\n\nvar key = `" + private + "`\n",
		"key.json":    `{"private_key":"` + strings.ReplaceAll(private, "\n", `\n`) + `"}`,
		"old.asc":     "-----BEGIN RSA PRIVATE" + " KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n" + letters,
		"token.go":    "x\n" + `const t = "` + token + `"`,
		"jwt.txt":     "a.b." + token,
		"aws.go":      "AKIA" + "ABCDEFGHIJKLMNOP",
		"github.go":   "ghp_" + letters[:36],
		"pat.go":      "github_pat_" + letters[:82],
		"gitlab.go":   "glpat-" + letters[:20],
		"slack.go":    "xoxb-" + "123456789012-" + letters[:20],
		"google.go":   "AIza" + letters[:35],
		"stripe.go":   "sk_live_" + letters[:24],
		"npm.go":      "npm_" + letters[:36],
		"artifact.go": "AKCp" + "8" + letters[:68],
		"jf.go":       "cmVmdGtuO" + letters[:55],
		"late.go":     strings.Repeat("0123456\n", leakWindow/8*2-1) + "1234 " + token + "\n", // over the edge of a window
		"testdata/x":  private,
	}
	harmless := map[string]string{
		"go.mod": "module corp.example/a\n", "public.pem": public, "public.go": public, "parse.go": `const begin = "-----BEGIN PRIVATE` + ` KEY-----"`,
		"wrong.go": wrong, "aws_test.go": "AKIA" + "IOSFODNN7EXAMPLE", "words.go": "turn_" + letters + " return_value ghp_short xoxb-none npm_install", "empty.pem.txt": "",
	}
	files := map[string]string{"names.pem": "nothing of PEM"}
	for _, m := range []map[string]string{secrets, harmless} {
		for name, text := range m {
			files[name] = text
		}
	}
	p, err := packDir(writeTree(t, t.TempDir(), files), "", "v1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.remove()
	list, err := findLeaks(p)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]warning{}
	for _, w := range list {
		found[w.File] = w
		if strings.Contains(w.Text, token) || w.Kind != "secret" {
			t.Errorf("%+v", w)
		}
	}
	for name := range secrets {
		if found[name].Line == 0 {
			t.Errorf("%s is not warned of: %+v", name, found[name])
		}
	}
	for name := range harmless {
		if w, ok := found[name]; ok {
			t.Errorf("%s is warned of: %+v", name, w)
		}
	}
	if w := found["key.txt"]; w.Line != 3 || w.Text != "it holds what looks like a private key" {
		t.Errorf("key.txt: %+v", w)
	}
	if w := found["late.go"]; w.Line != leakWindow/8*2 {
		t.Errorf("late.go: line %d, want %d", w.Line, leakWindow/8*2)
	}
	if w := found["names.pem"]; w.Line != 0 || !strings.HasPrefix(w.Text, "by its name") {
		t.Errorf("names.pem: %+v", w)
	}
}
