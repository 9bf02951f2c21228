package node

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"registry-node/events"
)

const (
	// kindWebhook is the kind of the secrets that sign what webhooks are sent.
	kindWebhook = "webhook"
	// webhookKeyPrefix begins such a secret, as Standard Webhooks has it.
	webhookKeyPrefix = "whsec_"
	// minWebhookKey and maxWebhookKey bound its key, in bytes.
	minWebhookKey, maxWebhookKey = 24, 64
)

// webhookKey signs what a webhook is sent. A function, so that package fmt has
// nothing to show of the key.
type webhookKey func() []byte

// parseWebhookKey returns the key in a text like whsec_…; errors show nothing of it.
func parseWebhookKey(text string) (webhookKey, error) {
	coded, ok := strings.CutPrefix(text, webhookKeyPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(coded)
	if !ok || err != nil || len(key) < minWebhookKey || len(key) > maxWebhookKey {
		return nil, fmt.Errorf("the key of a webhook is %s and the base64 of %d to %d bytes", webhookKeyPrefix, minWebhookKey, maxWebhookKey)
	}
	return func() []byte { return key }, nil
}

// NewWebhookKey returns a new key for a secret of the kind webhook, as the receiver
// has to know it.
func NewWebhookKey() string {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return webhookKeyPrefix + base64.StdEncoding.EncodeToString(key)
}

// sign returns the signature of a message with an id that is sent at a time, in the
// form of the header webhook-signature (Standard Webhooks 1.0, "Signature scheme").
func (k webhookKey) sign(id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, k())
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// webhookKey returns the key in the secret of a name, if this site has it and it is
// one for webhooks.
func (s *Secrets) webhookKey(name string) (webhookKey, error) {
	ref, err := events.ParseRepoName(name)
	if err != nil {
		return nil, because(errSecret, ErrUnavailable, "%q is not the name of a secret: %v", name, err)
	}
	secret, err := s.Get(ref)
	if err == nil && secret.Kind() != kindWebhook {
		err = because(errSecret, ErrUnavailable, "the secret %s is of the kind %s, and one of the kind %s is needed: registry-node secret set %s --kind webhook --data DIR",
			name, secret.Kind(), kindWebhook, name)
	}
	return secret.signer, err
}
