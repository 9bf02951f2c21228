package node_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
	"registry-node/replication"
)

// forgeToken changes what a token says, and makes it whole again.
func forgeToken(t testing.TB, token string, change func(map[string]any)) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "rnj1_"))
	if err != nil {
		t.Fatal(err)
	}
	var says map[string]any
	if err := json.Unmarshal(b[:len(b)-6], &says); err != nil {
		t.Fatal(err)
	}
	change(says)
	if b, err = json.Marshal(says); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return "rnj1_" + base64.RawURLEncoding.EncodeToString(append(b, sum[:6]...))
}

func invite(t testing.TB, n *node.Node, name string, valid time.Duration) string {
	t.Helper()
	inv, err := n.Invite(t.Context(), op, site(name), valid, node.RightsPublish)
	if err != nil {
		t.Fatal(err)
	}
	return inv.Token
}

// A token that is not just as a member made it is refused at once, says why, and
// leaves nothing behind that stops a join with a good one.
func TestBadTokensAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	other := newWorld(t, nil)
	b := invite(t, w.sites["a"], "b", time.Hour)
	foreign := invite(t, other.sites["a"], "b", time.Hour)
	say := func(key string, value any) string {
		return forgeToken(t, b, func(says map[string]any) { says[key] = value })
	}
	random := func() string { s := make([]byte, 32); rand.Read(s); return base64.StdEncoding.EncodeToString(s) }
	digest := events.DigestOf([]byte("other")).String()
	tests := []struct {
		name, token string
		kind        error
		says        string
	}{
		{"blank", "", node.ErrInvalid, "is empty"},
		{"white space", " \n\t", node.ErrInvalid, "is empty"},
		{"garbage", "garbage", node.ErrInvalid, "is not one that"},
		{"prefix alone", "rnj1_", node.ErrInvalid, "is not one that"},
		{"cut short", b[:len("rnj1_")+40], node.ErrInvalid, "changed or cut short"},
		{"a letter changed", b[:40] + map[bool]string{true: "B", false: "A"}[b[40] == 'A'] + b[41:], node.ErrInvalid, "changed or cut short"},
		{"blank secret", say("s", ""), node.ErrInvalid, "holds no secret"},
		{"zero secret", say("s", base64.StdEncoding.EncodeToString(make([]byte, 32))), node.ErrInvalid, "holds no secret"},
		{"short secret", say("s", "AAAA"), node.ErrInvalid, "holds no secret"},
		{"expired", say("e", time.Now().Add(-time.Second).Unix()), node.ErrInvalid, "expired"},
		{"another secret", say("s", random()), node.ErrForbidden, "the secret is not that of its last invitation"},
		{"another name", say("n", "c"), node.ErrForbidden, "nobody invited it"},
		{"a member's name", say("n", "a"), node.ErrForbidden, "the name is taken"},
		{"other registry", say("r", digest), node.ErrForbidden, "of another registry"},
		{"wrong pin", say("p", digest), node.ErrUnavailable, "can't be reached"},
		{"of another registry's member", forgeToken(t, foreign, func(says map[string]any) { says["r"] = w.sites["a"].Registry().String() }), node.ErrForbidden, "of another registry"},
	}
	dir := filepath.Join(t.TempDir(), "b")
	for _, tt := range tests {
		err := node.Join(t.Context(), tt.token, dir, node.Options{})
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	if got := len(must(w.sites["a"].Sites(op))); got != 2 { // a, and b as invited
		t.Errorf("%d sites are known", got)
	}
	w.opts["b"] = node.Options{Logger: quiet(t, "b")}
	if err := node.Join(t.Context(), b, dir, w.opts["b"]); err != nil {
		t.Fatalf("with a good token: %v", err)
	}
	// It may have been taken in without hearing of it, and the token has expired since.
	late := say("e", time.Now().Add(-time.Second).Unix())
	if err := os.Remove(filepath.Join(dir, "format")); err != nil {
		t.Fatal(err)
	}
	if err := node.Join(t.Context(), late, dir, w.opts["b"]); err != nil {
		t.Fatalf("the same once more, late: %v", err)
	}
	for i := range 100 {
		if err := node.Join(t.Context(), b, filepath.Join(t.TempDir(), "again"), node.Options{}); !errors.Is(err, node.ErrForbidden) || !strings.Contains(err.Error(), "works once") {
			t.Fatalf("use %d of a token: %v", i+2, err)
		}
	}
	w.goesOn("v1.0.0")
}

// An invitation ends at its home's clock, whatever the token says.
func TestExpiredInvitationIsRefusedAtHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	token := forgeToken(t, invite(t, w.sites["a"], "b", time.Millisecond), func(says map[string]any) { says["e"] = time.Now().Add(time.Hour).Unix() })
	waitFor(t, "the invitation to expire", func() bool {
		for _, s := range must(w.sites["a"].Sites(op)) {
			if s.Expires != nil && time.Now().After(*s.Expires) {
				return true
			}
		}
		return false
	})
	if err := node.Join(t.Context(), token, w.path("b"), node.Options{}); !errors.Is(err, node.ErrForbidden) || !strings.Contains(err.Error(), "has expired") {
		t.Errorf("an expired invitation: %v", err)
	}
}

// Of two that have one token, one joins.
func TestRacingJoinsHaveOneWinner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	token := invite(t, w.sites["a"], "b", time.Hour)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
		wg.Go(func() { errs[i] = node.Join(t.Context(), token, dir, node.Options{}) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, node.ErrForbidden):
			t.Errorf("a loser is told: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d joined", won)
	}
}

// asJoiner sends a request to join as made by change, over a connection with cert.
func (w *world) asJoiner(token string, change func(req map[string]any, key ed25519.PrivateKey)) (status int, text string) {
	w.t.Helper()
	certPEM, keyPEM, err := replication.NewCertificate(site("x"))
	if err != nil {
		w.t.Fatal(err)
	}
	cert := pair(w.t, certPEM, keyPEM)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	req := map[string]any{"v": 1, "certificate": replication.CertificateDigest(cert).String(), "key": base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))}
	forgeToken(w.t, token, func(says map[string]any) {
		req["registry"], req["name"], req["secret"] = says["r"], says["n"], says["s"]
	})
	change(req, key)
	body, err := json.Marshal(req)
	if err != nil {
		w.t.Fatal(err)
	}
	client := replication.PinnedClient(cert, replication.CertificateDigest(w.certificate("a")))
	defer client.CloseIdleConnections()
	resp, err := client.Post("https://"+w.sites["a"].PeerAddr().String()+"/peer/join", "application/json", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct{ Error string }
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, a.Error
}

// Who asks to join proves the key and shows the certificate that the registry is
// to record for it.
func TestJoinNeedsProofOfItsKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	token := invite(t, w.sites["a"], "c", time.Hour)
	ofB := replication.CertificateDigest(w.certificate("b")).String()
	prove := func(req map[string]any, key ed25519.PrivateKey) {
		text := fmt.Sprintf("registry-node join 1\n%v\n%v\n%v\n%q\n", req["registry"], req["name"], req["certificate"], []string(nil))
		req["proof"] = base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
	}
	tests := []struct {
		name   string
		change func(req map[string]any, key ed25519.PrivateKey)
		says   string
	}{
		{"no proof", func(map[string]any, ed25519.PrivateKey) {}, "does not prove that it has its key"},
		{"proof of another key", func(req map[string]any, _ ed25519.PrivateKey) {
			_, key, _ := ed25519.GenerateKey(rand.Reader)
			prove(req, key)
		}, "does not prove that it has its key"},
		{"certificate of another site", func(req map[string]any, key ed25519.PrivateKey) { req["certificate"] = ofB; prove(req, key) }, "another certificate than it names"},
		{"no secret", func(req map[string]any, key ed25519.PrivateKey) { delete(req, "secret"); prove(req, key) }, "holds no secret"},
		{"version of the future", func(req map[string]any, key ed25519.PrivateKey) { req["v"] = 2; prove(req, key) }, "upgrade"},
	}
	for _, tt := range tests {
		if status, text := w.asJoiner(token, tt.change); status != http.StatusForbidden || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %d %q, want %q", tt.name, status, text, tt.says)
		}
	}
	if status, text := w.asJoiner(token, prove); status != http.StatusOK {
		t.Errorf("with all proofs: %d %q", status, text)
	}
}
