package events

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"
)

// PublicKey is the ed25519 public key of a site, or of an operator. JSON shows
// it in base64.
type PublicKey []byte

// MarshalText returns the base64 of k.
func (k PublicKey) MarshalText() ([]byte, error) { return Bytes(k).MarshalText() }

// UnmarshalText accepts the base64 of a key, in its one form.
func (k *PublicKey) UnmarshalText(text []byte) error { return (*Bytes)(k).UnmarshalText(text) }

func (k PublicKey) check() error {
	if len(k) != ed25519.PublicKeySize {
		return fmt.Errorf("a public key has %d bytes, not %d", ed25519.PublicKeySize, len(k))
	}
	return nil
}

// Genesis is what the first event of the first site adds: it makes a registry.
type Genesis struct {
	Nonce    Bytes     `json:"nonce"`        // 32 random bytes
	Recovery PublicKey `json:"recovery_key"` // may force a new home of the registry
}

// IsZero reports whether g makes no registry.
func (g Genesis) IsZero() bool { return len(g.Nonce) == 0 && len(g.Recovery) == 0 }

// SiteInvited reserves a name for a site that proves the secret. Decided by the
// registry's home, like all in this file but HomeCeded.
type SiteInvited struct {
	always
	Name    Site      `json:"name"`
	Secret  Digest    `json:"secret_hash"` // SHA-256 of the single-use secret
	Expires time.Time `json:"expires"`     // UTC
	Actor   string    `json:"actor,omitempty"`
}

// SiteJoined states that a site is a member and which key signs its log. The
// first site states it of itself, with the Genesis.
type SiteJoined struct {
	always
	Name        Site      `json:"name"`
	PublicKey   PublicKey `json:"key"`
	Addresses   []string  `json:"addresses,omitempty"`
	Certificate Digest    `json:"certificate,omitzero"` // SHA-256 of its TLS certificate
	Genesis     Genesis   `json:"genesis,omitzero"`
}

// SiteChanged replaces the addresses and the certificate of a member.
type SiteChanged struct {
	always
	Name        Site     `json:"name"`
	Addresses   []string `json:"addresses,omitempty"`
	Certificate Digest   `json:"certificate,omitzero"`
}

// SiteKey replaces the key of a member: entries after the named place in its
// log are signed with the new one.
type SiteKey struct {
	always
	Name      Site      `json:"name"`
	PublicKey PublicKey `json:"key"`
	After     Mark      `json:"after"`
}

// SiteLeft ends a membership: what the site's log says after the cut-off counts
// nowhere. The name is burnt.
type SiteLeft struct {
	always
	Name   Site   `json:"name"`
	CutOff Mark   `json:"cut_off"`
	Hash   Digest `json:"hash,omitzero"` // of the entry there
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
}

// FeatureRaised states the level of event types that all members understand.
type FeatureRaised struct {
	always
	Level int `json:"level"`
}

// Type returns "site.invited".
func (SiteInvited) Type() Type { return "site.invited" }

// Type returns "site.joined".
func (SiteJoined) Type() Type { return "site.joined" }

// Type returns "site.changed".
func (SiteChanged) Type() Type { return "site.changed" }

// Type returns "site.key".
func (SiteKey) Type() Type { return "site.key" }

// Type returns "site.left".
func (SiteLeft) Type() Type { return "site.left" }

// Type returns "feature.raised".
func (FeatureRaised) Type() Type { return "feature.raised" }

// Key returns the record of the site.
func (b SiteInvited) Key(EventID) Key { return KeySite(b.Name) }

// Key returns the record of the site.
func (b SiteJoined) Key(EventID) Key { return KeySite(b.Name) }

// Key returns the record of the site.
func (b SiteChanged) Key(EventID) Key { return KeySite(b.Name) }

// Key returns the record of the site.
func (b SiteKey) Key(EventID) Key { return KeySite(b.Name) }

// Key returns the record of the site.
func (b SiteLeft) Key(EventID) Key { return KeySite(b.Name) }

// Key returns the record of the registry.
func (FeatureRaised) Key(EventID) Key { return KeyRegistry() }

func (b SiteInvited) check() error {
	if b.Secret.IsZero() || b.Expires.IsZero() {
		return errors.New("an invitation needs the hash of a secret and an end")
	}
	return errors.Join(checkSite(b.Name), checkUTC("expires", b.Expires), checkText("actor", b.Actor))
}

func (b SiteJoined) check() error {
	return errors.Join(checkSite(b.Name), b.PublicKey.check(), checkAddresses(b.Addresses), b.Genesis.check())
}

func (g Genesis) check() error {
	if g.IsZero() {
		return nil
	}
	if len(g.Nonce) != 32 {
		return errors.New("a genesis nonce has 32 bytes")
	}
	if err := g.Recovery.check(); err != nil {
		return fmt.Errorf("recovery key: %w", err)
	}
	return nil
}

func (b SiteChanged) check() error {
	return errors.Join(checkSite(b.Name), checkAddresses(b.Addresses))
}

func (b SiteKey) check() error { return errors.Join(checkSite(b.Name), b.PublicKey.check()) }

func (b SiteLeft) check() error {
	return errors.Join(checkSite(b.Name), checkText("reason", b.Reason), checkText("actor", b.Actor))
}

func (b FeatureRaised) check() error {
	if b.Level < 1 || b.Level > 1<<16 {
		return fmt.Errorf("level %d is not between 1 and %d", b.Level, 1<<16)
	}
	return nil
}

func checkSite(s Site) error {
	if s.IsZero() {
		return errors.New("no site")
	}
	return nil
}

func checkAddresses(list []string) error {
	if len(list) > 16 {
		return errors.New("more than 16 addresses")
	}
	for _, a := range list {
		if err := checkText("address", a); err != nil {
			return err
		}
	}
	return nil
}

// RegistryID returns the id of the registry that a first site makes: a digest
// over its name, its key, the recovery key and the nonce, so that the id alone
// proves the first event to be the right one.
func RegistryID(b SiteJoined) Digest {
	text := fmt.Sprintf("registry-node registry 1\n%s\n%x\n%x\n%x\n",
		b.Name, []byte(b.PublicKey), []byte(b.Genesis.Recovery), []byte(b.Genesis.Nonce))
	return DigestOf([]byte(text))
}
