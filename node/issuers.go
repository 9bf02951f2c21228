package node

import (
	"context"
	"reflect"

	"registry-node/events"
	"registry-node/node/access"
)

// maxIssuers bounds the issuers: they are held in memory, with their keys.
const maxIssuers = 256

// The operations on issuers that sites forward.
const (
	opIssuerPut    = "issuer.put"
	opIssuerDelete = "issuer.delete"
)

// IssuerName is what everybody may know of an issuer that the registry trusts:
// what it takes to sign in there, or to have it make a token for the registry.
type IssuerName struct {
	Name     string         `json:"name"`
	URL      string         `json:"url"`
	Purpose  events.Purpose `json:"purpose"`
	Audience string         `json:"audience"` // with Login the client id
}

// awayIssuer is an issuer between sites.
type awayIssuer struct {
	Name string `json:"name"`
	events.Issuer
}

// changedIssuer is what came of it.
type changedIssuer struct {
	Issuer events.TrustedIssuer `json:"issuer"`
	Made   bool                 `json:"made"`
}

// IssuerNames returns what everybody may know of the issuers, by name.
func (n *Node) IssuerNames() []IssuerName {
	names := []IssuerName{}
	for _, is := range n.directory().Issuers() {
		names = append(names, IssuerName{is.Name, is.URL, is.Purpose, is.Audience})
	}
	return names
}

// Issuers returns the issuers, by name, to administrators. Errors: ErrUnauthorized,
// ErrForbidden.
func (n *Node) Issuers(who *access.Caller) ([]events.TrustedIssuer, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return nil, err
	}
	return n.directory().Issuers(), nil
}

// Issuer returns one issuer, to administrators. Errors: ErrUnauthorized,
// ErrForbidden, ErrNotFound.
func (n *Node) Issuer(who *access.Caller, name string) (events.TrustedIssuer, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return events.TrustedIssuer{}, err
	}
	is, ok := n.directory().Issuer(name)
	if !ok {
		return is, noIssuer(name)
	}
	return is, nil
}

func noIssuer(name string) error {
	return fail(ErrNotFound, "this registry trusts no issuer called %q", name)
}

// PutIssuer trusts an issuer, in place of what was said of it before; made says
// whether there was nothing. Whom an issuer may speak for is up to it, so only
// administrators of the registry may. The registry's home decides. Errors:
// ErrUnauthorized, ErrForbidden, ErrInvalid, ErrTooLarge (there are 256 issuers, or
// it was changed too often), ErrNoSpace, ErrUnavailable.
func (n *Node) PutIssuer(ctx context.Context, who *access.Caller, name string, is events.Issuer) (t events.TrustedIssuer, made bool, err error) {
	if err := n.allow(who, access.Everything); err != nil {
		return t, false, err
	}
	if err := events.CheckUserName(name); err != nil {
		return t, false, because(err, ErrInvalid, "issuer: %v", err)
	}
	if err := is.Check(); err != nil {
		return t, false, because(err, ErrInvalid, "issuer %s: %v", name, err)
	}
	var got changedIssuer
	f, err := n.atRegistryHome(ctx, who, opIssuerPut, awayIssuer{name, is}, &got, func() (err error) {
		got, _, err = n.putIssuer(ctx, who, awayIssuer{name, is})
		return err
	})
	if is, ok := n.directory().Issuer(name); ok && err == nil && !f.pending {
		got.Issuer = is
	}
	return got.Issuer, got.Made, err
}

// putIssuer decides at this site, the registry's home.
func (n *Node) putIssuer(ctx context.Context, who *access.Caller, b awayIssuer) (got changedIssuer, at events.Position, err error) {
	if err := n.allow(who, access.Everything); err != nil {
		return got, at, err
	}
	receipt, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		old, exists := v.dir.Issuer(b.Name)
		got.Made = !exists
		if exists && reflect.DeepEqual(old.Issuer, b.Issuer) {
			return nil, nil
		}
		if !exists && len(v.dir.Issuers()) >= maxIssuers {
			return nil, fail(ErrTooLarge, "there are %d issuers, which is the most", maxIssuers)
		}
		if b.User != "" {
			if _, err := v.knownUser(b.User); err != nil {
				return nil, err
			}
		}
		if err := v.room(events.KeyIssuer(b.Name), true); err != nil {
			return nil, err
		}
		return []events.Body{events.IssuerChanged{Name: b.Name, Issuer: b.Issuer, Actor: who.Actor()}}, nil
	})
	if is, ok := n.directory().Issuer(b.Name); ok && err == nil {
		got.Issuer = is
	}
	return got, receipt.Position, err
}

// DeleteIssuer trusts an issuer no more. The registry's home decides. Errors:
// ErrUnauthorized, ErrForbidden, ErrNotFound, ErrNoSpace, ErrUnavailable.
func (n *Node) DeleteIssuer(ctx context.Context, who *access.Caller, name string) error {
	if err := n.allow(who, access.Everything); err != nil {
		return err
	}
	_, err := n.atRegistryHome(ctx, who, opIssuerDelete, awayIssuer{Name: name}, &nothing{}, func() error {
		_, err := n.deleteIssuer(ctx, who, name)
		return err
	})
	return err
}

func (n *Node) deleteIssuer(ctx context.Context, who *access.Caller, name string) (events.Position, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return events.Position{}, err
	}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		if err := n.isRegistryHome(v.dir); err != nil {
			return nil, err
		}
		if _, ok := v.dir.Issuer(name); !ok {
			return nil, noIssuer(name)
		}
		return []events.Body{events.IssuerDeleted{Name: name, Actor: who.Actor()}}, nil
	})
	return at.Position, err
}
