package events

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// UpstreamVCS is the upstream of a remote repository that asks the version
// control hosts themselves, as the go command does for "direct".
const UpstreamVCS = "vcs"

// The defaults of the spans in a RemotePolicy.
const (
	DefaultListTTL    = time.Minute
	DefaultQueryTTL   = time.Minute
	DefaultAbsentTTL  = time.Minute
	DefaultStaleFor   = 7 * day
	DefaultOfflineFor = 30 * time.Second
	DefaultTimeout    = 30 * time.Second
	DefaultVCSTimeout = 5 * time.Minute // if the upstream is UpstreamVCS
)

// RemotePolicy is how a remote repository treats its upstream and what comes from
// there. Zero fields mean the defaults.
type RemotePolicy struct {
	// Include and Exclude are the module paths that the upstream is asked for:
	// those that match one of Include, if there is any, and none of Exclude.
	Include []Pattern `json:"include,omitempty"`
	Exclude []Pattern `json:"exclude,omitempty"`

	// ListTTL, QueryTTL and AbsentTTL are how long the upstream is not asked again
	// for a list, for what @latest, a branch or a commit means, and for what it
	// said it has not. Default 1 minute each.
	ListTTL   Span `json:"list_ttl,omitzero"`
	QueryTTL  Span `json:"query_ttl,omitzero"`
	AbsentTTL Span `json:"absent_ttl,omitzero"`
	// StaleFor is how old an answer to a list or a query may be that is given while
	// the upstream can't be asked. Default 7 days.
	StaleFor Span `json:"stale_for,omitzero"`
	// OfflineFor is how long an upstream that keeps failing is not asked at all,
	// until one request tries again. Default 30 seconds, at most an hour.
	OfflineFor Span `json:"offline_for,omitzero"`
	// Timeout is how long the upstream may take until it begins to answer. Default
	// 30 seconds, at most an hour; for VCS the time of one command, default 5
	// minutes.
	Timeout Span `json:"timeout,omitzero"`
	// Offline says that the upstream is not to be asked.
	Offline bool `json:"offline,omitempty"`

	// MinAge is how long after the registry first saw a version its zip is given
	// out. Default: at once.
	MinAge Span `json:"min_age,omitzero"`
	// NoMinAge are versions for which MinAge does not hold.
	NoMinAge []VersionPattern `json:"no_min_age,omitempty"`
	// TimeSites are the sites whose clocks say when a version was first seen; none
	// means all members.
	TimeSites []Site `json:"time_sites,omitempty"`

	// KeepNothing says that zips pass through, verified, and only their hashes are
	// recorded.
	KeepNothing bool `json:"keep_nothing,omitempty"`

	// AllowTargets (VCS) are the repositories that a module path may lead to; none
	// means all.
	AllowTargets []Glob `json:"allow_targets,omitempty"`
	// AllowInside are addresses inside (loopback, private, link-local) that the
	// upstream may lead to.
	AllowInside []netip.Prefix `json:"allow_inside,omitempty"`
	// PlainHosts (VCS) are hosts, with or without a port, that are asked over http
	// instead of https.
	PlainHosts []string `json:"plain_hosts,omitempty"`

	// Proxy is the URL of the HTTP(S) or SOCKS5 proxy to the upstream, without
	// credentials; "none" for none. Default: what the node's environment says.
	Proxy string `json:"proxy,omitempty"`
	// Secrets name the credentials for hosts. They themselves are with each site.
	Secrets []SecretRef `json:"secrets,omitempty"`
}

// SecretRef names the credential for a host. The credential itself stands outside
// of the log, at each site, under the name.
type SecretRef struct {
	Host string   `json:"host"` // host or host:port; the port is otherwise that of https
	Name RepoName `json:"name"` // with the grammar of repository names
}

// ParseSecretRef reads the form in which people write one: HOST=NAME.
func ParseSecretRef(s string) (r SecretRef, err error) {
	host, name, ok := strings.Cut(s, "=")
	if !ok {
		return r, fmt.Errorf("secret %q: write HOST=NAME", s)
	}
	if r.Name, err = ParseRepoName(name); err != nil {
		return r, fmt.Errorf("secret %q: %w", s, err)
	}
	r.Host = host
	return r, checkHost(host)
}

// String returns the form that ParseSecretRef reads.
func (r SecretRef) String() string { return r.Host + "=" + r.Name.String() }

// MemberRule says which module paths one member of a virtual repository is asked
// for: those that match one of Include, if there is any, and none of Exclude.
type MemberRule struct {
	Member  RepoName  `json:"member"`
	Include []Pattern `json:"include,omitempty"`
	Exclude []Pattern `json:"exclude,omitempty"`
}

// Admits reports whether a module path passes include and exclude patterns.
func Admits(include, exclude []Pattern, modulePath string) bool {
	return (len(include) == 0 || MatchAny(include, modulePath)) && !MatchAny(exclude, modulePath)
}

// Asks reports whether the member of a virtual repository is asked for a module
// path.
func (s RepoSettings) Asks(member RepoName, modulePath string) bool {
	for _, r := range s.MemberRules {
		if r.Member == member && !Admits(r.Include, r.Exclude, modulePath) {
			return false
		}
	}
	return true
}

// Exempt reports whether MinAge does not hold for mv.
func (p RemotePolicy) Exempt(mv module.Version) bool {
	return slices.ContainsFunc(p.NoMinAge, func(e VersionPattern) bool { return e.Match(mv) })
}

// TimeCounts reports whether a site's clock says when a version was first seen.
func (p RemotePolicy) TimeCounts(s Site) bool {
	return len(p.TimeSites) == 0 || slices.Contains(p.TimeSites, s)
}

// set yields the settings that are not the default, by their names in JSON.
func (p RemotePolicy) set() iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		for field, v := range reflect.ValueOf(p).Fields() {
			if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
				continue
			}
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !yield(name, v) {
				return
			}
		}
	}
}

// checkPolicy reports why the policy can't be that of a remote repository with
// this upstream. Settings that contradict each other are refused.
func (s RepoSettings) checkPolicy() error {
	p := s.RemotePolicy
	for name, v := range p.set() {
		if v.Kind() == reflect.Slice && v.Len() > maxList {
			return fmt.Errorf("the setting %s has more than %d elements", name, maxList)
		}
	}
	vcs := s.Upstream == UpstreamVCS
	switch {
	case !vcs && (len(p.AllowTargets) > 0 || len(p.PlainHosts) > 0):
		return fmt.Errorf("allowed targets and plain hosts are for the upstream %q; this one is a list of GOPROXY URLs", UpstreamVCS)
	case p.MinAge.IsZero() && len(p.NoMinAge) > 0:
		return errors.New("exemptions from the minimum age without a minimum age")
	case p.MinAge.IsZero() && len(p.TimeSites) > 0:
		return errors.New("sites whose time counts without a minimum age")
	case p.KeepNothing && len(s.Blobs) > 0:
		return errors.New("rules about zips in a repository that keeps none")
	case p.OfflineFor.Or(0) > maxWait || p.Timeout.Or(0) > maxWait:
		return fmt.Errorf("the time-out and the time that an upstream is left alone are at most %v", maxWait)
	case slices.Contains(p.TimeSites, Site{}):
		return errors.New("sites whose time counts: one has no name")
	}
	return p.checkHosts(vcs)
}

// maxWait bounds the spans for which a request may have to wait.
const maxWait = time.Hour

func (p RemotePolicy) checkHosts(vcs bool) error {
	for _, in := range p.AllowInside {
		if !in.IsValid() || in.Masked() != in {
			return fmt.Errorf("allowed address %v: write it as 10.1.0.0/16 or 192.0.2.7/32, with no bits behind the prefix", in)
		}
	}
	for _, h := range p.PlainHosts {
		if err := checkHost(h); err != nil {
			return err
		}
	}
	for i, r := range p.Secrets {
		if err := checkHost(r.Host); err != nil || r.Name.IsZero() {
			return errors.Join(errors.New("a secret needs a host and a name"), err)
		}
		if slices.ContainsFunc(p.Secrets[:i], func(o SecretRef) bool { return o.Host == r.Host }) {
			return fmt.Errorf("two secrets for the host %s", r.Host)
		}
		if vcs && slices.Contains(p.PlainHosts, r.Host) {
			return fmt.Errorf("a secret for the host %s, which is asked over http, where everybody could read it", r.Host)
		}
	}
	return p.checkProxy()
}

func (p RemotePolicy) checkProxy() error {
	if p.Proxy == "" || p.Proxy == "none" {
		return nil
	}
	u, err := url.Parse(p.Proxy)
	if err != nil || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return errors.New("proxy is none of http://HOST:PORT, https://HOST:PORT, socks5://HOST:PORT, none") // the text may hold a secret
	}
	if u.User != nil {
		return errors.New("proxy holds credentials, which would stay in the log for ever; name them with a secret for its host")
	}
	if !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		return fmt.Errorf("proxy has the scheme %q; it is http, https, socks5, or the word none", u.Scheme)
	}
	return nil
}

// checkHost reports why h is not a host, with or without a port.
func checkHost(h string) error {
	u, err := url.Parse("https://" + h)
	if err != nil || h == "" || len(h) > 255 || u.Host != h || u.Hostname() == "" || strings.ToLower(h) != h {
		return fmt.Errorf("%q is not a host in lower case, with or without :port", h)
	}
	return nil
}

func (s RepoSettings) checkMemberRules() error {
	if len(s.MemberRules) > maxMembers {
		return fmt.Errorf("more than %d rules about members", maxMembers)
	}
	for i, r := range s.MemberRules {
		if !slices.Contains(s.Members, r.Member) {
			return fmt.Errorf("a rule about %q, which is not a member", r.Member)
		}
		if len(r.Include)+len(r.Exclude) == 0 {
			return fmt.Errorf("the rule about member %s has no patterns", r.Member)
		}
		if len(r.Include) > maxList || len(r.Exclude) > maxList {
			return fmt.Errorf("the rule about member %s has more than %d patterns", r.Member, maxList)
		}
		if slices.ContainsFunc(s.MemberRules[:i], func(o MemberRule) bool { return o.Member == r.Member }) {
			return fmt.Errorf("two rules about member %s", r.Member)
		}
	}
	return nil
}
