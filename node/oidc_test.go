package node_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// issuer is an issuer of ID tokens on this machine.
type issuer struct {
	*httptest.Server
	t    testing.TB
	down atomic.Bool
}

var issuerKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newIssuer(t testing.TB) *issuer {
	i := &issuer{t: t}
	served := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: issuerKey().Public(), KeyID: "k", Algorithm: oidc.RS256}}}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		served.ServeHTTP(w, r)
	}))
	served.SetIssuer(i.URL)
	t.Cleanup(i.Close)
	return i
}

// token returns a good ID token of user alice's repository, with other claims.
func (i *issuer) token(change map[string]any) string {
	now := time.Now()
	c := map[string]any{"iss": i.URL, "aud": "registry", "sub": "alice", "repository": "corp/app",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(c, change)
	b, err := json.Marshal(c)
	if err != nil {
		i.t.Fatal(err)
	}
	return oidctest.SignIDToken(issuerKey(), "k", oidc.RS256, string(b))
}

func (i *issuer) rule() events.Issuer {
	p, err := events.ParseClaimPattern("corp/*")
	if err != nil {
		i.t.Fatal(err)
	}
	return events.Issuer{URL: i.URL, Purpose: events.Exchange, Audience: "registry", UserClaim: "sub", Actions: []string{"read", "publish"},
		Claims: []events.Claim{{Name: "repository", Pattern: p}}}
}

// authenticated returns who shows a token at a node.
func authenticated(t testing.TB, n *node.Node, text string) (*access.Caller, error) {
	t.Helper()
	token, err := access.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	return n.Authenticate(t.Context(), access.TokenCredential(token), netip.Addr{})
}

// trusting returns a world whose site a has user alice, who may do everything, and
// trusts an issuer called forge.
func trusting(t testing.TB) (*world, *issuer) {
	w := newWorld(t, defaults(nil))
	i, n := newIssuer(t), w.sites["a"]
	if err := n.Say(t.Context(), events.UserCreated{Name: "alice"},
		events.PermissionChanged{Name: "alice", Grant: events.Grant{Principals: []string{"user:alice"}, Repos: []string{"*"}, Actions: []string{"read", "publish", "manage"}}}); err != nil {
		t.Fatal(err)
	}
	if _, made, err := n.PutIssuer(t.Context(), op, "forge", i.rule()); err != nil || !made {
		t.Fatalf("made %t, %v", made, err)
	}
	return w, i
}

func TestExchange(t *testing.T) {
	t.Parallel()
	w, i := trusting(t)
	n := w.sites["a"]
	for name, tt := range map[string]struct {
		issuer, token string
		kind          error
		text          string
	}{
		"no such issuer": {"other", i.token(nil), node.ErrNotFound, "no issuer called \"other\""},
		"no token":       {"forge", "", node.ErrUnauthorized, "not a valid ID token"},
		"audience":       {"forge", i.token(map[string]any{"aud": "x"}), node.ErrUnauthorized, "audience"},
		"expired":        {"forge", i.token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), node.ErrUnauthorized, "expired"},
		"claims":         {"forge", i.token(map[string]any{"repository": "evil/app"}), node.ErrForbidden, "must match \"corp/*\""},
		"nobody":         {"forge", i.token(map[string]any{"sub": "bob"}), node.ErrForbidden, "user \"bob\""},
	} {
		_, err := n.Exchange(t.Context(), tt.issuer, tt.token)
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) || tt.token != "" && strings.Contains(err.Error(), tt.token[:40]) {
			t.Errorf("%s: %v, want %v with %q", name, err, tt.kind, tt.text)
		}
	}
	got, err := n.Exchange(t.Context(), "forge", i.token(nil))
	if left := time.Until(got.Expires); err != nil || got.User != "alice" || left < 14*time.Minute || left > 15*time.Minute {
		t.Fatalf("%v, user %s, expires %v", err, got.User, got.Expires)
	}
	who, err := authenticated(t, n, got.Token)
	if err != nil || who.User() != "alice" || !who.Expires().Equal(got.Expires) || !strings.HasPrefix(who.TokenID(), "s") {
		t.Fatalf("it is %v until %v, %v", who, who.Expires(), err)
	}
	if _, err := n.Issuers(who); !errors.Is(err, node.ErrForbidden) {
		t.Errorf("beyond the issuer's scope: %v", err)
	}
	i.down.Store(true) // its keys are known
	if _, err := n.Exchange(t.Context(), "forge", i.token(nil)); err != nil {
		t.Error(err)
	}
}

// What an ID token was exchanged for ends with whatever it stands on.
func TestExchangedTokenEnds(t *testing.T) {
	t.Parallel()
	w, i := trusting(t)
	n := w.sites["a"]
	gone := i.rule()
	gone.Audience = "another"
	for name, end := range map[string]func() error{
		"user disabled": func() error {
			return n.Say(t.Context(), events.UserChanged{Name: "alice", User: events.User{Disabled: true}})
		},
		"user made anew": func() error {
			return n.Say(t.Context(), events.UserDeleted{Name: "alice"}, events.UserCreated{Name: "alice"})
		},
		"issuer changed": func() error { _, _, err := n.PutIssuer(t.Context(), op, "forge", gone); return err },
		"issuer deleted": func() error { return n.DeleteIssuer(t.Context(), op, "forge") },
		"issuer deleted and said again": func() error {
			_, _, err := n.PutIssuer(t.Context(), op, "forge", i.rule())
			return errors.Join(n.DeleteIssuer(t.Context(), op, "forge"), err)
		},
	} {
		got, err := n.Exchange(t.Context(), "forge", i.token(nil))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := authenticated(t, n, got.Token); err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if who, err := authenticated(t, n, got.Token); !errors.Is(err, node.ErrUnauthorized) {
			t.Errorf("%s: it is %v, %v", name, who, err)
		}
		err = n.Say(t.Context(), events.UserChanged{Name: "alice"})
		if _, _, e := n.PutIssuer(t.Context(), op, "forge", i.rule()); err != nil || e != nil {
			t.Fatal(err, e)
		}
	}
	// Another user was made by the same clock.
	got, err := n.Exchange(t.Context(), "forge", i.token(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.ChangeExchanged(got.ID, func(row map[string]any) { row["since"] = "a/1/1/0" }); err != nil {
		t.Fatal(err)
	}
	if who, err := authenticated(t, n, got.Token); !errors.Is(err, node.ErrUnauthorized) {
		t.Errorf("another user: it is %v, %v", who, err)
	}
	// Of another user, of the same id, or after its time.
	for what, change := range map[string]func(map[string]any){
		"another secret": func(row map[string]any) { row["hash"] = events.DigestOf(nil).String() },
		"expired":        func(row map[string]any) { row["expires"] = time.Now().Add(-time.Second).Format(time.RFC3339) },
	} {
		got, err := n.Exchange(t.Context(), "forge", i.token(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.ChangeExchanged(got.ID, change); err != nil {
			t.Fatal(err)
		}
		if who, err := authenticated(t, n, got.Token); !errors.Is(err, node.ErrUnauthorized) {
			t.Errorf("%s: it is %v, %v", what, who, err)
		}
		// What has expired is taken away as others come.
		n.SweepExchangedNow()
		if kept := n.HasExchanged(got.ID); kept != (what != "expired") {
			t.Errorf("%s: kept: %t", what, kept)
		}
	}
}

// A token of one site is none at another, but what is decided there is decided for
// its user, who is verified there, too.
func TestExchangedTokenAtAnotherSite(t *testing.T) {
	t.Parallel()
	w, i := trusting(t)
	b := w.join("b", "a", false)
	a := w.sites["a"]
	a.VerifyLater(14 * time.Minute) // the ID token has expired by then, what it was exchanged for has not
	got, err := b.Exchange(t.Context(), "forge", i.token(nil))
	if err != nil {
		t.Fatal(err)
	}
	if who, err := authenticated(t, w.sites["a"], got.Token); !errors.Is(err, node.ErrUnauthorized) {
		t.Errorf("at another site it is %v, %v", who, err)
	}
	who, err := authenticated(t, b, got.Token)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(version string) error {
		v := mv("corp.example/x", version)
		_, err := b.Publish(t.Context(), who, node.Publication{Repo: name("local"), Version: v, Zip: zipReader(t, v, goMod(v.Path))})
		return err
	}
	if err := publish("v1.0.0"); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.logAt("a", "a") {
		for _, ev := range e.Events {
			if p, ok := ev.Body.(events.VersionPublished); ok && p.Actor != "alice/oidc:forge" {
				t.Errorf("published by %q", p.Actor)
			}
		}
	}

	// The home looks for itself: b knows nothing of what follows.
	release := b.StopFollowing()
	defer release()
	if err := a.Say(t.Context(), events.UserChanged{Name: "alice", User: events.User{Disabled: true}}); err != nil {
		t.Fatal(err)
	}
	if err := publish("v1.1.0"); !errors.Is(err, node.ErrUnauthorized) {
		t.Errorf("a disabled user publishes: %v", err)
	}
	if err := a.Say(t.Context(), events.UserChanged{Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	gone := i.rule()
	gone.Claims[0].Name = "other"
	if _, _, err := a.PutIssuer(t.Context(), op, "forge", gone); err != nil {
		t.Fatal(err)
	}
	if err := publish("v1.2.0"); !errors.Is(err, node.ErrForbidden) {
		t.Errorf("who the issuer does not stand for publishes: %v", err)
	}
	a.VerifyLater(80 * time.Minute)
	if _, _, err := a.PutIssuer(t.Context(), op, "forge", i.rule()); err != nil {
		t.Fatal(err)
	}
	if err := publish("v1.3.0"); !errors.Is(err, node.ErrUnauthorized) {
		t.Errorf("after its time: %v", err)
	}
	if err := a.DeleteIssuer(t.Context(), op, "forge"); err != nil {
		t.Fatal(err)
	}
	if err := publish("v1.4.0"); !errors.Is(err, node.ErrUnavailable) {
		t.Errorf("of an issuer that the home does not know: %v", err)
	}
}

// Nothing of the tokens is to be found in what a node keeps.
func TestExchangedTokenIsNotStored(t *testing.T) {
	t.Parallel()
	w, i := trusting(t)
	idToken := i.token(nil)
	got, err := w.sites["a"].Exchange(t.Context(), "forge", idToken)
	if err != nil {
		t.Fatal(err)
	}
	w.close("a")
	signature := idToken[strings.LastIndexByte(idToken, '.')+1:]
	files := 0
	err = filepath.WalkDir(w.path("a"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(file)
		files++
		for _, secret := range []string{signature[:24], got.Token[20:60]} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s has %s", file, secret)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatal(files, err)
	}
	if who, err := authenticated(t, w.open("a"), got.Token); err != nil || who.User() != "alice" {
		t.Errorf("after a restart it is %v, %v", who, err)
	}
}

func TestOnlyAdministratorsTrustIssuers(t *testing.T) {
	t.Parallel()
	w, i := trusting(t)
	n := w.sites["a"]
	if names := n.IssuerNames(); len(names) != 1 || names[0] != (node.IssuerName{Name: "forge", URL: i.URL, Purpose: events.Exchange, Audience: "registry"}) {
		t.Errorf("everybody sees %+v", names)
	}
	for _, who := range []*access.Caller{access.Anonymous(netip.Addr{}), access.UserCaller(access.Login{User: "bob"}), nil} {
		_, _, put := n.PutIssuer(t.Context(), who, "forge", i.rule())
		_, show := n.Issuer(who, "forge")
		_, list := n.Issuers(who)
		for what, err := range map[string]error{"put": put, "show": show, "list": list, "delete": n.DeleteIssuer(t.Context(), who, "forge")} {
			if !errors.Is(err, node.ErrUnauthorized) && !errors.Is(err, node.ErrForbidden) {
				t.Errorf("%s by %v: %v", what, who, err)
			}
		}
	}
	if is, err := n.Issuer(op, "forge"); err != nil || is.URL != i.URL || is.Actor != op.Actor() {
		t.Errorf("%+v, %v", is, err)
	}
	bad := i.rule()
	bad.Claims = nil
	for what, call := range map[string]func(context.Context) error{
		"everybody": func(ctx context.Context) error { _, _, err := n.PutIssuer(ctx, op, "x", bad); return err },
		"name":      func(ctx context.Context) error { _, _, err := n.PutIssuer(ctx, op, "No", i.rule()); return err },
		"no user": func(ctx context.Context) error {
			is := i.rule()
			is.User, is.UserClaim = "carol", ""
			_, _, err := n.PutIssuer(ctx, op, "x", is)
			return err
		},
	} {
		if err := call(t.Context()); !errors.Is(err, node.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := n.DeleteIssuer(t.Context(), op, "x"); !errors.Is(err, node.ErrNotFound) {
		t.Error(err)
	}
	if _, made, err := n.PutIssuer(t.Context(), op, "forge", i.rule()); made || err != nil {
		t.Errorf("the same again: made %t, %v", made, err)
	}
	b := w.join("b", "a", false)
	if _, made, err := b.PutIssuer(t.Context(), access.Operator(site("b")), "two", i.rule()); !made || err != nil {
		t.Errorf("by way of another site: made %t, %v", made, err)
	}
	if err := b.DeleteIssuer(t.Context(), access.Operator(site("b")), "two"); err != nil {
		t.Error(err)
	}
}
