package main

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"registry-node/events"
	"registry-node/node"
)

// repoFlags are the flags that repo create and repo set have in common: each
// says what to change of a repository, of a new one as of one that exists.
type repoFlags struct {
	change node.RepoChange
	fs     *pflag.FlagSet
}

// addRepoFlags adds to cmd a flag for each setting of a repository.
func addRepoFlags(cmd *cobra.Command, t *target) *repoFlags {
	f := &repoFlags{fs: cmd.Flags()}
	f.fs.SortFlags = false
	c := &f.change
	f.add("description", one(&c.Description, asIs), "`text` for people")
	f.add("owns", each(&c.Owns, events.ParsePattern), "local: `pattern` of module paths that it owns, as 'corp.example/**'; can be repeated")
	f.add("blobs", all(&c.Blobs, events.ParseBlobRule), "local, remote: `rule` by which sites fetch zips, as 'oslo,turku:big.example/**=lazy' or eager or never; the first that matches holds"+repeats)
	f.add("access-log", one(&c.AccessLog, parseReads), "`readers` that are written down, by the nodes that they ask: off, zip (who was given zips), all (info and go.mod, too), default (what serve --access-log says)")
	f.add("members", all(&c.Members, events.ParseRepoName).commas(), "virtual: `names` of the repositories behind it, first to last")
	f.add("deploy", one(&c.Deploy, orNone(events.ParseRepoName)), "virtual: `name` of the local member that takes what is published; '' for none")
	f.add("member-include", memberPatterns{&c.MemberInclude}, "virtual: `MEMBER=PATTERN`: the member is asked only for module paths that match one of its patterns; can be repeated; MEMBER= for everything (default)")
	f.add("member-exclude", memberPatterns{&c.MemberExclude}, "virtual: `MEMBER=PATTERN`: the member is not asked for module paths that match; can be repeated; MEMBER= for none (default)")
	f.addUpstream(c)
	f.addPolicy(&c.PolicyChange)
	must(cmd.RegisterFlagCompletionFunc("members", t.completeRepos(events.Local, events.Remote)))
	must(cmd.RegisterFlagCompletionFunc("access-log", completeWords("off", "zip", "all", defaultWord)))
	must(cmd.RegisterFlagCompletionFunc("deploy", t.completeRepos(events.Local)))
	return f
}

// repeats is said of flags that replace a list; the text of the command says the
// rest.
const repeats = "; can be repeated"

func (f *repoFlags) addUpstream(c *node.RepoChange) {
	f.add("upstream", one(&c.Upstream, asIs), "remote: GOPROXY `list` of what it caches, or the word "+events.UpstreamVCS+" for the version control hosts themselves")
	f.add("sumdb", one(&c.Sumdb, asIs), "remote: checksum `database` as in GOSUMDB, or off")
	f.add("no-sumdb", each(&c.NoSumdb, events.ParsePattern), "remote: `pattern` of module paths that the checksum database does not know; can be repeated")
	f.add("proxy", one(&c.Proxy, orDefault), "remote: `URL` of the proxy to the upstream, http, https or socks5; none for none (default: what the environment of the node says)")
	f.add("secrets", all(&c.Secrets, events.ParseSecretRef), "remote: `HOST=NAME`: at HOST or HOST:PORT the secret NAME counts, which each site has of its own (see secret set)"+repeats)
	f.add("allow-inside", all(&c.AllowInside, parsePrefix), "remote: `prefix` of addresses inside (loopback, private, link-local) that the upstream may lead to, as 10.1.0.0/16 (default: none)"+repeats)
	f.add("allow-targets", all(&c.AllowTargets, events.ParseGlob), "remote, vcs: `pattern` of the repositories that a module path may lead to, as 'github.com/corp/**' (default '**')"+repeats)
	f.add("plain-hosts", all(&c.PlainHosts, asIs), "remote, vcs: `host` that is asked over http instead of https (default: none)"+repeats)
}

func (f *repoFlags) addPolicy(c *node.PolicyChange) {
	f.add("include", all(&c.Include, events.ParsePattern), "remote: `pattern` of module paths that the upstream is asked for (default: all)"+repeats)
	f.add("exclude", all(&c.Exclude, events.ParsePattern), "remote: `pattern` of module paths that the upstream is not asked for, even if included (default: none)"+repeats)
	f.addSpan("list-ttl", &c.ListTTL, "is not asked again for a list of versions", text(events.DefaultListTTL))
	f.addSpan("query-ttl", &c.QueryTTL, "is not asked again what @latest, a branch or a commit means", text(events.DefaultQueryTTL))
	f.addSpan("absent-ttl", &c.AbsentTTL, "is not asked again for what it said it has not", text(events.DefaultAbsentTTL))
	f.addSpan("stale-for", &c.StaleFor, "may have been silent while what it last said of lists and queries is still given out", text(events.DefaultStaleFor))
	f.addSpan("offline-for", &c.OfflineFor, "is left alone once it keeps failing, until one request tries again; at most 1h", text(events.DefaultOfflineFor))
	f.addSpan("timeout", &c.Timeout, "may take until it begins to answer, for vcs until a command has ended; at most 1h", text(events.DefaultTimeout)+", for vcs "+text(events.DefaultVCSTimeout))
	f.addSwitch("offline", &c.Offline, "remote: the upstream is not asked at all (default: it is)")
	f.addSpan("min-age", &c.MinAge, "must have shown a version to the registry before the zip is given out", "none")
	f.add("no-min-age", all(&c.NoMinAge, events.ParseVersionPattern), "remote: `MODULE[@VERSION]`, a pattern of versions for which the minimum age does not hold (default: none)"+repeats)
	f.add("time-sites", all(&c.TimeSites, events.ParseSite).commas(), "remote: `sites` whose clocks say when a version was first seen (default: all)"+repeats)
	f.addSwitch("keep-nothing", &c.KeepNothing, "remote: zips pass through, verified, and only their hashes are kept (default: zips are kept)")
}

// add adds a flag. Those of settings have no default in the flags: the node has.
func (f *repoFlags) add(name string, v pflag.Value, usage string) { f.fs.Var(v, name, usage) }

func (f *repoFlags) addSpan(name string, to **events.Span, what, def string) {
	f.add(name, one(to, parseSpan), fmt.Sprintf("remote: `span` for which the upstream %s (default %s)", what, def))
}

func (f *repoFlags) addSwitch(name string, to **bool, usage string) {
	v := one(to, strconv.ParseBool)
	v.kind = "bool"
	f.add(name, v, usage)
	f.fs.Lookup(name).NoOptDefVal = "true"
}

// named returns the change that the flags name, or that they name none.
func (f *repoFlags) named() (node.RepoChange, error) {
	if reflect.ValueOf(f.change).IsZero() {
		return f.change, errors.New("nothing to change is named")
	}
	return f.change, nil
}

// setting is the value of a flag that is parsed when it is set.
type setting struct {
	set   func(string) error
	comma bool   // one value may hold several, with commas between them
	kind  string // see Type
}

// Set takes a value from the command line.
func (s setting) Set(text string) error {
	if !s.comma || text == "" {
		return s.set(text)
	}
	for one := range strings.SplitSeq(text, ",") {
		if err := s.set(one); err != nil {
			return err
		}
	}
	return nil
}

// String returns nothing: what is not set stays as it is.
func (setting) String() string { return "" }

// Type is "bool" for a flag that needs no value, else nothing: usage takes the
// name of the value from the flag's text.
func (s setting) Type() string { return s.kind }

func (s setting) commas() setting {
	s.comma = true
	return s
}

// one replaces a value.
func one[T any](to **T, parse func(string) (T, error)) setting {
	return setting{set: func(text string) error {
		v, err := parse(text)
		if err != nil {
			return err
		}
		*to = &v
		return nil
	}}
}

// all replaces a list by the values of the flag each time that it is given. The
// empty text is no value.
func all[T any](to **[]T, parse func(string) (T, error)) setting {
	return setting{set: func(text string) error {
		if *to == nil {
			*to = &[]T{}
		}
		if text == "" {
			return nil
		}
		return each(*to, parse).set(text)
	}}
}

// each adds to a list.
func each[T any](to *[]T, parse func(string) (T, error)) setting {
	return setting{set: func(text string) error {
		v, err := parse(text)
		if err != nil {
			return err
		}
		*to = append(*to, v)
		return nil
	}}
}

// memberPatterns is the value of a flag with patterns for members.
type memberPatterns struct {
	to *map[events.RepoName][]events.Pattern
}

// Set takes MEMBER=PATTERN, or MEMBER= for no patterns.
func (m memberPatterns) Set(text string) error {
	member, pattern, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%q: write MEMBER=PATTERN", text)
	}
	name, err := events.ParseRepoName(member)
	if err != nil {
		return err
	}
	if *m.to == nil {
		*m.to = map[events.RepoName][]events.Pattern{}
	}
	patterns := (*m.to)[name]
	if pattern != "" {
		p, err := events.ParsePattern(pattern)
		if err != nil {
			return err
		}
		patterns = append(patterns, p)
	}
	(*m.to)[name] = patterns
	return nil
}

// String returns nothing, as of a setting.
func (memberPatterns) String() string { return "" }

// Type is as of a setting.
func (memberPatterns) Type() string { return "" }

func asIs(s string) (string, error) { return s, nil }

// orDefault takes "default" for the empty text, which stands for it.
func orDefault(s string) (string, error) {
	if s == defaultWord {
		s = ""
	}
	return s, nil
}

// defaultWord resets a setting, as the empty text does.
const defaultWord = "default"

func parseSpan(s string) (events.Span, error) {
	s, _ = orDefault(s)
	return events.ParseSpan(s)
}

func parseReads(s string) (events.Reads, error) {
	s, _ = orDefault(s)
	return events.ParseReads(s)
}

// orNone takes the empty text for the zero value.
func orNone[T any](parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (v T, err error) {
		if s == "" {
			return v, nil
		}
		return parse(s)
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Masked() != p {
		return p, fmt.Errorf("%q is not a prefix of addresses, as 10.1.0.0/16 or 192.0.2.7/32, with no bits behind it", s)
	}
	return p, nil
}

// text shows the default of a span as the flags take it.
func text(d time.Duration) string { return events.SpanOf(d).String() }
