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
	return s, s.make(hosts, now)
}

// make makes a certificate, with the key that is there if that is any good.
func (s selfSigned) make(hosts []string, now time.Time) error {
	if err := os.Mkdir(filepath.Dir(s.keyFile), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("self-signed certificate: %w", err)
	}
	private, err := s.key()
	var cert, key []byte
	if err == nil {
		cert, key, err = selfSign(private, hosts, now)
	}
	if err == nil {
		err = node.WriteFile(s.keyFile, key, 0o600)
	}
	// A crash here leaves two that don't match, and the next start makes new ones.
	if err == nil {
		err = node.WriteFile(s.certFile, cert, 0o644)
	}
	if err != nil {
		return fmt.Errorf("self-signed certificate: %w", err)
	}
	return nil
}

// key returns the key that is there, or a new one if there is none that is good and
// this node's alone.
func (s selfSigned) key() (*ecdsa.PrivateKey, error) {
	if text, err := os.ReadFile(s.keyFile); err == nil && s.isPrivate() {
		if block, _ := pem.Decode(text); block != nil {
			parsed, _ := x509.ParsePKCS8PrivateKey(block.Bytes) // nil if it is none
			if private, ok := parsed.(*ecdsa.PrivateKey); ok && private.Curve == elliptic.P256() {
				return private, nil
			}
		}
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// isPrivate reports whether nobody else may have read the key. On Windows the mode
// says nothing.
func (s selfSigned) isPrivate() bool {
	info, err := os.Stat(s.keyFile)
	return err == nil && (info.Mode().Perm()&0o077 == 0 || os.PathSeparator != '/')
}

// good reports whether the pair is one for all of hosts, for some time to come.
func (s selfSigned) good(hosts []string, now time.Time) bool {
	pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return false
	}
	if !s.isPrivate() {
		return false
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

// selfSign makes a certificate for hosts and a key, both in PEM. It can't sign
// others: who trusts it trusts this one server.
func selfSign(private *ecdsa.PrivateKey, hosts []string, now time.Time) (cert, key []byte, err error) {
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
