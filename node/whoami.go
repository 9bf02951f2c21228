package node

import (
	"fmt"
	"slices"
	"time"

	"registry-node/events"
	"registry-node/node/access"
)

// WhoAmI is what a caller is told of itself.
type WhoAmI struct {
	Name       string    `json:"name"`
	Principals []string  `json:"principals"`       // what rules know it by
	Token      string    `json:"token,omitempty"`  // id of the token that it shows
	Expires    time.Time `json:"expires,omitzero"` // of that; zero: never
	access.Scope
	Site events.Site `json:"site"` // that answers
}

// WhoAmI says who the caller is.
func (n *Node) WhoAmI(who *access.Caller) WhoAmI {
	w := WhoAmI{
		Name: who.Name(), Principals: who.Principals(), Token: who.TokenID(), Expires: who.Expires(),
		Scope: who.Scope(), Site: n.id.Site,
	}
	for _, g := range n.state.Load().rights.GroupsOf(who.User()) {
		w.Principals = append(w.Principals, "group:"+g)
	}
	if w.Principals == nil {
		w.Principals = []string{}
	}
	return w
}

// AccessQuestion asks whether a user may do something.
type AccessQuestion struct {
	User   string // or anonymous, loopback; empty: the caller, with the token that it shows
	Action access.Action
	Repo   string // a name, or of what else is managed
	Module string // path; empty: the whole repository, or, to read, anything in it
}

// AccessAnswer is the answer.
type AccessAnswer struct {
	Allowed bool   `json:"allowed"`
	Rule    string `json:"rule,omitempty"` // by which it is so
	Why     string `json:"why"`
}

// CheckAccess says whether a user may do something, as far as rules go, and by which
// one. Others than themselves callers may ask about if they may manage the user, or
// the repositories whose rules it is about: of a virtual one that is its members, too.
// Errors: ErrUnauthorized, ErrForbidden, ErrInvalid, ErrNotFound.
func (n *Node) CheckAccess(who *access.Caller, q AccessQuestion) (AccessAnswer, error) {
	need := access.Need{Action: q.Action, Repo: q.Repo, Module: q.Module}
	if q.Repo == "" {
		return AccessAnswer{}, fail(ErrInvalid, "which repository it is about is missing")
	}
	st := n.state.Load()
	rights, subject := st.rights, who
	if q.User != "" && q.User != who.User() {
		if !rights.Manages(who, q.User) && !st.managesRulesOf(who, need) {
			return AccessAnswer{}, refused(who, "you may ask about yourself, about users and repositories that you may manage, and about virtual repositories of which you may manage all members")
		}
		var err error
		var why string
		if subject, why, err = n.subject(who, q.User); err != nil || why != "" {
			return AccessAnswer{Why: why}, err
		}
	}
	rule, member, ok := st.why(subject, need)
	a := AccessAnswer{Allowed: ok, Rule: rule}
	switch {
	case ok && rule == "":
		a.Why = fmt.Sprintf("%s may do everything here", subject.Name())
	case ok && !member.IsZero():
		a.Why = fmt.Sprintf("the rule %s allows it in %s, a member of %s", rule, member, q.Repo)
	case ok:
		a.Why = fmt.Sprintf("the rule %s allows it", rule)
	case !subject.Scope().IsZero():
		a.Why = "no rule allows it, or the token is not for it"
	default:
		a.Why = "no rule allows it"
	}
	return a, nil
}

// managesRulesOf reports whether a caller manages the repositories whose rules say
// whether a need is allowed.
func (st *state) managesRulesOf(who *access.Caller, need access.Need) bool {
	members, _ := st.stoodFor(need)
	return st.rights.Manages(who, need.Repo) && !slices.ContainsFunc(members, func(m events.RepoName) bool { return !st.rights.Manages(who, m.String()) })
}

// stoodFor returns the repositories whose rules count for a need that is about a
// virtual one: what is read or published there is so in its members. ok is false if
// it is about something else.
func (st *state) stoodFor(need access.Need) (members []events.RepoName, ok bool) {
	name, err := events.ParseRepoName(need.Repo)
	r := st.dir.RepoNamed(name)
	switch {
	case err != nil || r == nil || r.Deleted || r.Kind != events.Virtual:
		return nil, false
	case need.Action == access.Read:
		return r.Settings.Members, true
	case need.Action == access.Publish:
		return []events.RepoName{r.Settings.Deploy}, true
	}
	return nil, false
}

// why is Table.Why where a need may be about a virtual repository. member is the one
// whose rule allows it; zero if it is no virtual repository.
func (st *state) why(who *access.Caller, need access.Need) (rule string, member events.RepoName, ok bool) {
	members, virtual := st.stoodFor(need)
	if !virtual {
		rule, ok = st.rights.Why(who, need)
		return rule, events.RepoName{}, ok
	}
	for _, m := range members {
		need.Repo = m.String()
		if rule, ok := st.rights.Why(who, need); ok {
			return rule, m, true
		}
	}
	return "", events.RepoName{}, false
}

// subject returns a caller for whom rules can be looked up, or why that one can do
// nothing at all.
func (n *Node) subject(who *access.Caller, name string) (c *access.Caller, why string, err error) {
	switch name {
	case events.Anonymous:
		return access.Anonymous(who.From()), "", nil
	case events.Loopback:
		return access.LoopbackCaller(who.From()), "", nil
	}
	if err := checkIdentityName("user", name); err != nil {
		return nil, "", err
	}
	info, err := n.user(name)
	if err == nil && info.Disabled {
		why = fmt.Sprintf("user %s is disabled", name)
	}
	return access.UserCaller(access.Login{User: name}), why, err
}
