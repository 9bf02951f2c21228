package events

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// RepoKind says where the versions of a repository come from.
type RepoKind struct{ name }

// The kinds of repository.
var (
	Local   = RepoKind{name{"local"}}   // the organisation publishes into it
	Remote  = RepoKind{name{"remote"}}  // a caching proxy of upstreams
	Virtual = RepoKind{name{"virtual"}} // several repositories behind one URL
)

// ParseRepoKind returns the kind called s.
func ParseRepoKind(s string) (RepoKind, error) {
	for _, k := range []RepoKind{Local, Remote, Virtual} {
		if k.s == s {
			return k, nil
		}
	}
	return RepoKind{}, fmt.Errorf("repository kind %q is none of local, remote, virtual", s)
}

// UnmarshalText accepts the name of a kind.
func (k *RepoKind) UnmarshalText(b []byte) error {
	v, err := ParseRepoKind(string(b))
	*k = v
	return err
}

// RepoSettings is what can be changed of a repository. Which fields a kind has
// is checked; the others stay zero.
type RepoSettings struct {
	Description string `json:"description,omitempty"`

	// Owns (local) are the module paths that this repository answers for alone:
	// no upstream is ever asked for them, and only they can be published here.
	Owns []Pattern `json:"owns,omitempty"`

	// Upstream (remote) is a GOPROXY list without credentials, as the go command
	// reads it, or UpstreamVCS.
	Upstream string `json:"upstream,omitempty"`
	// Sumdb (remote) is the checksum database that fetched content is verified
	// against, as the go command reads GOSUMDB: "off" for none.
	Sumdb string `json:"sumdb,omitempty"`
	// NoSumdb (remote) are module paths that are not in the checksum database.
	NoSumdb []Pattern `json:"no_sumdb,omitempty"`
	// RemotePolicy (remote) is how the upstream is treated.
	RemotePolicy

	// Members (virtual) are the repositories behind this one, first to last.
	Members []RepoName `json:"members,omitempty"`
	// Deploy (virtual) is the local member that takes what is published here.
	Deploy RepoName `json:"deploy,omitzero"`
	// MemberRules (virtual) narrow what members are asked for.
	MemberRules []MemberRule `json:"member_rules,omitempty"`

	// Blobs (local, remote) say how sites fetch what the repository holds; the
	// first rule that matches counts. See BlobPolicy.
	Blobs []BlobRule `json:"blobs,omitempty"`

	// AccessLog says whose requests to this repository, by whichever way it is
	// answered, are written down at the node that gets them.
	AccessLog Reads `json:"access_log,omitzero"`
}

const (
	maxText    = 1 << 10
	maxList    = 256 // patterns, members
	maxMembers = 64
)

func (s RepoSettings) check(kind RepoKind) error {
	if err := errors.Join(checkText("description", s.Description), s.checkBlobs(kind)); err != nil {
		return err
	}
	if len(s.Owns) > maxList || len(s.NoSumdb) > maxList {
		return fmt.Errorf("more than %d patterns", maxList)
	}
	if kind != Local && len(s.Owns) > 0 {
		return errors.New("only a local repository owns module paths")
	}
	if kind != Remote && (s.Upstream != "" || s.Sumdb != "" || len(s.NoSumdb) > 0) {
		return errors.New("only a remote repository has an upstream and a checksum database")
	}
	if kind != Remote {
		for name := range s.RemotePolicy.set() {
			return fmt.Errorf("the setting %s is about an upstream, and a %s repository has none", name, kind)
		}
	}
	if kind != Virtual && (len(s.Members)+len(s.MemberRules) > 0 || !s.Deploy.IsZero()) {
		return errors.New("only a virtual repository has members")
	}
	switch kind {
	case Remote:
		return errors.Join(s.checkUpstream(), s.checkPolicy())
	case Virtual:
		return errors.Join(s.checkMembers(), s.checkMemberRules())
	}
	return nil
}

func (s RepoSettings) checkUpstream() error {
	if s.Upstream == "" {
		return errors.New("a remote repository needs an upstream")
	}
	if s.Sumdb == "" {
		return errors.New(`a remote repository needs a checksum database, or "off"`)
	}
	return errors.Join(checkURLs("upstream", s.Upstream), checkURLs("sumdb", s.Sumdb))
}

func (s RepoSettings) checkMembers() error {
	if len(s.Members) == 0 || len(s.Members) > maxMembers {
		return fmt.Errorf("a virtual repository has 1 to %d members", maxMembers)
	}
	seen := map[RepoName]bool{}
	for _, m := range s.Members {
		if m.IsZero() || seen[m] {
			return fmt.Errorf("member %q is empty or named twice", m)
		}
		seen[m] = true
	}
	if !s.Deploy.IsZero() && !seen[s.Deploy] {
		return fmt.Errorf("the default deployment repository %q is not a member", s.Deploy)
	}
	return nil
}

// Check reports why s can't be the settings of a repository of this kind.
func (s RepoSettings) Check(kind RepoKind) error { return s.check(kind) }

// checkText reports why s can't be a text that people wrote or read.
func checkText(what, s string) error {
	if len(s) > maxText {
		return fmt.Errorf("%s is longer than %d bytes", what, maxText)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s is not valid UTF-8", what)
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return fmt.Errorf("%s has the control character %q", what, r)
		}
	}
	return nil
}

// checkURLs reports why s can't stand in a log as a list of URLs with commas,
// bars or spaces between them. The errors don't show s: it may hold a secret.
func checkURLs(what, s string) error {
	if err := checkText(what, s); err != nil {
		return err
	}
	if !strings.Contains(s, "@") {
		return nil
	}
	for u := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(",| \n\t", r) }) {
		if parsed, err := url.Parse(u); err != nil || parsed.User != nil {
			return fmt.Errorf("%s holds credentials, which would stay in the log for ever", what)
		}
	}
	return nil
}

// checkUTC reports why t can't be a time in an event. One form is one time for
// all readers, so that what they show doesn't depend on where they are.
func checkUTC(what string, t time.Time) error {
	if !t.IsZero() && t.Location() != time.UTC {
		return fmt.Errorf("%s is not in UTC", what)
	}
	return nil
}

// RepoCreated states that a repository exists; the event's id is its RepoID.
// Decided by the registry's home.
type RepoCreated struct {
	always
	Name     RepoName     `json:"name"`
	Kind     RepoKind     `json:"kind"`
	Home     Site         `json:"home"` // decides about its versions from the start
	Settings RepoSettings `json:"settings"`
	Actor    string       `json:"actor,omitempty"`
}

// RepoChanged replaces all settings of a repository. Decided by the registry's
// home.
type RepoChanged struct {
	always
	Repo     RepoID       `json:"repo"`
	Kind     RepoKind     `json:"kind"` // as created; the settings are checked against it
	Settings RepoSettings `json:"settings"`
	Actor    string       `json:"actor,omitempty"`
}

// RepoDeleted hides a repository and all in it. Decided by the registry's home.
type RepoDeleted struct {
	always
	Repo   RepoID `json:"repo"`
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
}

// RepoRestored takes a deletion back. Decided by the registry's home.
type RepoRestored struct {
	always
	Repo  RepoID `json:"repo"`
	Actor string `json:"actor,omitempty"`
}

// Type returns "repo.created".
func (RepoCreated) Type() Type { return "repo.created" }

// Type returns "repo.changed".
func (RepoChanged) Type() Type { return "repo.changed" }

// Type returns "repo.deleted".
func (RepoDeleted) Type() Type { return "repo.deleted" }

// Type returns "repo.restored".
func (RepoRestored) Type() Type { return "repo.restored" }

// Key returns the record of the repository that the event creates.
func (RepoCreated) Key(id EventID) Key { return KeyRepo(RepoID{id}) }

// Key returns the record of the repository.
func (b RepoChanged) Key(EventID) Key { return KeyRepo(b.Repo) }

// Key returns the record of the repository.
func (b RepoDeleted) Key(EventID) Key { return KeyRepo(b.Repo) }

// Key returns the record of the repository.
func (b RepoRestored) Key(EventID) Key { return KeyRepo(b.Repo) }

func (b RepoCreated) check() error {
	if b.Name.IsZero() || b.Home.IsZero() || b.Kind.IsZero() {
		return errors.New("a repository needs a name, a kind and a home")
	}
	return errors.Join(b.Settings.check(b.Kind), checkText("actor", b.Actor))
}

func (b RepoChanged) check() error {
	if b.Kind.IsZero() {
		return errors.New("no kind")
	}
	return errors.Join(checkRepo(b.Repo), b.Settings.check(b.Kind), checkText("actor", b.Actor))
}

func (b RepoDeleted) check() error {
	return errors.Join(checkRepo(b.Repo), checkText("reason", b.Reason), checkText("actor", b.Actor))
}

func (b RepoRestored) check() error {
	return errors.Join(checkRepo(b.Repo), checkText("actor", b.Actor))
}

func checkRepo(id RepoID) error {
	if id.IsZero() {
		return errors.New("no repository")
	}
	return nil
}
