package events

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	pub, priv, _ := ed25519.GenerateKey(rand.Reader)
	a, _ := ParseSite("a")
	g := SiteJoined{Name: a, PublicKey: PublicKey(pub), Genesis: Genesis{Nonce: make([]byte, 32), Recovery: PublicKey(pub)}}
	id := RegistryID(g)
	e, err := Draft{Registry: id, Site: a, Mark: Mark{1, 1}, Time: time.Now(), Prev: id, Bodies: []Body{g}}.Seal(priv)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", e.Raw)
	if err := e.Verify(pub); err != nil {
		t.Fatal(err)
	}
	if err := e.Follows(id, Position{Site: a, Hash: id}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	c, _, err := Apply(nil, e.Events[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", c.Encode())
	if c, err = DecodeContribution(c.Encode()); err != nil {
		t.Fatal(err)
	}
	d := ResolveDirectory(id, Records{KeySite(a): {{a, c}}})
	t.Logf("%+v", d)
	if d.Home() != a {
		t.Fatal("no home")
	}
}
