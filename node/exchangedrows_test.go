package node_test

import (
	"testing"
	"time"

	"registry-node/node"
)

// An ID token can be exchanged again, but leaves no more behind than so many.
func TestExchangesAreBounded(t *testing.T) {
	t.Parallel()
	w, i := trusting(t)
	n := w.sites["a"]
	token := i.token(nil)
	var got []node.Exchanged
	for range 34 {
		got = append(got, must(n.Exchange(t.Context(), "forge", token)))
	}
	for k, x := range got {
		_, err := authenticated(t, n, x.Token)
		if kept := n.HasExchanged(x.ID); kept != (k >= 2) || (err == nil) != kept {
			t.Errorf("token %d of %d is kept: %t, %v", k, len(got), kept, err)
		}
	}
	if err := n.RevokeToken(t.Context(), op, got[20].ID, ""); err != nil {
		t.Fatal(err)
	}
	last := must(n.Exchange(t.Context(), "forge", token))
	if !n.HasExchanged(got[2].ID) || !n.HasExchanged(last.ID) {
		t.Error("a token that was revoked takes the place of another")
	}
}

// When a token of this site was used is known as of any other, while there is such a
// token.
func TestLastUseOfExchangedToken(t *testing.T) {
	n, ann := signedIn(t)
	for what, end := range map[string]func(id string) error{
		"revoked": func(id string) error { return n.RevokeToken(t.Context(), ann, id, "") },
		"expired": func(id string) error {
			err := n.ChangeExchanged(id, func(row map[string]any) { row["expires"] = time.Now().Add(-time.Second).Format(time.RFC3339) })
			n.SweepExchangedNow()
			return err
		},
	} {
		x := must(n.ExchangePassword(t.Context(), ann))
		if !works(t, n, x) {
			t.Fatal("the token does not work")
		}
		n.WriteUses()
		list, _, err := n.Tokens(ann, node.TokenQuery{})
		if err != nil || len(list) != 1 || time.Since(list[0].LastUsed) > time.Minute {
			t.Errorf("tokens %v, %v", list, err)
		}
		if err := end(x.ID); err != nil {
			t.Fatal(err)
		}
		if used := must(n.LastUse(x.ID)); !used.IsZero() || n.HasExchanged(x.ID) {
			t.Errorf("the token is %s, and was used at %v", what, used)
		}
	}
}
