package node

import (
	"maps"
	"net/netip"
	"slices"

	"registry-node/events"
)

// RepoChange says what to change of a repository. Nil fields leave things as
// they are. Of the lists, those of patterns that are owned or not in the
// checksum database add and remove; the others replace.
type RepoChange struct {
	Description *string            `json:"description,omitempty"`
	Owns        []events.Pattern   `json:"owns_add,omitempty"`
	Disowns     []events.Pattern   `json:"owns_remove,omitempty"`
	Upstream    *string            `json:"upstream,omitempty"`
	Sumdb       *string            `json:"sumdb,omitempty"`
	NoSumdb     []events.Pattern   `json:"no_sumdb_add,omitempty"`
	UseSumdb    []events.Pattern   `json:"no_sumdb_remove,omitempty"`
	Members     *[]events.RepoName `json:"members,omitempty"`
	Deploy      *events.RepoName   `json:"deploy,omitempty"` // empty: none
	Blobs       *[]events.BlobRule `json:"blobs,omitempty"`
	AccessLog   *events.Reads      `json:"access_log,omitempty"` // empty: as each node says
	PolicyChange

	// MemberInclude and MemberExclude replace the patterns of the members that
	// they name; a member without patterns is asked for everything.
	MemberInclude map[events.RepoName][]events.Pattern `json:"member_include,omitempty"`
	MemberExclude map[events.RepoName][]events.Pattern `json:"member_exclude,omitempty"`
}

// PolicyChange says what to change of an events.RemotePolicy, whose fields it
// has. The zero Span stands for the default.
type PolicyChange struct {
	Include      *[]events.Pattern        `json:"include,omitempty"`
	Exclude      *[]events.Pattern        `json:"exclude,omitempty"`
	ListTTL      *events.Span             `json:"list_ttl,omitempty"`
	QueryTTL     *events.Span             `json:"query_ttl,omitempty"`
	AbsentTTL    *events.Span             `json:"absent_ttl,omitempty"`
	StaleFor     *events.Span             `json:"stale_for,omitempty"`
	OfflineFor   *events.Span             `json:"offline_for,omitempty"`
	Timeout      *events.Span             `json:"timeout,omitempty"`
	Offline      *bool                    `json:"offline,omitempty"`
	MinAge       *events.Span             `json:"min_age,omitempty"`
	NoMinAge     *[]events.VersionPattern `json:"no_min_age,omitempty"`
	TimeSites    *[]events.Site           `json:"time_sites,omitempty"`
	KeepNothing  *bool                    `json:"keep_nothing,omitempty"`
	AllowTargets *[]events.Glob           `json:"allow_targets,omitempty"`
	AllowInside  *[]netip.Prefix          `json:"allow_inside,omitempty"`
	PlainHosts   *[]string                `json:"plain_hosts,omitempty"`
	Proxy        *string                  `json:"proxy,omitempty"`
	Secrets      *[]events.SecretRef      `json:"secrets,omitempty"`
}

// Apply returns s changed. Whether a repository can have that is another
// question: see events.RepoSettings.Check.
func (c RepoChange) Apply(s events.RepoSettings) events.RepoSettings {
	set(&s.Description, c.Description)
	set(&s.Upstream, c.Upstream)
	set(&s.Sumdb, c.Sumdb)
	set(&s.Members, c.Members)
	set(&s.Deploy, c.Deploy)
	set(&s.Blobs, c.Blobs)
	set(&s.AccessLog, c.AccessLog)
	s.Owns = addRemove(s.Owns, c.Owns, c.Disowns)
	s.NoSumdb = addRemove(s.NoSumdb, c.NoSumdb, c.UseSumdb)
	s.RemotePolicy = c.PolicyChange.apply(s.RemotePolicy)
	s.MemberRules = c.memberRules(s.MemberRules)
	return s
}

func (c PolicyChange) apply(p events.RemotePolicy) events.RemotePolicy {
	set(&p.Include, c.Include)
	set(&p.Exclude, c.Exclude)
	set(&p.ListTTL, c.ListTTL)
	set(&p.QueryTTL, c.QueryTTL)
	set(&p.AbsentTTL, c.AbsentTTL)
	set(&p.StaleFor, c.StaleFor)
	set(&p.OfflineFor, c.OfflineFor)
	set(&p.Timeout, c.Timeout)
	set(&p.Offline, c.Offline)
	set(&p.MinAge, c.MinAge)
	set(&p.NoMinAge, c.NoMinAge)
	set(&p.TimeSites, c.TimeSites)
	set(&p.KeepNothing, c.KeepNothing)
	set(&p.AllowTargets, c.AllowTargets)
	set(&p.AllowInside, c.AllowInside)
	set(&p.PlainHosts, c.PlainHosts)
	set(&p.Proxy, c.Proxy)
	set(&p.Secrets, c.Secrets)
	return p
}

// memberRules returns the rules with what the change says of them, sorted by
// member. A rule that has no patterns any more is none.
func (c RepoChange) memberRules(old []events.MemberRule) []events.MemberRule {
	if len(c.MemberInclude)+len(c.MemberExclude) == 0 {
		return old
	}
	rules := map[events.RepoName]events.MemberRule{}
	for _, r := range old {
		rules[r.Member] = r
	}
	for m, patterns := range c.MemberInclude {
		rules[m] = events.MemberRule{Member: m, Include: patterns, Exclude: rules[m].Exclude}
	}
	for m, patterns := range c.MemberExclude {
		rules[m] = events.MemberRule{Member: m, Include: rules[m].Include, Exclude: patterns}
	}
	maps.DeleteFunc(rules, func(_ events.RepoName, r events.MemberRule) bool { return len(r.Include)+len(r.Exclude) == 0 })
	return slices.SortedFunc(maps.Values(rules), func(a, b events.MemberRule) int { return a.Member.Compare(b.Member.String()) })
}

func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

func addRemove(list, add, remove []events.Pattern) []events.Pattern {
	var out []events.Pattern
	for _, p := range slices.Concat(list, add) {
		if !slices.Contains(remove, p) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
