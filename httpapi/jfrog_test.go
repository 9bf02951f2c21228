package httpapi_test

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"registry-node/httpapi"
	"registry-node/node"
)

// jfrog sends what the JFrog CLI 2.112.0 sends: the same requests with the same
// headers, each on a connection of its own, to a listener that trusts nobody.
type jfrog struct {
	*registry
	base string // host:port
	// auth is what is shown: of user and password, of an access token, or nothing.
	auth string
}

// The users of a registry that the JFrog CLI is used with: alice publishes into the
// local repository, bob reads there.
const (
	jfrogPassword = "correct horse battery"
	jfrogUser     = "alice"
)

// newJFrog returns a client without credentials, of a registry with two users.
func newJFrog(t *testing.T, configure ...func(*httpapi.Server)) *jfrog {
	g := newRegistry(t, configure...)
	for _, r := range [][3]string{
		{"PUT", "users/alice", `{}`}, {"PUT", "users/bob", `{}`},
		{"PUT", "permissions/alice", `{"principals":["user:alice"],"repos":["local","public"],"actions":["read","publish","delete"]}`},
		{"PUT", "permissions/bob", `{"principals":["user:bob"],"repos":["local","public"],"actions":["read"]}`},
	} {
		if a := do(t, g.admin, r[0], "http://localhost", "/api/v1/"+r[1], strings.NewReader(r[2])); a.status >= 300 {
			t.Fatalf("%s %s: %d %s", r[0], r[1], a.status, a.body)
		}
	}
	front := httptest.NewServer(g.server.Handler(httpapi.Public))
	t.Cleanup(front.Close)
	return &jfrog{registry: g, base: strings.TrimPrefix(front.URL, "http://")}
}

// as returns the client with other credentials.
func (j *jfrog) as(auth string) *jfrog {
	other := *j
	other.auth = auth
	return &other
}

func (j *jfrog) alice() *jfrog { return j.as(basic(jfrogUser, jfrogPassword)) }

// withPassword gives alice the password. Each check of one takes a while, and seconds
// under the race detector: only tests about passwords have one.
func (j *jfrog) withPassword() *jfrog {
	j.t.Helper()
	body := strings.NewReader(`{"password":"` + jfrogPassword + `"}`)
	if a := do(j.t, j.admin, "PUT", "http://localhost", "/api/v1/users/alice", body); a.status >= 300 {
		j.t.Fatalf("password: %d %s", a.status, a.body)
	}
	return j
}

// token has the operator issue a token, and returns it.
func (j *jfrog) token(body string) string {
	a := do(j.t, j.admin, "POST", "http://localhost", "/api/v1/tokens", strings.NewReader(body))
	if a.status != http.StatusCreated {
		j.t.Fatalf("token %s: %d %s", body, a.status, a.body)
	}
	return decode[node.IssuedToken](j.t, a.body).Token
}

// ask sends a request without a body, as the JFrog CLI does.
func (j *jfrog) ask(method, target string) answer {
	j.t.Helper()
	return j.send(method, target, "", "Uber-Trace-Id: 6d5a3c1f0b2e4d68:6d5a3c1f0b2e4d68:0:0", "Accept-Encoding: gzip")
}

// post sends a body.
func (j *jfrog) post(target, contentType, body string) answer {
	j.t.Helper()
	headers := []string{"Uber-Trace-Id: 6d5a3c1f0b2e4d68:6d5a3c1f0b2e4d68:0:0", "Accept-Encoding: gzip"}
	if contentType != "" {
		headers = append(headers, "Content-Type: "+contentType)
	}
	return j.send("POST", target, body, headers...)
}

// upload sends a file with its checksums: jf go-publish has neither a Content-Type
// nor a trace id on these.
func (j *jfrog) upload(target, body string, more ...string) answer {
	j.t.Helper()
	return j.send("PUT", target, body, append(checksums(body), more...)...)
}

func checksums(body string) []string {
	return []string{
		fmt.Sprintf("X-Checksum-Sha1: %x", sha1.Sum([]byte(body))),
		fmt.Sprintf("X-Checksum-Md5: %x", md5.Sum([]byte(body))),
		fmt.Sprintf("X-Checksum: %x", sha256.Sum256([]byte(body))),
	}
}

// send sends a request on a connection of its own, byte for byte.
func (j *jfrog) send(method, target, body string, headers ...string) answer {
	j.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: jfrog-cli-go/2.112.0\r\nConnection: close\r\n", method, target, j.base)
	if j.auth != "" {
		fmt.Fprintf(&b, "Authorization: %s\r\n", j.auth)
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != "" || method == "PUT" || method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return j.sendRaw(method, b.String())
}

// sendRaw sends the bytes of a request, and then does what is to be done with the
// connection.
func (j *jfrog) sendRaw(method, request string, then ...func(net.Conn)) answer {
	j.t.Helper()
	conn, err := net.Dial("tcp", j.base)
	if err != nil {
		j.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		j.t.Fatal(err)
	}
	for _, f := range then {
		f(conn)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		j.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		j.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// refusal is the body of an error as an Artifactory has it.
func (j *jfrog) refusal(a answer) string {
	j.t.Helper()
	var p struct {
		Errors []struct {
			Status  int
			Message string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || len(p.Errors) != 1 || p.Errors[0].Status != a.status || a.header.Get("Content-Type") != "application/json" {
		j.t.Fatalf("%d %q is no error of an Artifactory (%s)", a.status, a.body, a.header.Get("Content-Type"))
	}
	return p.Errors[0].Message
}

// exchange sends the first request of each jf rt command of a user with a password.
func (j *jfrog) exchange() answer {
	j.t.Helper()
	return j.post("/artifactory/api/security/token", "application/x-www-form-urlencoded",
		"expires_in=3600&refreshable=true&scope=member-of-groups%3A%2A&username=alice")
}

// issued is the answer to that.
type issued struct {
	Scope        string `json:"scope"`
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
}

// claims reads the token as the JFrog CLI does: with the standard alphabet.
func (j *jfrog) claims(token string) (c struct {
	Subject string `json:"sub"`
	Expires int64  `json:"exp"`
	Issued  int64  `json:"iat"`
}) {
	j.t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		j.t.Fatalf("the token has %d parts", len(parts))
	}
	text, err := base64.RawStdEncoding.DecodeString(parts[1])
	if err != nil {
		j.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		j.t.Fatal(err)
	}
	return c
}

// blobs returns how many blobs the node has.
func (j *jfrog) blobs() int {
	j.t.Helper()
	found, err := filepath.Glob(filepath.Join(j.dir, "blobs", "sha256", "*", "*"))
	if err != nil {
		j.t.Fatal(err)
	}
	return len(found)
}
