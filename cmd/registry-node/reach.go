package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"registry-node/httpapi"
)

// reachFlags say who may reach a node, how, and how often.
type reachFlags struct {
	tlsCert, tlsKey string
	selfSigned      bool
	insecure        bool
	proxies         prefixes
	limits          httpapi.Limits
	conns           httpapi.Conns
}

func (f *reachFlags) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&f.tlsCert, "tls-cert", "", "PEM `file` with the certificate chain for https; a new one is taken up when it is there")
	fs.StringVar(&f.tlsKey, "tls-key", "", "PEM `file` with the key of the certificate")
	fs.BoolVar(&f.selfSigned, "tls-self-signed", false, "https with a certificate that the node makes in DIR/tls: for trials")
	fs.BoolVar(&f.insecure, "insecure-http", false, "allow an address that others can reach without TLS")
	fs.Var(&f.proxies, "trusted-proxy", "`network` of reverse proxies that are believed for whom they ask, as 10.1.0.0/16; repeatable, or with commas")
	fs.IntVar(&f.conns.All, "conns", 2000, "`connections` that are kept; those that wait longest for their client are closed for new ones")
	fs.IntVar(&f.conns.Address, "conns-address", 500, "`connections` that are kept of one client address, which is no trusted proxy's and not this machine's")
	fs.IntVar(&f.limits.Address, "rate-address", 500, "`requests` a second of a client address without credentials; 0 is no limit")
	fs.IntVar(&f.limits.User, "rate-user", 2000, "`requests` a second of a user; 0 is no limit")
	fs.IntVar(&f.limits.Publishes, "rate-publish", 300, "`versions` a minute that a user publishes; 0 is no limit")
	fs.IntVar(&f.limits.Misses, "rate-misses", 60, "`names` a minute that a client address has upstreams asked for and that are not there, users ten times that; 0 is no limit")
}

// check reports whether the settings go together for a node that listens on an
// address, which only this machine may reach.
func (f *reachFlags) check(listen string, loopback bool) error {
	switch l := f.limits; {
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return usagef("--tls-cert and --tls-key go together")
	case f.tlsCert != "" && f.selfSigned:
		return usagef("--tls-self-signed makes a certificate, and --tls-cert names one; give one of them")
	case f.tlsCert == "" && !f.selfSigned && !loopback && !f.insecure:
		return usagef("--listen %s can be reached from other machines, and without TLS anybody between could change what they get; "+
			"give --tls-cert and --tls-key, or --tls-self-signed for a trial, or --insecure-http if something in front of this node does TLS", listen)
	case f.conns.All < 1 || f.conns.Address < 1:
		return usagef("--conns and --conns-address are at least 1")
	case l.Address < 0 || l.User < 0 || l.Publishes < 0 || l.Misses < 0:
		return usagef("a --rate can't be less than 0, which is no limit")
	}
	return nil
}

// plain reports whether the node speaks plain text.
func (f *reachFlags) plain() bool { return f.tlsCert == "" && !f.selfSigned }

// prefixes is a flag for networks. A single address is a network, too.
type prefixes []netip.Prefix

// Set adds what is in the text form.
func (p *prefixes) Set(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		network, err := parseNetwork(strings.TrimSpace(one))
		if err != nil {
			return err
		}
		*p = append(*p, network)
	}
	return nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil || network.Addr().Is4In6() {
		return network, fmt.Errorf("%q is no network like 10.1.0.0/16 and no address", text)
	}
	if network != network.Masked() {
		return network, fmt.Errorf("%s has bits beyond its length; the network is %s", text, network.Masked())
	}
	return network, nil
}

// String returns the text form.
func (p *prefixes) String() string {
	var texts []string
	for _, network := range *p {
		texts = append(texts, network.String())
	}
	return strings.Join(texts, ",")
}

// Type names the kind of value.
func (p *prefixes) Type() string { return "networks" }

// hourly calls f now and each hour, until ctx ends.
func hourly(ctx context.Context, f func()) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		f()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// secureListener is how clients reach a node.
type secureListener struct {
	net.Listener
	cfg         serveConfig
	certificate *certificate // nil: it speaks plain text
	own         selfSigned   // if it is one of these
}

// secure puts TLS before a listener, if the settings say so. The data directory
// must be there, and locked by this process.
func (cfg serveConfig) secure(tcp net.Listener) (*secureListener, error) {
	l := &secureListener{Listener: tcp, cfg: cfg, certificate: cfg.certificate}
	if cfg.reach.selfSigned {
		var err error
		if l.own, err = makeSelfSigned(cfg.data, l.hosts(), time.Now()); err != nil {
			return nil, err
		}
		if l.certificate, err = loadCertificate(l.own.certFile, l.own.keyFile, cfg.logger); err != nil {
			return nil, err
		}
		if err := l.tell(); err != nil {
			return nil, err
		}
	}
	if l.certificate != nil {
		l.Listener = tls.NewListener(tcp, l.certificate.config())
	}
	return l, nil
}

// tell logs which self-signed certificate it is.
func (l *secureListener) tell() error {
	fingerprint, err := l.own.fingerprint()
	if err == nil {
		l.cfg.logger.Info("self-signed certificate; clients trust it by SSL_CERT_FILE, or --ca", "file", l.own.certFile, "sha256", fingerprint)
	}
	return err
}

// hosts returns what a self-signed certificate is for.
func (l *secureListener) hosts() []string {
	return ownHosts(l.cfg.listen, l.cfg.peer.advertise, l.Addr().(*net.TCPAddr))
}

// renew makes a self-signed certificate anew if it ends soon. That addresses come
// and go (of containers, a VPN, for privacy) is no reason: clients trust this one.
func (l *secureListener) renew(now time.Time) error {
	if l.own.good(nil, now) {
		return nil
	}
	if err := l.own.make(l.hosts(), now); err != nil {
		return err
	}
	return l.tell()
}

// endsSoon is how long before its end a certificate of --tls-cert is warned of.
const endsSoon = 14 * 24 * time.Hour

// warnOfEnd says if the certificate in use has ended, or ends soon.
func (l *secureListener) warnOfEnd(now time.Time) {
	switch end := l.certificate.now.Load().Leaf.NotAfter; {
	case now.After(end):
		l.cfg.logger.Error("the TLS certificate has ended, so clients refuse it; replace its files", "certificate", l.cfg.reach.tlsCert, "until", end)
	case now.After(end.Add(-endsSoon)):
		l.cfg.logger.Warn("the TLS certificate ends soon; replace its files", "certificate", l.cfg.reach.tlsCert, "until", end)
	}
}

// watch does what is due each hour, until ctx ends: a node that others can reach
// in plain text says so, a self-signed certificate that ends soon is made anew, and
// another one is warned of.
func (l *secureListener) watch(ctx context.Context) {
	hourly(ctx, func() {
		log := l.cfg.logger
		switch r := l.cfg.reach; {
		case r.plain() && !l.cfg.loopback:
			log.Warn("others reach this node in plain text, so anybody between can read and change what they get, unless something in front does TLS (--insecure-http)",
				"address", l.Addr().String())
		case r.selfSigned:
			if err := l.renew(time.Now()); err != nil {
				log.Error("the self-signed certificate can't be made anew", "error", err)
			}
		case l.certificate != nil:
			l.warnOfEnd(time.Now())
		}
	})
}

// scheme is that of its URLs.
func (l *secureListener) scheme() string {
	if l.certificate == nil {
		return "http"
	}
	return "https"
}

// lasting reports whether browsers may be told to come by TLS from now on: not
// because of a certificate that is there for a trial.
func (l *secureListener) lasting() bool {
	if l.certificate == nil {
		return false
	}
	leaf := l.certificate.now.Load().Leaf
	return !bytes.Equal(leaf.RawIssuer, leaf.RawSubject)
}
