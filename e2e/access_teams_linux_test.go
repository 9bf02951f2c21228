package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// teams is a registry that is closed and reached over TLS, with two teams, amber
// and cobalt. Each has a local repository (amber-lib), a service account
// (amber-ci), and the rule that it may read and publish there; both read the
// cache of an upstream. All have one URL, that of the virtual repository "all".
//
// What belongs to a team has the team's name in it, so that a leak can be seen.
type teams struct {
	*server
	up     *upstream
	url    string            // https://HOST:PORT
	ca     string            // file with the certificate that clients trust
	tokens map[string]string // of users, by name
	client *http.Client
}

// teamLib is the module that a team has published.
func teamLib(team string) module.Version {
	return module.Version{Path: "corp.example/" + team + "/lib", Version: "v1.0.0"}
}

// newTeams returns a registry as an operator sets it up through the admin socket.
func newTeams(t *testing.T) *teams {
	t.Helper()
	up := newUpstream(t)
	up.add("pub.example/lib", "v1.0.0", library("pub.example/lib", "v1.0.0").with("sub/sub.go", "package sub\n"))
	r := &teams{server: newServer(t, up.settings()...), up: up, tokens: map[string]string{}}
	r.closed = true
	certificate := r.certify()
	r.args = append([]string{"serve", "--init"}, certificate...)
	r.start()
	r.url = "https://" + strings.TrimPrefix(r.URL, "http://")

	r.admin("permission", "delete", "trial")
	r.admin("permission", "set", "public", "--to", "authenticated", "--repos", "public", "--actions", "read")
	r.user("alice", "--groups", "admins")
	for _, team := range []string{"amber", "cobalt"} {
		r.admin("repo", "create", team+"-lib", "--kind", "local", "--owns", "corp.example/"+team+"/**")
		r.admin("group", "set", team)
		r.admin("permission", "set", team, "--to", "group:"+team, "--repos", team+"-lib", "--actions", "read,publish")
		r.user(team+"-ci", "--service", "--groups", team)
	}
	r.admin("repo", "set", "all", "--members", "local,amber-lib,cobalt-lib,public")
	for _, team := range []string{"amber", "cobalt"} {
		mv := teamLib(team)
		files := library(mv.Path, mv.Version).with("deep/er/er.go", "package er\n")
		if a := r.ask(team+"-ci", http.MethodPut, "/api/v1/repos/"+team+"-lib/modules/"+mv.Path+"/@v/"+mv.Version, zipOf(mv, files)); a.status != http.StatusCreated {
			t.Fatalf("%s publishes %v: %d %s", team, mv, a.status, a.body)
		}
	}
	return r
}

// admin runs a command through the admin socket.
func (r *teams) admin(args ...string) string {
	r.t.Helper()
	return r.must(append(args, "--data", r.dir)...)
}

// user makes a user and a token for it.
func (r *teams) user(name string, flags ...string) {
	r.t.Helper()
	r.admin(append([]string{"user", "create", name}, flags...)...)
	r.tokens[name] = strings.TrimSpace(r.admin("token", "create", "--user", name))
}

// certify makes a CA, which r.client and files at r.ca trust, and returns the flags
// for a certificate from it.
func (r *teams) certify() (flags []string) {
	r.t.Helper()
	dir := r.t.TempDir()
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA of a test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "registry"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey, leafKey := r.key(), r.key()
	r.ca = r.pem(dir, "ca.pem", "CERTIFICATE", r.sign(root, root, &rootKey.PublicKey, rootKey))
	cert := r.pem(dir, "cert.pem", "CERTIFICATE", r.sign(leaf, root, &leafKey.PublicKey, rootKey))
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		r.t.Fatal(err)
	}
	r.client = trusting(r.t, r.ca)
	return []string{"--tls-cert", cert, "--tls-key", r.pem(dir, "key.pem", "PRIVATE KEY", der)}
}

func (r *teams) key() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	return k
}

func (r *teams) sign(c, by *x509.Certificate, of *ecdsa.PublicKey, key *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, c, by, of, key)
	if err != nil {
		r.t.Fatal(err)
	}
	return der
}

func (r *teams) pem(dir, name, kind string, der []byte) string {
	r.t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return file
}

// trusting returns a client that trusts the certificates in a file and no others.
func trusting(t testing.TB, file string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("%s: no certificates: %v", file, err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Timeout: time.Minute, Transport: tr}
}

// Those who show no token.
const (
	nobody   = "nobody"   // at the node's own machine
	stranger = "stranger" // elsewhere
)

// ask sends a request as a user does, or as one of those without a token.
func (r *teams) ask(who, method, path string, body []byte) answer {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	switch who {
	case nobody:
	case stranger:
		req.Header.Set("X-Forwarded-For", "192.0.2.7")
	default:
		req.Header.Set("Authorization", "Bearer "+r.tokens[who])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatalf("%s: %s %s: %v", who, method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s: %s %s: %v", who, method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// teamProgram is a team's package: it imports what the team published, and a
// public module.
func teamProgram(team string) tree {
	lib := teamLib(team)
	return tree{
		"go.mod": "module app.example/app\n\ngo 1.21\n\nrequire (\n\t" + lib.Path + " " + lib.Version + "\n\tpub.example/lib v1.0.0\n)\n",
		"app.go": "package app\n\nimport (\n\tprivate \"" + lib.Path + "\"\n\tpublic \"pub.example/lib\"\n)\n\n// What says of what this is made.\nconst What = private.What + public.What\n",
	}
}

// goClient returns a go command that asks a URL of the node.
func (r *teams) goClient(files tree, url string, settings ...string) *goClient {
	return newGoClient(r.t, files, url+"/go/all",
		append([]string{"GOSUMDB=" + r.up.sumdb, "GONOSUMDB=corp.example", "SSL_CERT_FILE=" + r.ca, "HOME=" + r.t.TempDir()}, settings...)...)
}
