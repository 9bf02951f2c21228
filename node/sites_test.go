package node_test

import (
	"bytes"
	"testing"

	"golang.org/x/mod/module"
)

// A second and a third site join; what is published at any of them is read at
// all, and all agree.
func TestSitesJoinAndAgree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	v1 := module.Version{Path: "corp.example/lib", Version: "v1.0.0"}
	files := goMod(v1.Path).with("a.go", "package lib\n")
	if _, err := w.publish("a", v1, files); err != nil {
		t.Fatal(err)
	}
	w.join("b", "a", false)
	w.join("c", "b", true) // invited by another member, and nobody can dial it
	w.equal()
	for i, at := range []string{"b", "c", "a"} {
		mv := module.Version{Path: v1.Path, Version: []string{"v1.1.0", "v1.2.0", "v1.3.0"}[i]}
		got, err := w.publish(at, mv, files)
		if err != nil {
			t.Fatalf("publish at %s: %v", at, err)
		}
		if got.Position.Site != site("a") || got.Pending {
			t.Errorf("publish at %s: decided at %v, pending %v", at, got.Position, got.Pending)
		}
		if data, err := w.zip(at, "local", mv); err != nil || !bytes.Equal(data, zipOf(t, mv, files)) {
			t.Errorf("%s does not read its own write: %v", at, err)
		}
	}
	w.equal()
	for _, at := range []string{"a", "b", "c"} {
		for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"} {
			mv := module.Version{Path: v1.Path, Version: v}
			if data, err := w.zip(at, "all", mv); err != nil || !bytes.Equal(data, zipOf(t, mv, files)) {
				t.Errorf("%s at %s: %v", v, at, err)
			}
		}
		log, err := w.sites[at].Log(op, site("b"), 1) // home of nothing, it has written nothing
		if err != nil {
			t.Fatalf("the log of b at %s: %v", at, err)
		}
		for e, err := range log {
			t.Errorf("the log of b at %s has %v, %v", at, e.Position, err)
		}
	}
}
