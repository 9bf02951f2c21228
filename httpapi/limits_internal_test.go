package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"registry-node/node/access"
)

func addr(t testing.TB, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestClientAddr holds that only a trusted proxy is believed, and only as far as
// each address in its list is that of another one.
func TestClientAddr(t *testing.T) {
	trusted := []string{"10.0.0.0/8", "2001:db8:ff::/48"}
	for _, tt := range []struct {
		remote    string
		forwarded []string // X-Forwarded-For
		want      string   // with the proxies trusted; without, it is always the remote
	}{
		{"192.0.2.1:80", nil, "192.0.2.1"},
		{"192.0.2.1:80", []string{"198.51.100.7"}, "192.0.2.1"},
		{"10.0.0.1:80", nil, "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"1.2.3.4, 198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"1.2.3.4", "198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"1.2.3.4, 198.51.100.7,10.9.9.9 , 10.0.0.2"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"1.2.3.4, 198.51.100.7", "10.9.9.9"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"10.0.0.1:80", []string{"198.51.100.7, nonsense"}, "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.7, , 10.2.2.2"}, "10.2.2.2"},
		{"10.0.0.1:80", []string{""}, "10.0.0.1"},
		{"10.0.0.1:80", []string{"127.0.0.1"}, "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.7, ::1, 10.2.2.2"}, "10.2.2.2"},
		{"10.0.0.1:80", []string{"::ffff:127.0.0.1"}, "10.0.0.1"},
		{"10.0.0.1:80", []string{"198.51.100.7:4711"}, "198.51.100.7"},
		{"10.0.0.1:80", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"10.0.0.1:80", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"10.0.0.1:80", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"[::ffff:10.0.0.1]:80", []string{"198.51.100.7"}, "198.51.100.7"},
		{"[2001:db8:ff::1]:80", []string{"2001:db8::7"}, "2001:db8::7"},
		{"[fe80::1%eth0]:80", nil, "fe80::1"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": tt.forwarded, "X-Real-Ip": {"203.0.113.9"}, "Forwarded": {"for=203.0.113.9"}}}
		s := &Server{}
		if got, own := s.clientAddr(r), peerAddr(tt.remote); got != own {
			t.Errorf("%s %q without trusted proxies: %v", tt.remote, tt.forwarded, got)
		}
		for _, p := range trusted {
			s.proxies = append(s.proxies, netip.MustParsePrefix(p))
		}
		if got := s.clientAddr(r); got != addr(t, tt.want) {
			t.Errorf("%s %q: %v, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
	if got := (&Server{}).clientAddr(&http.Request{RemoteAddr: "@"}); got.IsValid() || clientName(got) != adminClient {
		t.Errorf("the admin socket: %v", got)
	}
}

func TestOverTLS(t *testing.T) {
	s := &Server{proxies: proxies{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, tt := range []struct {
		remote string
		proto  []string
		want   bool
	}{
		{"10.0.0.1:80", []string{"https"}, true},
		{"10.0.0.1:80", []string{"http"}, false},
		{"10.0.0.1:80", []string{"https", "http"}, false},
		{"10.0.0.1:80", nil, false},
		{"192.0.2.1:80", []string{"https"}, false},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-Proto": tt.proto}}
		if got := s.overTLS(r); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// TestProxyOnThisMachineIsNoLoopbackCaller: a trusted proxy asks for others, also if
// it says nothing of them.
func TestProxyOnThisMachineIsNoLoopbackCaller(t *testing.T) {
	for _, tt := range []struct {
		proxies proxies
		want    bool
	}{{nil, true}, {proxies{netip.MustParsePrefix("10.0.0.0/8")}, true}, {proxies{netip.MustParsePrefix("127.0.0.1/32")}, false}} {
		s := &Server{proxies: tt.proxies}
		if got := s.ownCaller(&http.Request{RemoteAddr: "127.0.0.1:1", Host: "localhost"}); got != tt.want {
			t.Errorf("trusted %v: %t", tt.proxies, got)
		}
	}
}

func TestForwarded(t *testing.T) {
	for name, want := range map[string]bool{
		"X-Forwarded-For": true, "Forwarded": true, "Via": true, "X-Real-Ip": true, "Cf-Connecting-Ip": true, "X-Forwarded-Proto": true,
		"Accept": false, "User-Agent": false,
	} {
		if got := forwarded(&http.Request{Header: http.Header{name: {""}}}); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestRecentIsBounded puts more into a map than it may hold.
func TestRecentIsBounded(t *testing.T) {
	m := newRecent[int, int](10)
	for i := range 1000 {
		m.get(i, func() int { return i })
		if got := m.get(0, func() int { return -1 }); got != 0 {
			t.Fatalf("what is used all the time is forgotten after %d", i)
		}
		if n := len(m.young) + len(m.old); n > 21 {
			t.Fatalf("%d entries after %d", n, i)
		}
	}
	if _, ok := m.peek(999); !ok {
		t.Error("the last one is forgotten")
	}
	if _, ok := m.peek(1); ok {
		t.Error("the first one is not")
	}
}

func mayTry(f *failures, a netip.Addr) bool { return f.mayTry(f.table.get(clientNet(a), newGuesser)) }

func wrong(i int) [32]byte { return sha256.Sum256(fmt.Append(nil, i)) }

// TestGuessingIsThrottled lets one address guess, until it may no more.
func TestGuessingIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a, b := newFailures(), addr(t, "192.0.2.1"), addr(t, "192.0.2.2")
		for i := range failureBurst {
			if !mayTry(f, a) || f.failed(a, byPassword, wrong(i)) {
				t.Fatalf("guess %d is throttled", i)
			}
		}
		if mayTry(f, a) || !f.failed(a, byPassword, wrong(-1)) {
			t.Error("the guess after the burst is not throttled")
		}
		if !mayTry(f, b) || f.failed(b, byPassword, wrong(0)) {
			t.Error("another address is throttled")
		}
		time.Sleep(failureEvery)
		if !mayTry(f, a) || f.failed(a, byPassword, wrong(-2)) {
			t.Error("it is throttled for good")
		}
		if mayTry(f, a) || !f.failed(a, byPassword, wrong(-3)) {
			t.Error("more than one guess has come back")
		}
	})
}

// TestRepeatsAreOneTry sends each wrong credential as often as clients do, and
// those of two clients of one address in turn.
func TestRepeatsAreOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := newFailures(), addr(t, "192.0.2.1")
		for i := range failureBurst / 2 {
			for range 4 {
				for _, one := range []int{2 * i, 2*i + 1} {
					if f.failed(a, byPassword, wrong(one)) {
						t.Fatalf("guess %d is throttled", one)
					}
				}
			}
		}
		for range 4 {
			if !f.failed(a, byPassword, wrong(-1)) {
				t.Error("the guess after the burst is not throttled")
			}
		}
		// Who repeats one without end costs us, too.
		f, throttled := newFailures(), false
		for range failureBurst * (repeatsFree + 1) {
			if throttled = f.failed(a, byPassword, wrong(0)); throttled {
				t.Fatal("a repeat is throttled")
			}
		}
		if mayTry(f, a) || !f.failed(a, byPassword, wrong(0)) {
			t.Error("repeats are free without end")
		}
	})
}

// TestKindsOfGuessesCountApart fails with one kind of credential, and tries others.
func TestKindsOfGuessesCountApart(t *testing.T) {
	f, a := newFailures(), addr(t, "192.0.2.1")
	for i := range 2 * failureBurst {
		f.failed(a, byToken, wrong(i))
	}
	if !f.failed(a, byToken, wrong(-1)) || f.failed(a, byExchange, wrong(-1)) || !mayTry(f, a) || f.failed(a, byPassword, wrong(-1)) {
		t.Error("wrong tokens lock out others")
	}
}

// TestPasswordsOfAnAddressAreTriedInTurn has a crowd of wrong passwords come at
// once: no more are looked at than may fail, one at a time, and none waits for long.
func TestPasswordsOfAnAddressAreTriedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := newFailures(), addr(t, "192.0.2.1")
		var busy, looked, refused atomic.Int32
		try := func(i int, takes time.Duration) {
			done, ok := f.tryPassword(t.Context(), a)
			if !ok {
				refused.Add(1)
				return
			}
			defer done()
			if busy.Add(1) > 1 {
				t.Error("two passwords are looked at at once")
			}
			time.Sleep(takes)
			busy.Add(-1)
			looked.Add(1)
			f.failed(a, byPassword, wrong(i))
		}
		var crowd sync.WaitGroup
		for i := range 10 * failureBurst {
			crowd.Go(func() { try(i, time.Millisecond) })
		}
		crowd.Wait()
		if n := looked.Load(); n != failureBurst || n+refused.Load() != 10*failureBurst {
			t.Errorf("%d are looked at, %d refused", n, refused.Load())
		}
		time.Sleep(failureBurst * failureEvery)
		looked.Store(0)
		start := time.Now()
		for i := range 3 {
			crowd.Go(func() { try(i, patience*2/3) })
		}
		crowd.Wait()
		if n := looked.Load(); n != 2 || time.Since(start) > 2*patience {
			t.Errorf("%d slow ones are looked at, within %v", n, time.Since(start))
		}
	})
}

// TestManyAddressesAreOneClient guesses from each address of a /64.
func TestManyAddressesAreOneClient(t *testing.T) {
	f := newFailures()
	throttled := 0
	for i := range 1000 {
		if f.failed(addr(t, fmt.Sprintf("2001:db8::%x", i+1)), byPassword, wrong(i)) {
			throttled++
		}
	}
	if throttled < 900 {
		t.Errorf("%d of 1000 guesses are throttled", throttled)
	}
	for i := range 10 * failureTable {
		f.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), byPassword, wrong(i))
	}
	if n := len(f.table.young) + len(f.table.old); n > 2*failureTable {
		t.Errorf("it remembers %d addresses", n)
	}
}

func TestDepth(t *testing.T) {
	for text, want := range map[string]int{
		`1`: 0, `{}`: 1, `[[],[[]]]`: 3, `{"a":"[[[["}`: 1, `{"a\"[[":[1]}`: 2, `["\\",[`: 2, `["\`: 1, strings.Repeat("[", 1000): 1000,
	} {
		if got := depth([]byte(text)); got != want {
			t.Errorf("%.20s: %d, want %d", text, got, want)
		}
	}
}

// TestTurns waits for a turn that is near, is refused one that is far, and gives
// back what it can't wait for.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := Limits{Address: 1}.allowance(false, patience)
		start := time.Now()
		for i := range requestBurst + 2 {
			if err := a.admit(t.Context()); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("the last two waited %v", d)
		}
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				if err := a.admit(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		start = time.Now()
		if err := a.admit(t.Context()); !errors.Is(err, errThrottled) || time.Since(start) != 0 {
			t.Errorf("the third: %v after %v", err, time.Since(start))
		}
		waiting.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.admit(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		start = time.Now()
		if err := a.admit(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Errorf("a turn that nobody took is gone: %v after %v", err, time.Since(start))
		}
	})
}

// TestWhoIsLimited tells users and addresses apart.
func TestWhoIsLimited(t *testing.T) {
	alice := access.UserCaller(access.Login{User: "alice"})
	s := &Server{proxies: proxies{netip.MustParsePrefix("127.0.0.9/32"), netip.MustParsePrefix("10.0.0.0/8")}}
	for _, tt := range []struct {
		peer, forwarded string
		who             *access.Caller
		want            clientKey
	}{
		{"192.0.2.1:1", "", nil, clientKey{addr: addr(t, "192.0.2.1")}},
		{"192.0.2.1:1", "", alice, clientKey{user: "alice"}},
		{"[2001:db8::1:2:3:4]:1", "", nil, clientKey{addr: addr(t, "2001:db8::")}},
		{"127.0.0.1:1", "", alice, clientKey{}},
		{"[::1]:1", "", nil, clientKey{}},
		{"@", "", nil, clientKey{}},
		{"10.0.0.1:1", "127.0.0.1", nil, clientKey{addr: addr(t, "10.0.0.1")}},
		{"127.0.0.9:1", "192.0.2.1", nil, clientKey{addr: addr(t, "192.0.2.1")}},
		{"127.0.0.9:1", "", nil, clientKey{addr: addr(t, "127.0.0.9")}},
		{"127.0.0.9:1", "127.0.0.1", alice, clientKey{user: "alice"}},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		k, ok := keyOf(&writer{client: s.clientAddr(r), unlimited: s.unlimited(r), who: tt.who})
		if k != tt.want || ok != (tt.want != clientKey{}) {
			t.Errorf("%s for %q, %v: %v %v", tt.peer, tt.forwarded, tt.who, k, ok)
		}
	}
	l := newLimiter(Limits{Address: 1, User: 2, Misses: 1})
	a, b := l.allowance(clientKey{addr: addr(t, "192.0.2.1")}), l.allowance(clientKey{user: "alice"})
	if a == b || a != l.allowance(clientKey{addr: addr(t, "192.0.2.1")}) || a.requests.Burst() != 10 || b.requests.Burst() != 20 || a.publishes != nil {
		t.Errorf("%+v, %+v", a, b)
	}
	if newLimiter(Limits{}).allowance(clientKey{user: "alice"}) != nil {
		t.Error("no limits limit")
	}
}
