package node

import (
	"errors"
	"slices"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// holder is who uploaded a part, and with what. Two jobs of one user that sign in
// with tokens of their own are two.
type holder struct {
	Name  string         `json:"name"`
	User  bool           `json:"user,omitempty"`
	Since events.EventID `json:"since,omitzero"` // made the user: another one of that name is not meant
	Token string         `json:"token,omitempty"`
}

// maxSenders bounds how many who sent the same zip are remembered; the first go.
const maxSenders = 16

// errHolderGone says that who uploaded a part may not publish it any more.
var errHolderGone = errors.New("may not publish any more")

// holderOf returns what is remembered of who uploads a part.
func (n *Node) holderOf(who *access.Caller) (holder, error) {
	h := holder{Name: who.Name(), Token: who.TokenID()}
	if who.User() == "" {
		return h, nil
	}
	id, _, err := n.identity(events.KeyUser(who.User()))
	h.User, h.Since = true, id.Since.Event
	return h, err
}

// stillHolds returns the first of those who uploaded a part that may still publish
// the version. It fails with errHolderGone if none may, and returns the last then.
func (n *Node) stillHolds(senders []holder, p placing) (h holder, err error) {
	for _, h = range senders {
		if h == p.by {
			return h, nil // who asks is judged anyway
		}
		if err = n.mayHold(h, p, time.Now()); !errors.Is(err, errHolderGone) {
			return h, err
		}
	}
	return h, err
}

// mayHold judges a holder as if its request came now.
func (n *Node) mayHold(h holder, p placing, now time.Time) error {
	if !h.User {
		return nil // the operator, or somebody on this machine
	}
	id, err := n.signsIn(h.Name)
	if err == nil && id.Since.Event != h.Since {
		return errHolderGone
	}
	var scope access.Scope
	if err == nil && h.Token != "" {
		scope, err = n.scopeOfToken(h.Token, id, now)
	}
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnauthorized) {
		return errHolderGone
	}
	if err != nil {
		return err
	}
	need := access.Need{Action: access.Publish, Repo: p.repo.Name.String(), Module: p.mv.Path}
	if n.allow(access.UserCaller(access.Login{User: h.Name, Token: h.Token, Scope: scope}), need) != nil {
		return errHolderGone
	}
	return nil
}

// scopeOfToken returns what a token is limited to that was shown before by a user,
// whose record is id. Errors: ErrUnauthorized, if it counts no more.
func (n *Node) scopeOfToken(token string, id events.Identity, now time.Time) (access.Scope, error) {
	void := fail(ErrUnauthorized, "token %s counts no more", token)
	if access.IsLocal(token) {
		row, ok, err := n.exchangedRow(token)
		if err == nil && (!ok || !row.means(id) || !now.Before(row.Expires)) {
			err = void
		}
		if err != nil {
			return access.Scope{}, err
		}
		return n.stands(token, row, id)
	}
	is, ok, err := n.identity(events.KeyToken(token))
	if err != nil {
		return access.Scope{}, err
	}
	b, issued := is.Body.(events.TokenIssued)
	if !ok || !issued || is.Deleted || !b.Expires.IsZero() && !now.Before(b.Expires) {
		return access.Scope{}, void
	}
	return access.Scope{Repos: b.Repos, Actions: b.Actions, Modules: b.Modules}, nil
}

// senders are who sent a held zip: the last one first.
func (z heldZip) senders() []holder { return append([]holder{z.By}, z.Also...) }

// sentBy reports whether a caller is one of those who sent a zip.
func (z heldZip) sentBy(h holder) bool { return !z.H1.IsZero() && slices.Contains(z.senders(), h) }

// without returns a zip without one of those who sent it; ok is false if nobody else
// did.
func (z heldZip) without(h holder) (rest heldZip, ok bool) {
	all := slices.DeleteFunc(z.senders(), func(s holder) bool { return s == h })
	if len(all) == 0 {
		return heldZip{}, false
	}
	z.By, z.Also = all[0], all[1:]
	return z, true
}

// with returns a zip that somebody sends who may have sent it before.
func (z heldZip) with(before heldZip) heldZip {
	if rest, ok := before.without(z.By); ok && before.H1 == z.H1 {
		all := rest.senders()
		z.Also = all[:min(len(all), maxSenders)]
	}
	return z
}
