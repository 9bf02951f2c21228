package node_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"registry-node/node"
	"registry-node/node/access"
)

// signedIn returns a node with a user, who has shown a password.
func signedIn(t *testing.T) (*node.Node, *access.Caller) {
	t.Helper()
	n, _ := newNode(t, nil)
	const password = "correct horse battery"
	if _, _, err := n.PutUser(t.Context(), op, "ann", node.UserChange{Password: must(node.ParsePassword(password))}); err != nil {
		t.Fatal(err)
	}
	return n, must(n.Authenticate(t.Context(), access.PasswordCredential("ann", password), netip.Addr{}))
}

func refreshed(t *testing.T, n *node.Node, x node.Exchanged) (node.Exchanged, error) {
	t.Helper()
	token := must(access.ParseToken(x.Token))
	return n.RefreshExchanged(t.Context(), token, node.RefreshToken(token), netip.Addr{})
}

func works(t *testing.T, n *node.Node, x node.Exchanged) bool {
	t.Helper()
	_, err := authenticated(t, n, x.Token)
	if err != nil && !errors.Is(err, node.ErrUnauthorized) {
		t.Fatal(err)
	}
	return err == nil
}

// TestRefreshedTokens: what came of a token ends with it, and no later than 90 days
// after the first; a token that was replaced counts for minutes; who refreshes again
// and again pushes out no tokens but those.
func TestRefreshedTokens(t *testing.T) {
	t.Parallel()
	n, ann := signedIn(t)
	other := must(n.ExchangePassword(t.Context(), ann))
	first := must(n.ExchangePassword(t.Context(), ann))
	second := must(refreshed(t, n, first))
	third := must(refreshed(t, n, second))
	if soon := time.Now().Add(11 * time.Minute); !n.ExchangedUntil(first.ID).Before(soon) || !n.ExchangedUntil(second.ID).Before(soon) || n.ExchangedUntil(third.ID).Before(soon) {
		t.Error("a token that was replaced does not end")
	}
	if !works(t, n, first) || !works(t, n, third) {
		t.Error("a token ends as it is replaced")
	}
	for _, id := range []string{first.ID, second.ID, third.ID, other.ID} {
		if !listsToken(t, n, ann, id) || !listsToken(t, n, op, id) {
			t.Errorf("token %s is not listed", id)
		}
	}
	if listsToken(t, n, access.UserCaller(access.Login{User: "bob"}), third.ID) {
		t.Error("a token of another user is listed")
	}
	if err := n.RevokeToken(t.Context(), ann, second.ID, ""); err != nil {
		t.Fatal(err)
	}
	for _, x := range []node.Exchanged{first, second, third} {
		if works(t, n, x) || listsToken(t, n, op, x.ID) {
			t.Errorf("token %s is left of those that were revoked", x.ID)
		}
	}

	leaked := must(n.ExchangePassword(t.Context(), ann))
	for range 40 {
		leaked = must(refreshed(t, n, leaked))
	}
	if k := len(exchangedOf(t, n, op)); !works(t, n, other) || k != 33 {
		t.Errorf("%d tokens; another one works: %t", k, works(t, n, other))
	}

	old := time.Now().Add(-80 * 24 * time.Hour).UTC()
	if err := n.ChangeExchanged(other.ID, func(row map[string]any) { row["first"] = old.Format(time.RFC3339) }); err != nil {
		t.Fatal(err)
	}
	if last := must(refreshed(t, n, other)); last.Expires.After(old.Add(90*24*time.Hour + time.Second)) {
		t.Errorf("it lasts until %v", last.Expires)
	}
}

func exchangedOf(t *testing.T, n *node.Node, who *access.Caller) (ids []string) {
	t.Helper()
	q := node.TokenQuery{Page: node.Page{Limit: 2}}
	for {
		list, next, err := n.Tokens(who, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			if k.Site != "" {
				ids = append(ids, k.ID)
			}
		}
		if q.After = next; next == "" {
			return ids
		}
	}
}

func listsToken(t *testing.T, n *node.Node, who *access.Caller, id string) bool {
	t.Helper()
	return slices.Contains(exchangedOf(t, n, who), id)
}

// TestDisablingEndsTokens: a token does not come back as its user is enabled again,
// and another display name changes nothing.
func TestDisablingEndsTokens(t *testing.T) {
	t.Parallel()
	n, ann := signedIn(t)
	x := must(n.ExchangePassword(t.Context(), ann))
	put := func(c node.UserChange) {
		t.Helper()
		if _, _, err := n.PutUser(t.Context(), op, "ann", c); err != nil {
			t.Fatal(err)
		}
	}
	yes, no, display := true, false, "Ann"
	put(node.UserChange{Display: &display})
	if !works(t, n, x) {
		t.Error("it ends with a new display name")
	}
	put(node.UserChange{Disabled: &yes})
	put(node.UserChange{Disabled: &no})
	if works(t, n, x) || listsToken(t, n, op, x.ID) {
		t.Error("it is back, or listed as one that works")
	}
	if next := must(n.ExchangePassword(t.Context(), ann)); !works(t, n, next) {
		t.Error("a new one does not count")
	}
}
