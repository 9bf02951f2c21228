package main

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// peerFlags say how other sites reach this one.
type peerFlags struct {
	listen    string
	advertise string
	bandwidth byteCount
}

func (f *peerFlags) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.listen, "peer-listen", "", "`address` to listen on for other sites; without it this site dials them, and they can't dial it")
	fs.StringVar(&f.advertise, "advertise", "", "`host` under which other sites dial this one (default: that of --peer-listen)")
	fs.Var(&f.bandwidth, "peer-bandwidth", "`bytes` a second, as 10MiB, for zips that go between sites; 0 is no limit")
}

// check reports whether other sites can make use of what is said.
func (f *peerFlags) check() error {
	if f.listen == "" {
		if f.advertise != "" {
			return usagef("--advertise %s says where other sites dial this one, and without --peer-listen nobody answers there", f.advertise)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(f.listen)
	if err != nil || port == "" {
		return usagef("--peer-listen %q is not HOST:PORT", f.listen)
	}
	if f.advertise != "" {
		return checkHost(f.advertise)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return usagef("--peer-listen %s is every address of this machine; give --advertise HOST, the one under which other sites dial it", f.listen)
	}
	return nil
}

// checkHost reports whether host is a name or an address that can be dialled.
func checkHost(host string) error {
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.IsUnspecified():
		return usagef("--advertise %s is no address that can be dialled", host)
	case err == nil:
		return nil
	case strings.Contains(host, ":"):
		return usagef("--advertise %q is not a host alone: the port is that of --peer-listen", host)
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return usagef("--advertise %q is neither a host name nor an IP address", host)
		}
	}
	return nil
}

// byteCount is a flag for a number of bytes: 0, 1500, 64KiB, 10MiB, 1.5GB.
type byteCount int64

// byteUnits are the units of a byteCount, those that String prefers first.
var byteUnits = []struct {
	name string
	size float64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1}, {"", 1},
}

// Set parses the text form.
func (b *byteCount) Set(text string) error {
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v >= 0) || v*u.size > math.MaxInt64/2 || strings.ContainsAny(number, "xXpPeE_nN") {
			break
		}
		*b = byteCount(v * u.size)
		return nil
	}
	return fmt.Errorf("%q is not a number of bytes like 10MiB", text)
}

// String returns the text form, with the largest unit that divides it.
func (b *byteCount) String() string {
	for _, u := range byteUnits {
		if size := int64(u.size); *b != 0 && int64(*b)%size == 0 {
			return strconv.FormatInt(int64(*b)/size, 10) + u.name
		}
	}
	return "0"
}

// Type names the kind of value.
func (b *byteCount) Type() string { return "bytes" }
