package main

import (
	"strings"
	"testing"
	"time"

	"registry-node/node/access"
)

func TestGoauth(t *testing.T) {
	configured(t)
	a, b, env := access.NewToken(false).Secret(), access.NewToken(false).Secret(), access.NewToken(true).Secret()
	if r := try(t, "goauth"); r != (result{}) {
		t.Errorf("without any: %+v", r)
	}
	storing(t, "https://a.test:443", stored{Token: a, User: "alice"})
	storing(t, "https://b.test:8443", stored{Token: b, User: "bob", Expires: time.Now().Add(time.Hour)})
	storing(t, "http://127.0.0.1:8080", stored{Token: a, User: "alice"})
	storing(t, "https://old.test:443", stored{Token: a, User: "carol", Expires: time.Now().Add(-time.Hour), Issuer: "sso"})

	ofA := "https://a.test\nhttps://a.test:443\n\nAuthorization: Bearer " + a + "\n\n"
	ofB := "https://b.test:8443\n\nAuthorization: Bearer " + b + "\n\n"
	r := try(t, "goauth")
	if r.code != exitOK || r.stdout != ofA+ofB {
		t.Errorf("prints %q, want %q", r.stdout, ofA+ofB)
	}
	if !strings.Contains(r.stderr, "of carol for https://old.test:443 expired") || !strings.Contains(r.stderr, "--oidc --issuer sso") {
		t.Errorf("says %q", r.stderr)
	}

	answer := "HTTP/2.0 401 Unauthorized\nWww-Authenticate: Basic realm=\"registry-node\"\n\n"
	for url, want := range map[string]string{
		"https://a.test/go/all/x/@v/list": ofA, "https://a.test:443/": ofA, "https://B.test:8443/go": ofB, "https://b.test/go": "",
		"http://a.test/go": "", "http://127.0.0.1:8080/go": "", "https://a.test.evil.test/": "", "https://old.test/": "", "%": "",
	} {
		r := typed(t, answer, "goauth", url)
		if r.code != exitOK || r.stdout != want {
			t.Errorf("%s: prints %q, want %q (%d)", url, r.stdout, want, r.code)
		}
		if told := strings.Contains(r.stderr, "takes no more"); told != (want != "") {
			t.Errorf("%s: says %q", url, r.stderr)
		}
	}

	// A job of a CI system has its token in the environment.
	t.Setenv(serverEnv, "https://b.test:8443/")
	t.Setenv(tokenEnv, env)
	if r := try(t, "goauth"); r.stdout != strings.ReplaceAll(ofB, b, env)+ofA {
		t.Errorf("prints %q", r.stdout)
	}
	t.Setenv(tokenEnv, "x\nHost: evil.test")
	if r := try(t, "goauth"); r.stdout != ofA+ofB {
		t.Errorf("prints %q", r.stdout)
	}
	refused(t, exitUsage, []string{"goauth", "a", "b"}, "unexpected")
}
