package node

import (
	"context"
	"crypto/ed25519"
	"path/filepath"

	"registry-node/events"
	"registry-node/node/access"
)

// awayMove is a move of a home that another site asks for.
type awayMove struct {
	Repo   string      `json:"repo,omitempty"` // empty: the registry itself
	To     events.Site `json:"to"`
	Force  bool        `json:"force,omitempty"`
	Reason string      `json:"reason,omitempty"`
}

// HomeMove is what became of a move.
type HomeMove struct {
	Repo string          `json:"repository,omitempty"` // empty: the registry itself
	From events.Site     `json:"from"`
	To   events.Site     `json:"to"`
	At   events.Position `json:"position"` // of the entry that says so
	// Until is, if the move was forced, the last entry of the old home that counts;
	// zero if none does.
	Until *events.Mark `json:"until,omitempty"`
}

// MoveHome makes another site the home of a repository, or with no name of the
// registry. The old home agrees to it by deciding it. With force it is not
// asked: for a repository the registry's home decides, for the registry this
// site, which needs the recovery key. Errors: ErrNotFound, ErrInvalid,
// ErrForbidden (no recovery key), ErrNoSpace, ErrUnavailable.
func (n *Node) MoveHome(ctx context.Context, who *access.Caller, repo string, to events.Site, force bool, reason string) (HomeMove, error) {
	if err := n.allow(who, access.Everything); err != nil {
		return HomeMove{}, err
	}
	m := awayMove{repo, to, force, reason}
	if _, err := n.moveDecider(n.directory(), m); err != nil {
		return HomeMove{}, err
	}
	var done HomeMove
	decider := func(d *events.Directory) events.Site {
		site, _ := n.moveDecider(d, m) // if it is gone meanwhile, this site says so
		return site
	}
	err := n.atHome(ctx, decider, func() (err error) {
		done, err = n.moveHome(ctx, who, m)
		return err
	}, func(home events.Site) error {
		_, err := n.sites.forward(ctx, who, home, opHomeMove, m, &done)
		return err
	})
	return done, err
}

// moveDecider returns the site that decides about a move.
func (n *Node) moveDecider(d *events.Directory, m awayMove) (events.Site, error) {
	homes, err := homesOf(d, m.Repo)
	switch {
	case err != nil:
		return events.Site{}, err
	case !m.Force:
		return homes[len(homes)-1].Site, nil
	case m.Repo == "":
		return n.id.Site, nil
	}
	return d.Home(), nil
}

func homesOf(d *events.Directory, repo string) ([]events.Tenure, error) {
	if repo == "" {
		if len(d.Homes) == 0 {
			return nil, fail(ErrUnavailable, "this node has not received the registry's log yet")
		}
		return d.Homes, nil
	}
	name, err := events.ParseRepoName(repo)
	if err != nil {
		return nil, because(err, ErrInvalid, "%v", err)
	}
	r := d.RepoNamed(name)
	if r == nil || r.Deleted {
		return nil, fail(ErrNotFound, "there is no repository called %q", repo)
	}
	return r.Homes, nil
}

// moveHome decides about a move at this site.
func (n *Node) moveHome(ctx context.Context, who *access.Caller, m awayMove) (HomeMove, error) {
	out := HomeMove{Repo: m.Repo, To: m.To}
	if err := n.allow(who, access.Everything); err != nil {
		return out, err
	}
	at, err := n.commits.propose(ctx, func(v view) ([]events.Body, error) {
		homes, err := homesOf(v.dir, m.Repo)
		if err != nil {
			return nil, err
		}
		last := homes[len(homes)-1]
		out.From = last.Site
		if last.Site == m.To {
			return nil, fail(ErrInvalid, "site %s is the home already", m.To)
		}
		if !v.dir.MemberNow(m.To) {
			return nil, fail(ErrInvalid, "there is no site called %q", m.To)
		}
		var id events.RepoID
		if m.Repo != "" {
			name, _ := events.ParseRepoName(m.Repo) // homesOf has parsed it
			id = v.dir.RepoNamed(name).ID
		}
		after, err := n.markOf(m.To)
		if err != nil {
			return nil, err
		}
		if !m.Force {
			b, err := n.cede(last, homes, id, m, after, who)
			return []events.Body{b}, err
		}
		b, err := n.force(v.dir, homes, id, m, after, who)
		out.Until = &b.At
		return []events.Body{b}, err
	})
	out.At = at.Position
	return out, err
}

// cede gives a home away that is this site's.
func (n *Node) cede(last events.Tenure, homes []events.Tenure, id events.RepoID, m awayMove, after events.Mark, who *access.Caller) (events.Body, error) {
	if last.Site != n.id.Site {
		return nil, because(errNotHome, ErrUnavailable, "site %s is home, and this is site %s", last.Site, n.id.Site)
	}
	if m.To != n.id.Site && !n.sites.connected(m.To) {
		return nil, fail(ErrUnavailable, "site %s is not connected to site %s%s; a home moves only while both are there", m.To, n.id.Site, n.sites.lastHeard(m.To))
	}
	return events.HomeCeded{Repo: id, Tenure: len(homes) - 1, To: m.To, After: after, Actor: who.Actor()}, nil
}

// force ends the tenure of a home that is lost.
func (n *Node) force(d *events.Directory, homes []events.Tenure, id events.RepoID, m awayMove, after events.Mark, who *access.Caller) (events.HomeForced, error) {
	lost := homes[len(homes)-1].Site
	if lost == n.id.Site || n.sites.connected(lost) {
		return events.HomeForced{}, fail(ErrInvalid, "site %s is home and is there; move it without force, so that nothing is lost", lost)
	}
	at, err := n.markOf(lost)
	if err != nil {
		return events.HomeForced{}, err
	}
	b := events.HomeForced{Repo: id, Tenure: len(homes) - 1, At: at, To: m.To, After: after, Reason: m.Reason, Actor: who.Actor()}
	if m.Repo != "" {
		return b, n.isRegistryHome(d)
	}
	file := filepath.Join(n.dir, keysDir, recoveryFile)
	key, err := readKey(file)
	if err != nil {
		return b, because(err, ErrForbidden, "a new home of the registry needs the recovery key, which the first site's first start made (%s/%s in its data directory); put it into %s and try again",
			keysDir, recoveryFile, filepath.Join(keysDir, recoveryFile))
	}
	if string(key.Public().(ed25519.PublicKey)) != string(d.Recovery) {
		return b, fail(ErrForbidden, "the key in %s is not this registry's recovery key", filepath.Join(keysDir, recoveryFile))
	}
	b.Signature = ed25519.Sign(key, events.ForcedText(n.id.Registry, b))
	return b, nil
}

// markOf returns up to where this node has applied a site's log.
func (n *Node) markOf(site events.Site) (events.Mark, error) {
	h, _, err := n.index.Load().Head(site)
	return h.Position.Mark, err
}

// hasTenuresBefore reports whether this node has applied what the homes before
// the last one decided. Until then it must not decide itself.
func (n *Node) hasTenuresBefore(homes []events.Tenure) error {
	for _, t := range homes[:len(homes)-1] {
		m, err := n.markOf(t.Site)
		if err != nil {
			return err
		}
		if m.Compare(t.Until) < 0 {
			return because(errNotHome, ErrUnavailable, "this site became home before it has received all that site %s decided (%v of %v)", t.Site, m, t.Until)
		}
	}
	return nil
}
