package node

import (
	"fmt"
	"reflect"

	"registry-node/events"
	"registry-node/node/access"
)

// SiteRights are what a new site may have decided elsewhere without a user's
// credentials: by who opens its admin socket. Users of the site show who they are,
// and need none of it.
type SiteRights string

// The rights of a new site. The empty SiteRights are RightsPublish.
const (
	RightsNone    SiteRights = "none"
	RightsPublish SiteRights = "publish" // read, publish and block, in all repositories
	RightsManage  SiteRights = "manage"  // all there is
)

// ParseSiteRights returns the rights s.
func ParseSiteRights(s string) (SiteRights, error) {
	switch r := SiteRights(s); r {
	case RightsNone, RightsPublish, RightsManage, "":
		return r, nil
	}
	return "", fmt.Errorf("rights %q are none of none, publish, manage", s)
}

// UnmarshalText is ParseSiteRights.
func (r *SiteRights) UnmarshalText(b []byte) (err error) {
	*r, err = ParseSiteRights(string(b))
	return err
}

// grant returns what the rule of a site with these rights says; ok is false if it
// needs none.
func (r SiteRights) grant(s events.Site) (g events.Grant, ok bool) {
	g = events.Grant{Principals: []string{"site:" + s.String()}, Repos: []string{"*"}}
	switch r {
	case RightsPublish, "":
		g.Actions = []string{access.Read.String(), access.Publish.String(), access.Block.String()}
	case RightsManage:
		g.Actions = []string{access.Read.String(), access.Publish.String(), access.Delete.String(), access.Block.String(), access.Manage.String()}
	default:
		return events.Grant{}, false
	}
	return g, true
}

// SiteRule is the rule about a site that an invitation writes.
type SiteRule struct {
	Rule string `json:"rule,omitempty"` // of the rule that there is then; empty: none
	// Kept says that there was a rule of that name, which says something else and
	// stays as it is.
	Kept bool `json:"rule_kept,omitempty"`
}

// rule returns what an invitation writes of rights, and the rule that there is then.
func (inv awayInvitation) rule(d *events.Directory, who *access.Caller) ([]events.Body, SiteRule) {
	name := "site-" + inv.Name.String()
	g, wanted := inv.Rights.grant(inv.Name)
	if old, has := d.Rules()[name]; has {
		return nil, SiteRule{name, !wanted || !reflect.DeepEqual(old.Grant, g)}
	}
	if !wanted {
		return nil, SiteRule{}
	}
	return []events.Body{events.PermissionChanged{Name: name, Grant: g, Actor: who.Actor()}}, SiteRule{Rule: name}
}
