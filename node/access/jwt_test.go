package access_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"registry-node/node/access"
)

// TestJWT: clients decode the middle part with one alphabet or the other, and find
// an end in it even of a token that has none. What stands before a token changes
// nothing of it.
func TestJWT(t *testing.T) {
	token := access.NewToken(false)
	now := time.Unix(1_700_000_000, 0)
	for _, user := range []string{"a", "ab", "abc", "z9-._@x", strings.Repeat("u", 60)} {
		for n := range 20 {
			jwt := token.JWT(access.Claims{Subject: user, Issuer: "registry-node@here", Issued: now.Add(time.Duration(n) * 7919 * time.Hour)})
			parts := strings.Split(jwt, ".")
			if len(parts) != 3 || strings.ContainsAny(parts[1], "-_+/=,") {
				t.Fatalf("%s", parts[1])
			}
			claims, err := base64.RawStdEncoding.DecodeString(parts[1])
			if err != nil || !strings.Contains(string(claims), `"sub":"`+user+`"`) {
				t.Fatalf("%s: %v", claims, err)
			}
			if got := access.Bare(jwt); got != token.Secret() {
				t.Errorf("the token in it is %.6s…", got)
			}
		}
	}
	if end := (access.Claims{Issued: now}).End(); end.Sub(now) != 10*365*24*time.Hour {
		t.Errorf("no end: %v", end)
	}
	if end := (access.Claims{Issued: now, Expires: now.Add(time.Hour)}).End(); end.Sub(now) != time.Hour {
		t.Errorf("an hour: %v", end)
	}
	for _, s := range []string{"", "a.b.c", "a.rn_x", "a.b.c.rn_x", token.Secret()} {
		if got := access.Bare(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}
