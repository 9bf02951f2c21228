package access

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// sealing names what the key is for that is derived from a token's secret.
const sealing = "registry-node: what a token stands for"

// Seal encrypts text so that only who shows the token can have it read: what is
// stored of the token is its Hash, from which the key can't be made.
func (t Token) Seal(text []byte) ([]byte, error) {
	aead, err := t.aead()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, text, []byte(t.id)), nil
}

// Unseal is the inverse of Seal.
func (t Token) Unseal(sealed []byte) ([]byte, error) {
	aead, err := t.aead()
	if err != nil {
		return nil, err
	}
	text, err := aead.Open(nil, nil, sealed, []byte(t.id))
	if err != nil {
		return nil, fmt.Errorf("what token %s stands for can't be read: %w", t.id, err)
	}
	return text, nil
}

// aead returns the cipher of the token, which makes its own nonces.
func (t Token) aead() (cipher.AEAD, error) {
	if t.IsZero() {
		return nil, errors.New("no token")
	}
	key, err := hkdf.Key(sha256.New, t.secret[:], nil, sealing, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
