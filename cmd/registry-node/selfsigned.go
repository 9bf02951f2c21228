package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"registry-node/node"
)

// A self-signed pair is in tlsDir below the data directory.
const (
	tlsDir   = "tls"
	certName = "cert.pem"
	keyName  = "key.pem"
)

const (
	selfSignedFor = 365 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
)

// selfSigned is a pair that this node made for itself.
type selfSigned struct{ certFile, keyFile string }

// makeSelfSigned returns the pair in a data directory, whose lock this process
// holds. It makes a new one if there is none, if the one that is there is not for
// all of hosts, or if it ends soon.
func makeSelfSigned(data string, hosts []string, now time.Time) (selfSigned, error) {
	dir := filepath.Join(data, tlsDir)
	s := selfSigned{filepath.Join(dir, certName), filepath.Join(dir, keyName)}
	if s.good(hosts, now) {
		return s, nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return s, fmt.Errorf("self-signed certificate: %w", err)
	}
	cert, key, err := selfSign(hosts, now)
	if err == nil {
		err = node.WriteFile(s.keyFile, key, 0o600)
	}
	// A crash here leaves two that don't match, and the next start makes new ones.
	if err == nil {
		err = node.WriteFile(s.certFile, cert, 0o644)
	}
	if err != nil {
		return s, fmt.Errorf("self-signed certificate: %w", err)
	}
	return s, nil
}

// good reports whether the pair is one for all of hosts, for some time to come.
func (s selfSigned) good(hosts []string, now time.Time) bool {
	pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return false
	}
	if info, err := os.Stat(s.keyFile); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		return false // others may have read it
	}
	for _, h := range hosts {
		if pair.Leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return now.After(pair.Leaf.NotBefore) && now.Before(pair.Leaf.NotAfter.Add(-renewBefore))
}

// fingerprint returns the SHA-256 of the certificate, in hex.
func (s selfSigned) fingerprint() (string, error) {
	pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return "", fmt.Errorf("self-signed certificate: %w", err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(pair.Certificate[0])), nil
}

// selfSign makes a certificate for hosts, and its key, in PEM. It can't sign
// others: who trusts it trusts this one server.
func selfSign(hosts []string, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "registry-node, self-signed"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedFor), // clocks differ
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// ownHosts returns the names and addresses under which clients reach a node that
// listens on listen, as --listen says, and got addr.
func ownHosts(listen, advertise string, addr *net.TCPAddr) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	named, _, _ := net.SplitHostPort(listen)
	hosts = append(hosts, named, advertise)
	for _, own := range ownAddresses(addr) {
		host, _, _ := net.SplitHostPort(own)
		hosts = append(hosts, host)
	}
	hosts = slices.DeleteFunc(hosts, func(h string) bool {
		ip, err := netip.ParseAddr(h)
		return h == "" || strings.Contains(h, "%") || err == nil && (ip.IsUnspecified() || ip.IsLinkLocalUnicast())
	})
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
