package access

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// keysFor is how long an issuer's keys are taken for its keys. Then it is asked
	// again, and a key that it has withdrawn counts no more.
	keysFor = time.Hour
	// keysPause is how long an issuer is not asked again because of a token with a
	// key that nobody knows, which costs nothing to make.
	keysPause = 10 * time.Second
)

// keyring has the keys of issuers, by their URLs.
type keyring struct {
	client *http.Client
	now    func() time.Time

	mu      sync.Mutex // guards issuers
	issuers map[string]*issuerKeys
}

func newKeyring(rt http.RoundTripper, now func() time.Time) *keyring {
	return &keyring{client: NewIssuerClient(rt), now: now, issuers: map[string]*issuerKeys{}}
}

// issuerKeys are the keys of one issuer.
type issuerKeys struct {
	turn chan struct{} // holds one while nobody uses what follows
	keys []publicKey
	got  time.Time // when the keys were asked for with success
	at   time.Time // when the issuer was last asked
	err  error     // what came of that
}

func (r *keyring) of(issuer string) *issuerKeys {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.issuers[issuer]
	if !ok {
		k = &issuerKeys{turn: make(chan struct{}, 1)}
		k.turn <- struct{}{}
		r.issuers[issuer] = k
	}
	return k
}

// find returns the keys of an issuer by which a token with this header may be
// signed, none if it has no such key. It asks the issuer where that can change
// the answer. One asks at a time; who waits does so under its own ctx.
func (r *keyring) find(ctx context.Context, issuer string, h header) ([]crypto.PublicKey, error) {
	k := r.of(issuer)
	select {
	case <-k.turn:
		defer func() { k.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	now := r.now()
	if now.Sub(k.got) < keysFor {
		if keys := matching(k.keys, h); len(keys) > 0 {
			return keys, nil
		}
	}
	if now.Sub(k.at) >= keysPause {
		// Others wait for it, too, so it does not end with who asked first.
		keys, err := r.fetch(context.WithoutCancel(ctx), issuer)
		k.at, k.err = now, err
		if err == nil {
			k.keys, k.got = keys, now
		}
	}
	if k.err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrIssuer, issuer, k.err)
	}
	return matching(k.keys, h), nil
}

// fetch asks an issuer where its keys are, and for them.
func (r *keyring) fetch(ctx context.Context, issuer string) ([]publicKey, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, r.client), issuerPatience)
	defer cancel()
	p, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, err
	}
	var where struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := p.Claims(&where); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.JWKS, nil)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(issuer)
	if err == nil {
		err = stillHTTPS(at, req.URL)
	}
	if err != nil {
		return nil, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", where.JWKS, resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return parseKeys(text)
}

// header is what the header of a JWT says of the key. What else is there, such as
// a key or where to get one, is the word of whoever made the token.
type header struct {
	Alg string `json:"alg"`
	Kid string `json:"kid"`
}

func headerOf(jwt string) (h header, err error) {
	text, _, _ := strings.Cut(jwt, ".")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, &h)
	}
	return h, err
}

// keySet is an issuer's keys for one verification.
type keySet struct {
	ring   *keyring
	issuer string
	failed error // why the issuer's keys could not be had, if so
}

// VerifySignature returns the payload of a JWT that one of the issuer's keys has
// signed.
func (s *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	h, err := headerOf(jwt)
	if err != nil {
		return nil, errors.New("its header can't be read")
	}
	keys, err := s.ring.find(ctx, s.issuer, h)
	if err != nil {
		s.failed = err
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the issuer has no key %.64q for %.16q", h.Kid, h.Alg)
	}
	return (&oidc.StaticKeySet{PublicKeys: keys}).VerifySignature(ctx, jwt)
}
