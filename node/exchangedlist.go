package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"registry-node/node/access"
)

// localTokens returns a page of the tokens that this site alone knows, whose ids come
// before those of all others: next is empty if there are no more, or none is wanted.
func (n *Node) localTokens(who *access.Caller, q TokenQuery, now time.Time) (list []TokenInfo, next string, err error) {
	if q.After != "" && !access.IsLocal(q.After) {
		return nil, "", nil
	}
	all, scanned := n.allow(who, access.Everything) == nil, 0
	for r, err := range n.index.Load().Local(exchangedSpace).Behind("", q.After) {
		var row exchangedToken
		if err == nil {
			err = json.Unmarshal(r.Value, &row)
		}
		if err != nil {
			return nil, "", fmt.Errorf("tokens of this site: index: %w", err)
		}
		if mine := row.User == who.User(); (mine || all) && row.User == cmp.Or(q.User, row.User) {
			t, err := n.localTokenInfo(r.Key, row)
			if err != nil {
				return nil, "", err
			}
			if q.All || t.Works(now) {
				list = append(list, t)
			}
		}
		if scanned++; len(list) == q.most() || scanned == maxScan {
			return list, r.Key, nil
		}
	}
	return list, "", nil
}

// localTokenInfo tells of a token that this site alone knows.
func (n *Node) localTokenInfo(id string, row exchangedToken) (t TokenInfo, err error) {
	t = TokenInfo{
		ID: id, User: row.User, Expires: row.Expires, Created: row.Given, CreatedBy: row.User,
		Description: "given for a password", Site: n.id.Site.String(),
	}
	if !row.forPassword() {
		t.Description = "given for an ID token of issuer " + row.Issuer
	}
	if t.LastUsed, err = n.uses.last(id); err != nil {
		return t, err
	}
	user, err := n.signsIn(row.User)
	switch {
	case err == nil && row.means(user):
		t.Scope, err = n.stands(id, row, user)
	case err == nil:
		t.Revoked = true
	}
	if errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrForbidden) {
		t.Revoked, err = true, nil
	}
	return t, err
}
