package node_test

import (
	"testing"

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
