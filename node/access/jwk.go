package access

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/coreos/go-oidc/v3/oidc"
)

// algorithms are those by which ID tokens may be signed: not "none", and none with
// a shared secret.
var algorithms = []string{oidc.RS256, oidc.ES256, oidc.EdDSA}

const (
	maxKeys    = 64 // of an issuer
	minRSABits = 2048
	maxRSABits = 8192
)

// publicKey is a key by which an issuer signs ID tokens, and how.
type publicKey struct {
	id  string
	alg string
	key crypto.PublicKey
}

// jwk is a key as RFC 7517 and RFC 7518, section 6, have it.
type jwk struct {
	Kty, Kid, Use, Alg, Crv string
	N, E, X, Y              base64URL
}

type base64URL []byte

// UnmarshalText reads base64url without padding.
func (b *base64URL) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.DecodeString(string(text))
	return err
}

// parseKeys returns the keys in a JWK set that can verify ID tokens; others may
// stand beside them.
func parseKeys(text []byte) ([]publicKey, error) {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("its keys are no JWK set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	var keys []publicKey
	for _, raw := range set.Keys {
		var j jwk
		if json.Unmarshal(raw, &j) != nil || j.Use != "" && j.Use != "sig" {
			continue
		}
		k, err := j.public()
		if err != nil || j.Alg != "" && j.Alg != k.alg && !(j.Alg == "Ed25519" && k.alg == oidc.EdDSA) {
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("it has no key for one of %q", algorithms)
	}
	return keys, nil
}

func (j jwk) public() (publicKey, error) {
	switch {
	case j.Kty == "RSA":
		n, e := new(big.Int).SetBytes(j.N), new(big.Int).SetBytes(j.E)
		if n.BitLen() < minRSABits || n.BitLen() > maxRSABits || e.BitLen() > 31 || e.Int64() < 3 || e.Bit(0) == 0 {
			return publicKey{}, errors.New("weak or broken RSA key")
		}
		return publicKey{j.Kid, oidc.RS256, &rsa.PublicKey{N: n, E: int(e.Int64())}}, nil
	case j.Kty == "EC" && j.Crv == "P-256" && len(j.X) == 32 && len(j.Y) == 32:
		point := append(append([]byte{4}, j.X...), j.Y...)
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		return publicKey{j.Kid, oidc.ES256, k}, err
	case j.Kty == "OKP" && j.Crv == "Ed25519" && len(j.X) == ed25519.PublicKeySize:
		return publicKey{j.Kid, oidc.EdDSA, ed25519.PublicKey(j.X)}, nil
	}
	return publicKey{}, errors.New("no key for signatures that are known here")
}

// matching returns the keys that a token's header may mean: those of its id and
// algorithm. If it has no id, that is the only one for the algorithm.
func matching(keys []publicKey, h header) []crypto.PublicKey {
	var found []crypto.PublicKey
	for _, k := range keys {
		if k.alg == h.Alg && (k.id == h.Kid || h.Kid == "") {
			found = append(found, k.key)
		}
	}
	if h.Kid == "" && len(found) > 1 {
		return nil
	}
	return found
}
