package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/node/blob"
	"registry-node/node/index"
	"registry-node/replication"
)

// A site joins with one token, which a member made: it says where the member is,
// which certificate it has, and holds a secret that works once, for one name and
// a short time. The new site makes its own keys and proves that it has them; the
// registry's home records its name with them. From then on it is a member like
// any other, and follows all logs. What it needs for that is the registry's id,
// which proves the first site's first entry, and a member to speak to.

// Invitation lets one site join: whoever has the token, until it expires or is
// used.
type Invitation struct {
	Token   string      `json:"token"` // secret
	Name    events.Site `json:"name"`
	Expires time.Time   `json:"expires"`
	SiteRule
}

// joinToken is what a token says.
type joinToken struct {
	Registry  events.Digest `json:"r"`
	Name      events.Site   `json:"n"`
	Secret    events.Bytes  `json:"s"`
	Expires   int64         `json:"e"` // seconds since 1970
	Addresses []string      `json:"a"`
	Pin       events.Digest `json:"p"` // of the member's certificate
}

const (
	tokenPrefix = "rnj1_"
	secretSize  = 32
	checkSize   = 6 // bytes of SHA-256 at the end of a token, so that a typing error shows
	// maxValid bounds how long an invitation may be open.
	maxValid = 7 * 24 * time.Hour
)

func (t joinToken) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // its types always can be
	}
	sum := sha256.Sum256(b)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:checkSize]...))
}

// badToken refuses a join token.
func badToken(why string) error {
	return fail(ErrInvalid, "the join token %s; ask for a new one with: registry-node invite NAME", why)
}

// parseToken refuses whatever can't be a token that a member made.
func parseToken(s string) (joinToken, error) {
	bad := func(why string) (joinToken, error) { return joinToken{}, badToken(why) }
	text, ok := strings.CutPrefix(strings.TrimSpace(s), tokenPrefix)
	if strings.TrimSpace(s) == "" {
		return bad("is empty")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) <= checkSize {
		return bad("is not one that registry-node invite prints")
	}
	b, check := b[:len(b)-checkSize], b[len(b)-checkSize:]
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:checkSize], check) {
		return bad("has been changed or cut short")
	}
	var t joinToken
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	switch err := dec.Decode(&t); {
	case err != nil:
		return bad("can't be read")
	case t.Registry.IsZero() || t.Name.IsZero() || t.Pin.IsZero() || len(t.Addresses) == 0:
		return bad("is incomplete")
	case len(t.Secret) != secretSize || bytes.Equal(t.Secret, make([]byte, secretSize)):
		return bad("holds no secret")
	}
	return t, nil
}

// current reports whether a join with the token into dir may begin now. One that has
// begun may have been granted, without hearing of it: then the registry's home judges.
func (t joinToken) current(dir string, now time.Time) error {
	_, err := os.Stat(filepath.Join(dir, keysDir, siteKeyFile))
	if err == nil || now.Unix() < t.Expires {
		return nil
	}
	return badToken("expired at " + time.Unix(t.Expires, 0).UTC().Format(time.RFC3339))
}

// awayInvitation is what the registry's home records of an invitation: the hash
// of its secret only.
type awayInvitation struct {
	Name    events.Site   `json:"name"`
	Secret  events.Digest `json:"secret_hash"`
	Expires time.Time     `json:"expires"`
	Rights  SiteRights    `json:"rights,omitempty"`
}

// Invite makes an invitation for a new site, which opens for as long as valid
// says, at most a week, and gives it these rights by the rule site-NAME, unless there is
// a rule of that name. Errors: ErrInvalid, ErrExists (the name is or was a
// site's), ErrNoSpace, ErrUnavailable (this node can't be reached by others).
func (n *Node) Invite(ctx context.Context, who *access.Caller, name events.Site, valid time.Duration, rights SiteRights) (Invitation, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return Invitation{}, err
	}
	addresses := n.addresses()
	switch {
	case len(addresses) == 0:
		return Invitation{}, fail(ErrUnavailable, "other sites can't reach this node: start it with --peer-listen HOST:PORT (and --advertise HOST), or invite at a site that can be reached")
	case name.IsZero():
		return Invitation{}, fail(ErrInvalid, "an invitation needs the name of the new site")
	case valid <= 0 || valid > maxValid:
		return Invitation{}, fail(ErrInvalid, "an invitation is valid for more than 0 and at most %s", maxValid)
	}
	cert, err := peerCertificate(n.dir, n.id.Site)
	if err != nil {
		return Invitation{}, err
	}
	t := joinToken{
		Registry: n.id.Registry, Name: name, Secret: make([]byte, secretSize), Expires: time.Now().Add(valid).Unix(),
		Addresses: addresses, Pin: replication.CertificateDigest(cert),
	}
	rand.Read(t.Secret)
	inv := awayInvitation{name, secretHash(t.Secret), time.Unix(t.Expires, 0).UTC(), rights}
	var rule SiteRule
	_, err = n.atRegistryHome(ctx, who, opInvite, inv, &rule, func() (err error) {
		rule, _, err = n.invite(ctx, who, inv)
		return err
	})
	if err != nil {
		return Invitation{}, err
	}
	return Invitation{t.String(), name, inv.Expires, rule}, nil
}

// invite records an invitation at this site, the registry's home.
func (n *Node) invite(ctx context.Context, who *access.Caller, inv awayInvitation) (rule SiteRule, at events.Position, err error) {
	if err := n.allow(who, access.Everything); err != nil {
		return SiteRule{}, events.Position{}, err
	}
	receipt, err := n.commits.propose(ctx, func(v view) (bodies []events.Body, err error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		if m, ok := v.dir.Site(inv.Name); ok && len(m.Keys) > 0 {
			return nil, fail(ErrExists, "site %s has joined already; a name that was used can't be used again", inv.Name)
		}
		bodies, rule = inv.rule(v.dir, who)
		return append(bodies, events.SiteInvited{Name: inv.Name, Secret: inv.Secret, Expires: inv.Expires, Actor: who.Actor()}), nil
	})
	return rule, receipt.Position, err
}

// joinRequest is what a new site says of itself.
type joinRequest struct {
	Version     int              `json:"v"`
	Registry    events.Digest    `json:"registry"`
	Name        events.Site      `json:"name"`
	Secret      events.Bytes     `json:"secret"`
	PublicKey   events.PublicKey `json:"key"`
	Certificate events.Digest    `json:"certificate"`
	Addresses   []string         `json:"addresses,omitempty"`
	Proof       events.Bytes     `json:"proof"` // signature of text with the key
}

// joinAnswer is what it is told.
type joinAnswer struct {
	Error string      `json:"error,omitempty"`
	First events.Site `json:"first"`
	Peers []knownPeer `json:"peers"`
}

// text is what the new site's key signs, so that nobody joins with a key that
// is not theirs.
func (r joinRequest) text() []byte {
	return fmt.Appendf(nil, "registry-node join 1\n%v\n%v\n%v\n%q\n", r.Registry, r.Name, r.Certificate, r.Addresses)
}

// joinSite has the registry's home decide about a request to join.
func (n *Node) joinSite(ctx context.Context, r joinRequest) error {
	ctx, receipt := WithReceipt(ctx, rand.Text())
	_, err := n.atRegistryHome(ctx, n.self(), opJoin, r, &nothing{}, func() error {
		_, err := n.acceptJoin(ctx, r)
		return err
	})
	n.audit(AuditEvent{Request: receipt.request, Action: opJoin, Name: r.Name.String(), Position: receipt.At(), Err: err})
	return err
}

// acceptJoin records a new member at this site, the registry's home. The same
// site may ask again, since it may not have heard the answer.
func (n *Node) acceptJoin(ctx context.Context, r joinRequest) (events.Position, error) {
	refuse := func(why string) error { return fail(ErrForbidden, "site %q can't join: %s", r.Name, why) }
	switch {
	case r.Version != 1:
		return events.Position{}, refuse("its version of the request is not known here; upgrade the older of the two")
	case r.Registry != n.id.Registry:
		return events.Position{}, refuse("the token is of another registry")
	case len(r.PublicKey) != ed25519.PublicKeySize || !ed25519.Verify(ed25519.PublicKey(r.PublicKey), r.text(), r.Proof):
		return events.Position{}, refuse("it does not prove that it has its key")
	case len(r.Secret) != secretSize || r.Certificate.IsZero():
		return events.Position{}, refuse("the request holds no secret or no certificate")
	}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		m, ok := v.dir.Site(r.Name)
		if !ok {
			return nil, refuse("nobody invited it")
		}
		if len(m.Keys) > 0 {
			if !m.Left && bytes.Equal(m.Keys[0].Key, r.PublicKey) && m.Certificate == r.Certificate {
				return nil, nil // it asks again
			}
			return nil, refuse("the name is taken; an invitation works once")
		}
		hash := secretHash(r.Secret)
		if subtle.ConstantTimeCompare(hash[:], m.Invited.Secret[:]) != 1 {
			return nil, refuse("the secret is not that of its last invitation")
		}
		if !time.Now().Before(m.Invited.Expires) {
			return nil, refuse("its invitation has expired")
		}
		for _, other := range v.dir.Sites() {
			if other.Certificate == r.Certificate {
				return nil, refuse("its certificate is another site's")
			}
		}
		return []events.Body{events.SiteJoined{Name: r.Name, PublicKey: r.PublicKey, Addresses: r.Addresses, Certificate: r.Certificate}}, nil
	})
	return at.Position, err
}

// Join makes the data directory of a new site: it asks the member that the token
// names to take it in, and writes down what Open needs. A Join that was cut
// short is taken up again with the same token; a directory that has joined is
// left alone. Errors: ErrInvalid (the token), ErrForbidden (refused),
// ErrUnavailable (the member can't be reached), or of the disk.
func Join(ctx context.Context, token, dir string, opts Options) error {
	err := checkFormat(dir)
	if !errors.Is(err, ErrNoData) {
		return err
	}
	t, err := parseToken(token)
	if err == nil {
		err = t.current(dir, time.Now())
	}
	if err == nil {
		err = checkFresh(dir)
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, keysDir), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	key, err := makeKey(filepath.Join(dir, keysDir, siteKeyFile))
	if err != nil {
		return err
	}
	cert, err := peerCertificate(dir, t.Name)
	if err != nil {
		return err
	}
	req := joinRequest{
		Version: 1, Registry: t.Registry, Name: t.Name, Secret: t.Secret,
		PublicKey: events.PublicKey(key.Public().(ed25519.PublicKey)), Certificate: replication.CertificateDigest(cert),
		Addresses: joinAddresses(opts),
	}
	req.Proof = ed25519.Sign(key, req.text())
	client := replication.PinnedClient(cert, t.Pin, opts.dialPeer)
	defer client.CloseIdleConnections()
	a, err := askToJoin(ctx, client, t.Addresses, req)
	if err != nil {
		return err
	}
	return layOut(dir, t, a)
}

// joinAddresses returns the addresses that are known before the listener is
// open; one with port 0 is told later.
func joinAddresses(opts Options) []string {
	host, port, err := net.SplitHostPort(opts.PeerListen)
	if err != nil || port == "0" {
		return nil
	}
	if opts.Advertise != "" {
		host = opts.Advertise
	}
	return []string{net.JoinHostPort(host, port)}
}

func askToJoin(ctx context.Context, client *http.Client, addresses []string, req joinRequest) (joinAnswer, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return joinAnswer{}, err
	}
	var errs []error
	for _, addr := range addresses {
		a, err := joinAt(ctx, client, addr, body)
		var told *Error
		if err == nil || errors.As(err, &told) {
			return a, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", addr, err))
	}
	return joinAnswer{}, because(errors.Join(errs...), ErrUnavailable, "the member that made the token can't be reached: %v", errors.Join(errs...))
}

func joinAt(ctx context.Context, client *http.Client, addr string, body []byte) (joinAnswer, error) {
	var a joinAnswer
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+joinPath, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&a); err != nil {
		return a, fmt.Errorf("it answers %s and nothing that can be read", resp.Status)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return a, nil
	case resp.StatusCode == http.StatusForbidden:
		return a, fail(ErrForbidden, "%s", a.Error)
	}
	return a, fail(ErrUnavailable, "%s", a.Error)
}

// layOut writes the data directory of a site that has been taken in.
func layOut(dir string, t joinToken, a joinAnswer) error {
	boot := &bootstrap{First: a.First, Peers: a.Peers}
	if boot.First.IsZero() || len(boot.Peers) == 0 {
		return fail(ErrUnavailable, "the member that made the token names no members")
	}
	if err := boot.write(dir); err != nil {
		return err
	}
	b, err := json.Marshal(identity{t.Registry, t.Name})
	if err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(dir, siteFile), b, 0o600); err != nil {
		return err
	}
	if err := blob.Create(filepath.Join(dir, blobsDir)); err != nil {
		return err
	}
	number := "1"
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, indexDir)), os.MkdirAll(filepath.Join(dir, indexDir), 0o700)); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if err := index.Create(filepath.Join(dir, indexDir, number), t.Registry); err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(dir, indexDir, currentFile), []byte(number), 0o600); err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, formatFile), []byte(formatStamp), 0o600)
}
