package access

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"registry-node/events"
)

// Caller is who asks, as authenticated. It does not change. Nil is nobody, who
// may do nothing.
type Caller struct {
	actor      string   // as recorded
	principals []string // without groups, which Table knows
	operator   bool
	user       string
	token      string // id
	scope      Scope
	expires    time.Time
	from       netip.Addr
	credential Credential
	// asker is who asks by way of a site that speaks for itself; nil: its operator.
	asker *Caller
}

// Anonymous is whoever shows no credentials, from an address.
func Anonymous(from netip.Addr) *Caller {
	return &Caller{actor: events.Anonymous, principals: []string{events.Anonymous}, from: from}
}

// LoopbackCaller shows no credentials, and asks over a loopback listener, so from
// this machine.
func LoopbackCaller(from netip.Addr) *Caller {
	return &Caller{actor: events.Loopback, principals: []string{events.Loopback, events.Anonymous}, from: from}
}

// Operator is who may open a site's data directory: the admin socket, or a command
// alone on the directory. At that site they may do everything.
func Operator(site events.Site) *Caller {
	return &Caller{actor: "operator@" + site.String(), operator: true}
}

// SiteCaller is another site that speaks for itself, that is for its operator: what
// that may do here, rules for "site:NAME" say.
func SiteCaller(site events.Site) *Caller {
	return &Caller{actor: "site:" + site.String(), principals: []string{"site:" + site.String(), events.Anonymous}}
}

// For returns a site that speaks for somebody who has shown it nothing: it may do
// what both may.
func (c *Caller) For(asker *Caller) *Caller {
	both := *c
	both.actor, both.asker = c.actor+"/"+asker.actor, asker
	return &both
}

// Login is how a user has authenticated.
type Login struct {
	User       string
	Token      string // id; empty: by password
	Scope      Scope
	Expires    time.Time // zero: never
	From       netip.Addr
	Credential Credential // for the home of what is to be decided
}

// UserCaller is a user who has authenticated.
func UserCaller(l Login) *Caller {
	return &Caller{
		actor: l.User, principals: []string{"user:" + l.User, events.Authenticated, events.Anonymous},
		user: l.User, token: l.Token, scope: l.Scope, expires: l.Expires, from: l.From, credential: l.Credential,
	}
}

// Actor returns the name under which events record what the caller does.
func (c *Caller) Actor() string {
	switch {
	case c == nil:
		return ""
	case c.token != "":
		return c.actor + "/" + c.token
	}
	return c.actor
}

// Name returns who it is, without the token.
func (c *Caller) Name() string {
	if c == nil {
		return ""
	}
	return c.actor
}

// User returns the name of the user; empty if it is none.
func (c *Caller) User() string {
	if c == nil {
		return ""
	}
	return c.user
}

// TokenID returns the id of the token that the user showed; empty if none.
func (c *Caller) TokenID() string {
	if c == nil {
		return ""
	}
	return c.token
}

// Scope returns what the user's token is limited to.
func (c *Caller) Scope() Scope {
	if c == nil {
		return Scope{}
	}
	return c.scope
}

// Expires returns when the user's token does; zero: never.
func (c *Caller) Expires() time.Time {
	if c == nil {
		return time.Time{}
	}
	return c.expires
}

// From returns the address that the caller asks from; the zero Addr if there is
// none.
func (c *Caller) From() netip.Addr {
	if c == nil {
		return netip.Addr{}
	}
	return c.from
}

// Credential returns what the caller showed; zero if nothing.
func (c *Caller) Credential() Credential {
	if c == nil {
		return Credential{}
	}
	return c.credential
}

// Known reports whether the caller has said who it is, so that asking for
// credentials is of no use.
func (c *Caller) Known() bool {
	return c != nil && (c.user != "" || c.operator || len(c.principals) > 0 && c.principals[0] != events.Anonymous && c.principals[0] != events.Loopback)
}

// IsOperator reports whether the caller is this site's operator.
func (c *Caller) IsOperator() bool { return c != nil && c.operator }

// Principals returns what rules know the caller by, its groups left out.
func (c *Caller) Principals() []string {
	if c == nil {
		return nil
	}
	return slices.Clone(c.principals)
}

// String returns Actor.
func (c *Caller) String() string { return c.Actor() }

// GoString returns Actor.
func (c *Caller) GoString() string { return c.Actor() }

// LogValue returns Actor.
func (c *Caller) LogValue() slog.Value { return slog.StringValue(c.Actor()) }
