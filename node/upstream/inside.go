package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

var (
	errAddress    = errors.New("address refused")
	errConfigured = errors.New("address of a configured host refused")
)

// Inside lists the addresses inside the network of this node that may be
// reached where inside addresses are refused otherwise.
//
// An upstream can name any host: in a redirect, in a go-import tag, in its DNS.
// So that no name leads into the network of this node, the address itself is
// judged, when it is dialed. There are two rules:
//
//   - [Inside.Check] is for hosts that somebody outside named. Loopback, private,
//     unique local and shared (carrier NAT) addresses are refused, and all that
//     the next rule refuses.
//   - [Inside.CheckConfigured] is for hosts that an administrator of this
//     repository named, which may be inside. Only addresses that no service
//     registry has are refused: link-local ones and those of the metadata
//     services of clouds, which hand out the keys of the machine; multicast,
//     unspecified and reserved ones.
//
// An address that Inside has is allowed by both. Nil allows none.
type Inside []netip.Prefix

// Check judges an address that a host somebody outside named has resolved to.
// The error says which setting would allow it.
func (in Inside) Check(ip netip.Addr) error {
	return in.check(ip, errAddress, never, network)
}

// CheckConfigured judges an address that a configured host has resolved to. The
// error says which setting would allow it.
func (in Inside) CheckConfigured(ip netip.Addr) error {
	return in.check(ip, errConfigured, never)
}

func (in Inside) check(ip netip.Addr, sentinel error, refused ...[]addresses) error {
	ip = ip.WithZone("").Unmap()
	if in.has(ip) {
		return nil
	}
	judged := []netip.Addr{ip}
	if v4, ok := embedded(ip); ok && !in.has(v4) {
		judged = append(judged, v4)
	}
	for _, a := range slices.Concat(refused...) {
		if slices.ContainsFunc(judged, a.prefix.Contains) {
			return fmt.Errorf("%w: %s is %s; if it is to be reached, allow it: --allow-inside %s",
				sentinel, ip, a.what, netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	return nil
}

func (in Inside) has(ip netip.Addr) bool {
	return slices.ContainsFunc(in, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// addresses are what a prefix is for.
type addresses struct {
	prefix netip.Prefix
	what   string
}

func kind(what string, prefixes ...string) []addresses {
	var as []addresses
	for _, p := range prefixes {
		as = append(as, addresses{netip.MustParsePrefix(p), what})
	}
	return as
}

// never are the addresses at which nothing is that a registry may fetch.
// 100.100.100.200 and 192.0.0.192 are metadata services as well, outside of
// 169.254.0.0/16, as is 168.63.129.16, which looks public.
var never = slices.Concat(
	kind("unspecified", "0.0.0.0/8", "::/128"),
	kind("link-local, where clouds keep the keys of a machine", "169.254.0.0/16", "fe80::/10"),
	kind("a metadata service of a cloud",
		"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
		"fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128"),
	kind("multicast", "224.0.0.0/4", "ff00::/8"),
	kind("reserved", "240.0.0.0/4"),
	kind("a tunnel to anywhere (Teredo)", "2001::/32"),
)

// network are the addresses of a network of one's own.
var network = slices.Concat(
	kind("loopback", "127.0.0.0/8", "::1/128"),
	kind("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10", "64:ff9b:1::/48"),
	kind("shared behind a carrier's NAT", "100.64.0.0/10"),
	kind("for use within a network", "192.0.0.0/24", "198.18.0.0/15"),
)

// translators are prefixes of IPv6 addresses that lead to the IPv4 address at
// the given byte: NAT64 (RFC 6052, and RFC 8215 for local use), 6to4 (RFC 3056),
// IPv4-compatible, IPv4-translated (RFC 2765).
var translators = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("64:ff9b:1::/96"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12},
	{netip.MustParsePrefix("::/96"), 12},
}

// embedded returns the IPv4 address that an IPv6 address leads to, if so.
func embedded(ip netip.Addr) (netip.Addr, bool) {
	if !ip.Is6() || ip == netip.IPv6Unspecified() || ip.IsLoopback() {
		return netip.Addr{}, false
	}
	b := ip.As16()
	for _, t := range translators {
		if t.prefix.Contains(ip) {
			return netip.AddrFrom4([4]byte(b[t.at : t.at+4])), true
		}
	}
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP (RFC 5214, 6.1)
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return netip.Addr{}, false
}
