package events

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Rule is a Grant that is in force.
type Rule struct {
	Name string `json:"name"`
	Grant
	Changed time.Time `json:"changed"`
	Actor   string    `json:"actor,omitempty"` // who wrote it last
}

// TrustedIssuer is an Issuer that is in force.
type TrustedIssuer struct {
	Name string `json:"name"`
	Issuer
	Changed time.Time `json:"changed"`
	Actor   string    `json:"actor,omitempty"` // who wrote it last
}

// resolveRights resolves the record of a group, a rule, an issuer or a webhook.
func (d *Directory) resolveRights(cs Contributions) {
	id, ok := d.ResolveIdentity(cs)
	if !ok || id.Deleted {
		return
	}
	switch b := id.Body.(type) {
	case GroupChanged:
		d.groups[b.Name] = b.Members
	case PermissionChanged:
		d.rules[b.Name] = Rule{b.Name, b.Grant, id.Time, b.Actor}
	case IssuerChanged:
		d.issuers[b.Name] = TrustedIssuer{b.Name, b.Issuer, id.Time, b.Actor}
	case WebhookChanged:
		d.webhooks[b.Name] = ActiveWebhook{b.Name, b.Webhook, id.Since.Event, id.Created, id.Time, b.Actor}
	}
}

// Groups returns the members of each group, by its name. The map is the
// caller's, the lists are not.
func (d *Directory) Groups() map[string][]string { return maps.Clone(d.groups) }

// Rules returns the rules in force by name. The map is the caller's, what is in
// it is not.
func (d *Directory) Rules() map[string]Rule { return maps.Clone(d.rules) }

// Issuer returns the issuer of a name that is in force; ok is false if there is
// none.
func (d *Directory) Issuer(name string) (is TrustedIssuer, ok bool) {
	is, ok = d.issuers[name]
	return is, ok
}

// Issuers returns the issuers in force, sorted by name. What is in the list is not
// the caller's.
func (d *Directory) Issuers() []TrustedIssuer {
	return slices.SortedFunc(maps.Values(d.issuers), func(a, b TrustedIssuer) int { return cmp.Compare(a.Name, b.Name) })
}
