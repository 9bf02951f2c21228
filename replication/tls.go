package replication

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"registry-node/events"
)

// The protocols that TLS negotiates (ALPN) on the listener of a site.
const (
	protoMesh = "rn-mesh/1"
	protoHTTP = "http/1.1"
)

// NewCertificate makes a key and a self-signed certificate with which a site
// proves who it is to its peers. They know it by its digest, so it is valid for
// 100 years: its term is no control, its membership is.
//
// The key must not be the one that signs the site's log. What a TLS handshake
// signs is chosen partly by the other side.
func NewCertificate(site events.Site) (certPEM, keyPEM []byte, err error) {
	if site.IsZero() {
		return nil, nil, errors.New("new certificate: no site")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("new certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("new certificate: %w", err)
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: site.String(), Organization: []string{"registry-node"}},
		DNSNames:              []string{site.String()},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(100, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("new certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("new certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// CertificateDigest returns what peers know c by: the SHA-256 of its DER. It is
// zero for a tls.Certificate without one.
func CertificateDigest(c tls.Certificate) events.Digest {
	if len(c.Certificate) == 0 {
		return events.Digest{}
	}
	return events.DigestOf(c.Certificate[0])
}

// peerDigest returns the digest of the certificate whose key the other side of a
// TLS session has proven to hold; zero if it has shown none.
func peerDigest(cs tls.ConnectionState) events.Digest {
	if len(cs.PeerCertificates) == 0 {
		return events.Digest{}
	}
	return events.DigestOf(cs.PeerCertificates[0].Raw)
}

// serverTLS is how a site listens. isMember reports whether a certificate is a
// member's now. Certificates are pinned, so no chain is verified; that the other
// side holds the key is part of every TLS 1.3 handshake. Sessions are not resumed,
// so every connection passes here.
func serverTLS(cert tls.Certificate, isMember func(events.Digest) bool) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{cert},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protoMesh, protoHTTP},
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if cs.NegotiatedProtocol == protoMesh && !isMember(peerDigest(cs)) {
				return fmt.Errorf("certificate %v is no member's", peerDigest(cs))
			}
			return nil
		},
	}
}

// clientTLS is how a site dials one whose certificate has one of the digests in
// pins. It shows cert, or none if that is zero.
func clientTLS(cert tls.Certificate, proto string, pins []events.Digest) *tls.Config {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{proto},
		InsecureSkipVerify: true, // the chain; VerifyConnection pins the certificate instead
		VerifyConnection: func(cs tls.ConnectionState) error {
			if d := peerDigest(cs); d.IsZero() || !slices.Contains(pins, d) {
				return fmt.Errorf("%w: it is %v", errWrongPin, d)
			}
			if cs.NegotiatedProtocol != proto {
				return fmt.Errorf("the other side does not speak %s", proto)
			}
			return nil
		},
	}
	if len(cert.Certificate) > 0 {
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg
}

var errWrongPin = errors.New("the certificate is not the one that is known of this site")

// bindingLabel names what both ends of a TLS session derive from it alone.
const bindingLabel = "registry-node mesh 1"

// binding returns a secret that only the two ends of this very TLS session know.
func binding(cs tls.ConnectionState) (string, error) {
	ekm, err := cs.ExportKeyingMaterial(bindingLabel, nil, 32)
	if err != nil {
		return "", fmt.Errorf("derive the binding of a TLS session: %w", err)
	}
	return hex.EncodeToString(ekm), nil
}
