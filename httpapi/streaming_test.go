package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"registry-node/httpapi"
)

// TestColdZipReachesClientsWhileItComes has one fetch serve a first client and
// those who join it in the middle; info and go.mod don't wait for it, and its end
// comes only with the last byte of the upstream's.
func TestColdZipReachesClientsWhileItComes(t *testing.T) {
	eachWay(t, func(t *testing.T, g *registry, repo string, sized bool) {
		mv, data := g.coldZip(1 << 20)
		tap := newTap(g, sized, data)
		passed := func(n int) int { // of n bytes that have come
			if sized {
				return min(n, len(data)-heldBack)
			}
			return n - heldBack
		}
		tap.open(300_000)
		first := g.openZip(repo, mv)
		first.read(passed(300_000))
		if want := int64(len(data)); sized && first.resp.ContentLength != want || !sized && first.resp.ContentLength != -1 {
			t.Errorf("Content-Length %d", first.resp.ContentLength)
		}
		for _, file := range []string{".info", ".mod"} {
			path := strings.TrimSuffix(zipPath(repo, mv), ".zip") + file
			if a := g.get(path); a.status != http.StatusOK {
				t.Errorf("%s while the zip comes: %d %s", file, a.status, a.body)
			}
		}
		second := g.openZip(repo, mv)
		second.read(passed(300_000))
		tap.open(len(data) - 1)
		third := g.openZip(repo, mv)
		for _, s := range []*download{first, second, third} {
			s.read(passed(len(data) - 1))
		}
		tap.open(len(data))
		for _, s := range []*download{first, second, third} {
			if err := s.rest(); err != nil || !bytes.Equal(s.got, data) {
				t.Errorf("%d bytes, %v, want %d", len(s.got), err, len(data))
			}
		}
		g.waitHeld(repo, mv)
		if a := g.get(zipPath(repo, mv)); a.body != string(data) || a.header.Get("Etag") == "" {
			t.Errorf("held: %d bytes, %v", len(a.body), a.header)
		}
		if n := tap.requests(); n != 1 {
			t.Errorf("the upstream was asked %d times", n)
		}
		g.waitUnstaged()
	})
}

// TestBadColdZipIsCut gives nobody a body that looks whole, nor its end, and
// leaves nothing; once the upstream is well, so is the answer.
func TestBadColdZipIsCut(t *testing.T) {
	faults := []struct {
		name string
		make func(mv module.Version, zip []byte) []byte
		end  func(http.ResponseWriter)
	}{
		{"connection cut at the last byte", func(_ module.Version, z []byte) []byte { return z[:len(z)-1] }, abort},
		{"wrong byte in the last block", flipped(-40_000), nil},
		{"wrong byte in the middle", flipped(-500_000), nil},
		{"no directory", func(_ module.Version, z []byte) []byte {
			return append(bytes.Clone(z[:len(z)-100_000]), make([]byte, 100_000)...)
		}, nil},
		{"another module", func(module.Version, []byte) []byte {
			return noisyZip(t, module.Version{Path: "up.test/other", Version: "v1.0.0"}, "module up.test/other\n", 1<<20)
		}, nil},
		{"another go.mod", func(mv module.Version, _ []byte) []byte {
			return noisyZip(t, mv, "module up.test/another\n", 1<<20)
		}, nil},
	}
	eachWay(t, func(t *testing.T, g *registry, repo string, sized bool) {
		for _, tt := range faults {
			t.Run(tt.name, func(t *testing.T) {
				g.t = t
				mv, data := g.coldZip(1 << 20)
				bad := tt.make(mv, data)
				tap := newTap(g, sized, bad)
				if tt.end != nil {
					tap.zip = append(bytes.Clone(bad), 'x') // never sent
				}
				tap.open(300_000)
				early := g.openZip(repo, mv)
				early.read(100_000)
				g.get(strings.TrimSuffix(zipPath(repo, mv), ".zip") + ".mod")
				seq := g.seq() // the go.mod is recorded
				late := g.openZip(repo, mv)
				tap.open(len(bad))
				if tt.end != nil {
					tap.ends(tt.end)
				}
				for _, s := range []*download{early, late} {
					if err := s.rest(); err == nil {
						t.Errorf("%d bytes end as if they were whole", len(s.got))
					}
					if len(s.got) > len(tap.zip)-heldBack {
						t.Errorf("the client got %d of %d bytes", len(s.got), len(bad))
					}
				}
				g.waitUnstaged()
				if now := g.seq(); now != seq {
					t.Errorf("something was recorded: %d, then %d", seq, now)
				}
				g.proxy.setFault(nil)
				if a := g.get(zipPath(repo, mv)); a.body != string(data) {
					t.Errorf("afterwards: %d, %d bytes", a.status, len(a.body))
				}
				g.waitHeld(repo, mv) // or it would be recorded while the next one is watched
			})
		}
	})
}

// flipped changes a byte, so many before the end.
func flipped(at int) func(module.Version, []byte) []byte {
	return func(_ module.Version, z []byte) []byte {
		z = bytes.Clone(z)
		z[len(z)+at] ^= 1
		return z
	}
}

// TestStatusOfAColdZip is decided before anything is sent.
func TestStatusOfAColdZip(t *testing.T) {
	const lookup = "/lookup/"
	faults := []struct {
		name, suffix string
		upstream     int
		want         int
	}{
		{"unknown zip", ".zip", 404, 404},
		{"gone zip", ".zip", 410, 404},
		{"refused zip", ".zip", 403, 403},
		{"broken upstream", ".zip", 500, 502},
		{"unknown go.mod", ".mod", 404, 404},
		{"refused go.mod", ".mod", 401, 403},
		{"no go.mod", ".mod", 503, 502},
		{"no info", ".info", 500, 502},
		{"no checksum database", lookup, 500, 502},
	}
	eachWay(t, func(t *testing.T, g *registry, repo string, sized bool) {
		for _, tt := range faults {
			if tt.suffix == lookup && repo == "public" {
				continue // it has none
			}
			t.Run(tt.name, func(t *testing.T) {
				g.t = t
				mv, data := g.coldZip(200_000)
				tap := newTap(g, sized, data)
				tap.open(150_000) // a zip that has begun to come is not what decides
				if tt.suffix == lookup {
					g.sumsFault.Store(int32(tt.upstream))
					defer g.sumsFault.Store(0)
				}
				g.proxy.setFault(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case strings.HasSuffix(r.URL.Path, tt.suffix):
						http.Error(w, "says so", tt.upstream)
					case strings.HasSuffix(r.URL.Path, ".zip"):
						tap.serve(w)
					default:
						g.proxy.file(w, r)
					}
				})
				if a := g.get(zipPath(repo, mv)); a.status != tt.want {
					t.Errorf("%d %s, want %d", a.status, a.body, tt.want)
				}
				g.waitUnstaged()
			})
		}
	})
}

// TestSmallColdZipIsAnsweredWhole has no header go out before it is verified.
func TestSmallColdZipIsAnsweredWhole(t *testing.T) {
	eachWay(t, func(t *testing.T, g *registry, repo string, sized bool) {
		mv, data := g.coldZip(20_000)
		tap := newTap(g, sized, flipped(-10_000)(mv, data))
		tap.open(len(data))
		if a := g.get(zipPath(repo, mv)); a.status != http.StatusBadGateway {
			t.Errorf("a wrong one: %d %s", a.status, a.body)
		}
		g.proxy.setFault(nil)
		a := g.get(zipPath(repo, mv))
		if a.status != http.StatusOK || a.body != string(data) || a.header.Get("Content-Length") != fmt.Sprint(len(data)) {
			t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.header)
		}
	})
}

// TestColdZipGoesOnWithoutItsClient records what nobody waits for any more.
func TestColdZipGoesOnWithoutItsClient(t *testing.T) {
	eachWay(t, func(t *testing.T, g *registry, repo string, sized bool) {
		mv, data := g.coldZip(1 << 20)
		tap := newTap(g, sized, data)
		tap.open(500_000)
		s := g.openZip(repo, mv)
		s.read(100_000)
		s.resp.Body.Close()
		tap.open(len(data))
		g.waitHeld(repo, mv)
		if a := g.get(zipPath(repo, mv)); a.body != string(data) || tap.requests() != 1 {
			t.Errorf("%d bytes, the upstream was asked %d times", len(a.body), tap.requests())
		}
	})
}

// TestSlowClientHoldsNobodyUp has an upstream finish while a client doesn't read;
// that one still gets all.
func TestSlowClientHoldsNobodyUp(t *testing.T) {
	const size = 24 << 20 // more than sockets buffer
	g := newStreaming(t)
	mv, data := g.coldZip(size)
	tap := newTap(g, true, data)
	tap.open(1 << 20)
	s := g.openZip("public", mv)
	tap.open(len(data))
	tap.waitSent(len(data))
	g.waitHeld("public", mv)
	if err := s.rest(); err != nil || !bytes.Equal(s.got, data) {
		t.Errorf("%d bytes, %v", len(s.got), err)
	}
}

// TestColdZipEndsWithTheServer cuts it when the grace is over.
func TestColdZipEndsWithTheServer(t *testing.T) {
	g := newStreaming(t)
	mv, data := g.coldZip(1 << 20)
	tap := newTap(g, true, data)
	tap.open(500_000)
	server := httpapi.New(g.node, httpapi.Options{Grace: time.Millisecond})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	resp, err := http.Get("http://" + l.Addr().String() + zipPath("public", mv))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stop()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the body ends as if it were whole")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestColdZipForOldClients answers HTTP/1.0, in which a cut body looks like a
// whole one if it has no length, when all is there.
func TestColdZipForOldClients(t *testing.T) {
	g := newStreaming(t)
	mv, data := g.coldZip(300_000)
	tap := newTap(g, false, data)
	tap.open(200_000)
	tap.ends(abort)
	request := "GET " + zipPath("public", mv) + " HTTP/1.0\r\n\r\n"
	if got := g.raw(request); !strings.HasPrefix(got, "HTTP/1.1 502") {
		t.Errorf("cut: %.200q", got)
	}
	tap.ends(nil)
	tap.open(len(data))
	if got := g.raw(request); got != "HTTP/1.1 200\n"+string(data) {
		t.Errorf("whole: %d bytes, %.200q", len(got), got)
	}
}

// TestHeadAndRangeOfAColdZip: HEAD is answered while it comes; a part of it, which
// would be complete before the whole is verified, only then.
func TestHeadAndRangeOfAColdZip(t *testing.T) {
	eachWay(t, func(t *testing.T, g *registry, repo string, sized bool) {
		mv, data := g.coldZip(1 << 20)
		tap := newTap(g, sized, data)
		tap.open(500_000)
		length := ""
		if sized {
			length = fmt.Sprint(len(data))
		}
		if a := g.do("HEAD", zipPath(repo, mv), nil); a.status != http.StatusOK || a.header.Get("Content-Length") != length {
			t.Errorf("HEAD: %d %v", a.status, a.header)
		}
		if sized {
			part := make(chan answer, 1)
			go func() { part <- g.get(zipPath(repo, mv), "Range", "bytes=1000-1999") }()
			tap.open(len(data) - 1)
			select {
			case a := <-part:
				t.Errorf("Range: %d, %d bytes, before the whole was verified", a.status, len(a.body))
			default:
			}
			tap.open(len(data))
			if a := <-part; a.status != http.StatusPartialContent || a.body != string(data[1000:2000]) {
				t.Errorf("Range: %d, %d bytes", a.status, len(a.body))
			}
		}
		tap.open(len(data))
		a := g.get(zipPath(repo, mv), "Range", "bytes=-1000")
		if !strings.HasSuffix(string(data), a.body) || len(a.body) < 1000 {
			t.Errorf("Range at the end: %d, %d bytes", a.status, len(a.body))
		}
	})
}

// TestRangeOfAWrongZip is not answered with any part of it.
func TestRangeOfAWrongZip(t *testing.T) {
	eachWay(t, func(t *testing.T, g *registry, repo string, sized bool) {
		mv, data := g.coldZip(1 << 20)
		wrong := bytes.Clone(data)
		wrong[len(wrong)-40_000] ^= 1
		if !sized {
			return // then the range is not heeded, and the answer is cut
		}
		newTap(g, sized, wrong).open(len(wrong))
		if a := g.get(zipPath(repo, mv), "Range", "bytes=1000-1999"); a.status != http.StatusBadGateway {
			t.Errorf("Range: %d, %d bytes of a wrong zip", a.status, len(a.body))
		}
	})
}
