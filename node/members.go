package node

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"registry-node/events"
	"registry-node/node/access"
	"registry-node/replication"
)

// SiteInfo is what the registry says of a site.
type SiteInfo struct {
	Name      events.Site  `json:"name"`
	State     string       `json:"state"` // invited, member or left
	Self      bool         `json:"self"`
	Home      bool         `json:"registry_home"`
	Addresses []string     `json:"addresses"` // at which other sites reach it; none: it dials them
	Expires   *time.Time   `json:"invitation_expires,omitempty"`
	CutOff    *events.Mark `json:"cut_off,omitempty"` // of one that left: the last entry that counts
}

// Sites returns the sites that the registry knows, by name, to its administrators.
func (n *Node) Sites(who *access.Caller) ([]SiteInfo, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return nil, err
	}
	d := n.directory()
	list := []SiteInfo{}
	for _, m := range d.Sites() {
		list = append(list, n.siteInfo(d, m))
	}
	return list, nil
}

// Members returns how many sites the registry has.
func (n *Node) Members() (members int) {
	d := n.directory()
	for _, m := range d.Sites() {
		if d.MemberNow(m.Name) {
			members++
		}
	}
	return members
}

func (n *Node) siteInfo(d *events.Directory, m events.Member) SiteInfo {
	i := SiteInfo{Name: m.Name, State: "member", Self: m.Name == n.id.Site, Home: m.Name == d.Home(), Addresses: m.Addresses}
	if i.Addresses == nil {
		i.Addresses = []string{}
	}
	switch {
	case m.Left:
		cut, _ := d.CutOff(m.Name)
		i.State, i.CutOff = "left", &cut
	case len(m.Keys) == 0:
		i.State, i.Expires = "invited", &m.Invited.Expires
	}
	return i
}

// awayRemoval is a site that another one wants to be removed, or itself to leave.
type awayRemoval struct {
	Name   events.Site `json:"name"`
	Reason string      `json:"reason,omitempty"`
	// Until is, if a site leaves by itself, the last entry that it wrote.
	Until events.Mark `json:"until,omitzero"`
}

// RemoveSite ends the membership of another site: what it wrote up to now, or up
// to where its log forked, as far as the registry's home has it, stays; what
// follows counts nowhere. Its name is burnt. Errors: ErrNotFound, ErrInvalid (it
// is home of something), ErrNoSpace, ErrUnavailable.
func (n *Node) RemoveSite(ctx context.Context, who *access.Caller, name events.Site, reason string) (SiteInfo, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return SiteInfo{}, err
	}
	if name == n.id.Site {
		return SiteInfo{}, fail(ErrInvalid, "this is site %s; to end its own membership run: registry-node leave", name)
	}
	if err := n.endMembership(ctx, who, awayRemoval{Name: name, Reason: reason}); err != nil {
		return SiteInfo{}, err
	}
	d := n.directory()
	m, _ := d.Site(name)
	return n.siteInfo(d, m), nil
}

// Leave ends the membership of this node's own site. All that it wrote stays.
// Errors: ErrInvalid (it is home of something), ErrNoSpace, ErrUnavailable.
func (n *Node) Leave(ctx context.Context, who *access.Caller) error {
	if err := n.allow(who, access.Everything); err != nil {
		return err
	}
	if err := mayLeave(n.directory(), n.id.Site); err != nil {
		return err
	}
	n.commits.hold(holdLeft, fmt.Sprintf("site %s is leaving the registry", n.id.Site))
	n.commits.mu.Lock() // what is being written is finished before the end is read
	m, err := n.markOf(n.id.Site)
	n.commits.mu.Unlock()
	if err != nil {
		n.commits.release(holdLeft)
		return err
	}
	err = n.endMembership(ctx, who, awayRemoval{Name: n.id.Site, Until: m, Reason: "it left"})
	if errors.Is(err, ErrUnavailable) && n.sites.hasLeft(ctx) {
		return nil // the answer is lost: who is no member is cut off
	}
	if err != nil {
		n.commits.release(holdLeft)
	}
	return err
}

// hasLeft asks the other sites whether this one is no member any more.
func (s *sites) hasLeft(ctx context.Context) bool {
	for _, p := range s.peers() {
		if s.askLeft(ctx, p.Site) {
			return true
		}
	}
	return false
}

func (n *Node) endMembership(ctx context.Context, who *access.Caller, r awayRemoval) error {
	_, err := n.atRegistryHome(ctx, who, opSiteLeft, r, &nothing{}, func() error {
		_, err := n.removeSite(ctx, who, r)
		return err
	})
	return err
}

// removeSite decides about the end of a membership at this site, the registry's
// home.
func (n *Node) removeSite(ctx context.Context, who *access.Caller, r awayRemoval) (events.Position, error) {
	if !r.Until.IsZero() { // what it wrote before it asked is to stay
		wait, cancel := context.WithTimeout(ctx, readBack)
		defer cancel()
		if err := n.sites.applied(wait, r.Name, r.Until); err != nil {
			return events.Position{}, fail(ErrUnavailable, "site %s has not yet received all that site %s wrote (%v); try again", n.id.Site, r.Name, r.Until)
		}
	}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		if err := mayLeave(v.dir, r.Name); err != nil {
			return nil, err
		}
		last, err := n.sites.lastCommon(r.Name)
		if err != nil {
			return nil, err
		}
		return []events.Body{events.SiteLeft{Name: r.Name, CutOff: last.Mark, Hash: last.Hash, Reason: r.Reason, Actor: who.Actor()}}, nil
	})
	return at.Position, err
}

// mayLeave reports why the membership of a site can't end.
func mayLeave(d *events.Directory, site events.Site) error {
	if !d.MemberNow(site) {
		return fail(ErrNotFound, "there is no site called %q that is a member", site)
	}
	if d.Home() == site {
		return fail(ErrInvalid, "site %s is the registry's home; move that first: registry-node home move --registry --to SITE", site)
	}
	for _, repo := range d.Repos() {
		if repo.Kind == events.Local && repo.Home() == site {
			return fail(ErrInvalid, "site %s is home of repository %s; move that first: registry-node home move %s --to SITE (with --force if the site is gone)", site, repo.Name, repo.Name)
		}
	}
	return nil
}

// changeSite records how a member is reached, at this site, the registry's home.
func (n *Node) changeSite(ctx context.Context, b events.SiteChanged) (events.Position, error) {
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		m, _ := v.dir.Site(b.Name)
		if !v.dir.MemberNow(b.Name) {
			return nil, fail(ErrForbidden, "site %s is no member", b.Name)
		}
		if m.Certificate == b.Certificate && reflect.DeepEqual(m.Addresses, b.Addresses) {
			return nil, nil
		}
		for _, other := range v.dir.Sites() {
			if other.Name != b.Name && other.Certificate == b.Certificate {
				return nil, fail(ErrForbidden, "the certificate that site %s names is another site's", b.Name)
			}
		}
		return []events.Body{b}, nil
	})
	return at.Position, err
}

// describe sees to it that the registry says how this site is reached, until ctx
// ends or it does.
func (s *sites) describe(ctx context.Context, cert tls.Certificate) {
	n := s.node
	for {
		ch := s.moved.wait()
		if !n.joining() { // else it does not know yet what was recorded when it joined
			b := events.SiteChanged{Name: n.id.Site, Addresses: n.addresses(), Certificate: replication.CertificateDigest(cert)}
			m, _ := n.directory().Site(n.id.Site)
			if m.Certificate == b.Certificate && (reflect.DeepEqual(m.Addresses, b.Addresses) || len(m.Addresses)+len(b.Addresses) == 0) {
				return
			}
			s.record(ctx, b)
		}
		select {
		case <-ch:
		case <-time.After(followEvery):
		case <-ctx.Done():
			return
		}
	}
}

// record has the registry's home record how this site is reached. It takes a while if
// that fails.
func (s *sites) record(ctx context.Context, b events.SiteChanged) {
	n := s.node
	_, err := n.atRegistryHome(ctx, n.self(), opSiteChange, b, &nothing{}, func() error {
		_, err := n.changeSite(ctx, b)
		return err
	})
	if err == nil {
		return
	}
	n.logger.Debug("the registry does not say yet how this site is reached", "error", err)
	select {
	case <-time.After(announceEvery):
	case <-ctx.Done():
	}
}

// addresses returns how other sites reach this node.
func (n *Node) addresses() []string {
	addr := n.PeerAddr()
	if addr == nil {
		return nil
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil
	}
	if n.opts.Advertise != "" {
		host = n.opts.Advertise
	} else if h, _, err := net.SplitHostPort(n.opts.PeerListen); err == nil && h != "" {
		host = h
	}
	return []string{net.JoinHostPort(host, port)}
}

func (n *Node) knownPeers() []knownPeer {
	d := n.directory()
	var list []knownPeer
	for _, m := range d.Sites() {
		if d.MemberNow(m.Name) {
			list = append(list, knownPeer{m.Name, m.Addresses, m.Certificate})
		}
	}
	return list
}

const (
	peerCertFile = "peer.crt"
	peerKeyFile  = "peer.key"
)

// peerCertificate returns the certificate by which other sites know this one; it
// makes it the first time. Its key is another than the one that signs the log.
func peerCertificate(dir string, site events.Site) (tls.Certificate, error) {
	certFile, keyFile := filepath.Join(dir, keysDir, peerCertFile), filepath.Join(dir, keysDir, peerKeyFile)
	if _, err := os.Stat(certFile); os.IsNotExist(err) {
		cert, key, err := replication.NewCertificate(site)
		if err != nil {
			return tls.Certificate{}, err
		}
		if err := WriteFile(keyFile, key, 0o600); err != nil {
			return tls.Certificate{}, err
		}
		if err := WriteFile(certFile, cert, 0o600); err != nil { // last: what there is, is whole
			return tls.Certificate{}, err
		}
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return cert, fmt.Errorf("peer certificate: %w", err)
	}
	return cert, nil
}

func secretHash(secret []byte) events.Digest { return events.Digest(sha256.Sum256(secret)) }
