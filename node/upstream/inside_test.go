package upstream_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"registry-node/node/upstream"
)

func TestInside(t *testing.T) {
	for _, test := range []struct {
		addrs             string
		configured, named bool // allowed for a host that an administrator, that an upstream named
	}{
		{"192.0.2.1 2001:db8::1 1.1.1.1 64:ff9b::1.1.1.1 2002:101:101::1", true, true},
		{"127.0.0.1 127.1.2.3 ::1 ::ffff:127.0.0.1 64:ff9b::127.0.0.1 ::127.0.0.1", true, false},
		{"10.1.2.3 172.16.0.1 172.31.255.255 192.168.0.1 2002:a01:203::1", true, false},
		{"100.64.0.1 100.127.255.255 fd00::1 fc00::1 fec0::1 64:ff9b:1::1.1.1.1 198.18.0.1", true, false},
		{"64:ff9b:1::10.0.0.1 ::ffff:0:127.0.0.1 2001:db8::5efe:10.0.0.1 2001:db8::200:5efe:127.0.0.1", true, false},
		{"64:ff9b:1::a9fe:a9fe ::ffff:0:169.254.169.254 2001:db8::5efe:169.254.169.254 2001:0:7f00:1::1", false, false},
		{"2001:db8::5efe:1.1.1.1 ::ffff:0:1.1.1.1 2001:db8::100:5efe:10.0.0.1", true, true},
		{"172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.167.0.1", true, true},
		{"169.254.169.254 ::ffff:169.254.169.254 64:ff9b::169.254.169.254 2002:a9fe:a9fe::", false, false},
		{"fe80::1 fe80::1%eth0 fd00:ec2::254 fd20:ce::254 100.100.100.200 192.0.0.192 168.63.129.16", false, false},
		{"0.0.0.0 :: 0.1.2.3 224.0.0.1 ff02::1 255.255.255.255 240.0.0.1", false, false},
	} {
		for text := range strings.FieldsSeq(test.addrs) {
			ip := netip.MustParseAddr(text)
			var none upstream.Inside
			if err := none.CheckConfigured(ip); test.configured != (err == nil) {
				t.Errorf("%s, configured: %v, want allowed %v", ip, err, test.configured)
			}
			if err := none.Check(ip); test.named != (err == nil) {
				t.Errorf("%s, named by an upstream: %v, want allowed %v", ip, err, test.named)
			} else if err != nil && !strings.Contains(err.Error(), "--allow-inside") {
				t.Errorf("%s: error %v does not say what would allow it", ip, err)
			}
		}
	}
}

func TestInsideThatIsAllowed(t *testing.T) {
	in := upstream.Inside{
		netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.1.0/24"),
		netip.MustParsePrefix("fd00:1::/32"), netip.MustParsePrefix("fe80::/10"),
	}
	for text, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::10.1.2.3": true, "10.2.0.1": false,
		"169.254.1.9": true, "169.254.169.254": false,
		"fd00:1::7": true, "fd00:2::7": false, "fe80::1%eth0": true, "::1": false,
	} {
		if err := in.Check(netip.MustParseAddr(text)); want != (err == nil) {
			t.Errorf("%s: %v, want allowed %v", text, err, want)
		}
	}
}

func TestRedirectsInsideAreRefused(t *testing.T) {
	other := serve(t, body("v1.0.0\n"))
	var srv *httptest.Server
	srv = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/self/"):
			http.Redirect(w, r, srv.URL+"/list", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/other/"):
			http.Redirect(w, r, other.URL+"/list", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/name/"):
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/list", http.StatusFound)
		default:
			io.WriteString(w, "v1.0.0\n")
		}
	})
	for path, want := range map[string]error{"/self": nil, "/other": upstream.ErrBadAnswer, "/name": upstream.ErrBadAnswer} {
		_, err := newClient(t, srv.URL+path, upstream.Options{}).List(t.Context(), mv.Path)
		if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), "--allow-inside ") {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		in := upstream.Inside{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
		if _, err := newClient(t, srv.URL+path, upstream.Options{Inside: in}).List(t.Context(), mv.Path); err != nil {
			t.Errorf("%s, allowed: %v", path, err)
		}
	}
}

func TestConfiguredHostsMayNotBeLinkLocal(t *testing.T) {
	for _, list := range []string{"http://169.254.169.254", "http://0.0.0.0:1", "http://[fe80::1%25lo]:1"} {
		_, err := newClient(t, list, upstream.Options{ConnectTimeout: time.Minute}).List(t.Context(), mv.Path)
		if !errors.Is(err, upstream.ErrUnavailable) || !strings.Contains(err.Error(), "--allow-inside ") {
			t.Errorf("%s: %v, want a refusal", list, err)
		}
	}
}
