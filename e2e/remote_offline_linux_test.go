package e2e

import (
	"errors"
	"testing"

	"golang.org/x/mod/module"
)

// TestOfflineSiteAsksOthers: a site that is switched offline gives what another
// site holds, verified by what that site knows of the checksum database, and asks
// no upstream.
func TestOfflineSiteAsksOthers(t *testing.T) {
	up := newUpstream(t)
	var mvs []module.Version
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		mvs = append(mvs, up.add("pub.example/m", v, library("pub.example/m", v)))
	}
	w := newWorld(t, up, "a", "b")
	a, b := w.sites["a"], w.sites["b"]
	b.must("offline", "on")
	first := a.publicClient(up).download(mvs[0].String())
	w.equal(healWithin)
	zips, requests := up.count(".zip"), up.askedFor("")
	c := b.publicClient(up)
	eventually(t, healWithin, "site b gives what site a has", func() error {
		if r := c.run("mod", "download", mvs[0].String()); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	if d := c.download(mvs[0].String()); d.Sum != first.Sum {
		t.Errorf("site b gives %s, site a %s", d.Sum, first.Sum)
	}
	c.refused(t, mvs[1].String(), "503 Service Unavailable", "this node is switched offline")
	if n := up.askedFor("") - requests; n != 0 || up.count(".zip") != zips {
		t.Errorf("the upstream was asked %d times: %v", n, up.paths())
	}
	a.publicClient(up).download(mvs[1].String()) // only b is offline
}
