package upstream_test

import (
	"testing"

	"registry-node/node/upstream"
)

func TestAddressesOfRedirects(t *testing.T) {
	for _, test := range []struct {
		address         string
		outside, inside bool // allowed for an upstream that is there
	}{
		{"192.0.2.1:443", true, true},
		{"[2001:db8::1]:443", true, true},
		{"127.0.0.1:80", false, true},
		{"[::1]:80", false, true},
		{"[::ffff:127.0.0.1]:80", false, true},
		{"10.1.2.3:80", false, true},
		{"172.16.0.1:80", false, true},
		{"192.168.0.1:80", false, true},
		{"100.64.0.1:80", false, true},
		{"[fd00::1]:80", false, true},
		{"169.254.169.254:80", false, false},
		{"[::ffff:169.254.169.254]:80", false, false},
		{"[fe80::1%eth0]:80", false, false},
		{"0.0.0.0:80", false, false},
		{"[::]:80", false, false},
		{"224.0.0.1:80", false, false},
		{"nonsense", false, false},
	} {
		if err := upstream.CheckAddress(test.address, false); test.outside != (err == nil) {
			t.Errorf("%s from outside: %v, want allowed %v", test.address, err, test.outside)
		}
		if err := upstream.CheckAddress(test.address, true); test.inside != (err == nil) {
			t.Errorf("%s from inside: %v, want allowed %v", test.address, err, test.inside)
		}
	}
}
