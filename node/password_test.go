package node_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"registry-node/node"
	"registry-node/node/access"
)

func password(t testing.TB, s string) node.Password {
	t.Helper()
	return must(node.ParsePassword(s))
}

// logsIn authenticates with a password, and returns how many it had to compare with a
// hash.
func (i identities) logsIn(user, text string) (who *access.Caller, compared int64, err error) {
	before := i.PasswordsHashed()
	who, err = i.Authenticate(i.t.Context(), access.PasswordCredential(user, text), netip.Addr{})
	return who, i.PasswordsHashed() - before, err
}

// TestPasswordsTellNothing holds that a wrong password, a user who has none, one who
// is disabled, one who is not there, and a name that nobody can have get the same
// answer at the same cost.
func TestPasswordsTellNothing(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	off := true
	for name, c := range map[string]node.UserChange{
		"alice": {Password: password(t, longPassword)}, "plain": {}, "gone": {Password: password(t, longPassword)},
		"off": {Password: password(t, longPassword), Disabled: &off},
	} {
		if _, _, err := i.PutUser(t.Context(), op, name, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.DeleteUser(t.Context(), op, "gone"); err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for _, c := range []struct{ user, text string }{
		{"alice", longPassword + "x"}, {"alice", ""}, {"plain", longPassword}, {"plain", ""}, {"off", longPassword}, {"gone", longPassword},
		{"nobody", longPassword}, {"No One", longPassword}, {"a\x00b", longPassword}, {"alice", strings.Repeat(longPassword, 9)},
	} {
		_, compared, err := i.logsIn(c.user, c.text)
		if !errors.Is(err, node.ErrUnauthorized) || compared != 1 {
			t.Errorf("%q with %q: %v, %d compared", c.user, c.text, err, compared)
			continue
		}
		texts[err.Error()] = true
	}
	if len(texts) != 1 {
		t.Errorf("there are different answers: %v", texts)
	}
	if _, _, err := i.logsIn("alice", longPassword); err != nil {
		t.Error(err)
	}
}

func TestRightPasswordsAreRemembered(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	put := func(c node.UserChange) {
		t.Helper()
		if _, _, err := i.PutUser(t.Context(), op, "alice", c); err != nil {
			t.Fatal(err)
		}
	}
	try := func(what, text string, want int64, ok bool) {
		t.Helper()
		who, compared, err := i.logsIn("alice", text)
		if compared != want || (err == nil) != ok || ok && (who.User() != "alice" || who.TokenID() != "") {
			t.Errorf("%s: %v, %d compared, %v", what, who, compared, err)
		}
	}
	put(node.UserChange{Password: password(t, longPassword)})
	try("first", longPassword, 1, true)
	try("again", longPassword, 0, true)
	try("wrong", longPassword+".", 1, false)
	try("wrong again", longPassword+".", 1, false)
	display := "Alice"
	put(node.UserChange{Display: &display})
	try("after a change", longPassword, 1, true)
	put(node.UserChange{Password: password(t, "another one, please")})
	try("the old one", longPassword, 1, false)
	try("the new one", "another one, please", 1, true)
	off := true
	put(node.UserChange{Disabled: &off})
	try("disabled", "another one, please", 1, false)
	on := false
	put(node.UserChange{Disabled: &on, NoPassword: true})
	try("none", "another one, please", 1, false)
}

// TestPrefixOfALongPasswordIsNotIt holds that bcrypt's looking at 72 bytes only lets
// nobody in with something else.
func TestPrefixOfALongPasswordIsNotIt(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	long := strings.Repeat("p", 72)
	if _, _, err := i.PutUser(t.Context(), op, "alice", node.UserChange{Password: password(t, long)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.logsIn("alice", long+"q"); !errors.Is(err, node.ErrUnauthorized) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "short", "elevenchars", strings.Repeat("p", 73), "            ", "abc         def", strings.Repeat("\u200b", 12), "with a\nline break", "not text \xff\xfe\xfd"} {
		if _, err := node.ParsePassword(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestUsersChangeTheirOwnPassword(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	if _, _, err := i.PutUser(t.Context(), op, "alice", node.UserChange{Password: password(t, longPassword)}); err != nil {
		t.Fatal(err)
	}
	alice, _, err := i.logsIn("alice", longPassword)
	if err != nil {
		t.Fatal(err)
	}
	next := node.UserChange{Password: password(t, "another one, please")}
	token := i.token(alice, node.NewToken{})
	_, _, err = i.PutUser(t.Context(), token, "alice", next)
	wantErr(t, "with a token alone", err, node.ErrForbidden)
	off := false
	_, _, err = i.PutUser(t.Context(), alice, "alice", node.UserChange{Disabled: &off})
	wantErr(t, "more than that", err, node.ErrForbidden)
	_, _, err = i.PutUser(t.Context(), alice, "alice", node.UserChange{Groups: &[]string{}, Password: next.Password})
	wantErr(t, "more with it", err, node.ErrForbidden)
	if _, _, err := i.PutUser(t.Context(), alice, "alice", next); err != nil {
		t.Error(err)
	}
	if _, _, err := i.logsIn("alice", "another one, please"); err != nil {
		t.Error(err)
	}
}

// TestFewPasswordsAtOnce holds that checks of passwords leave the processors to
// others.
func TestFewPasswordsAtOnce(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	release := i.TakePasswordTurns()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := i.Authenticate(ctx, access.PasswordCredential("alice", longPassword), netip.Addr{}); !errors.Is(err, context.Canceled) || i.PasswordsHashed() != 0 {
		t.Errorf("%v", err)
	}
	release()
	if _, compared, _ := i.logsIn("alice", longPassword); compared != 1 {
		t.Error("not compared")
	}
}
