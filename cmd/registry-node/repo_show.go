package main

import (
	"io"
	"time"

	"registry-node/events"
	"registry-node/node"
)

// printRepo prints a repository with all settings that its kind has, those that
// are the default as well.
func printRepo(w io.Writer, r node.RepoInfo) error {
	t := newTable(w)
	t.row("name", r.Name)
	t.row("kind", r.Kind)
	if r.Description != "" {
		t.row("description", r.Description)
	}
	switch r.Kind {
	case events.Local:
		t.row("owns", list(r.Owns))
		t.row("blobs", list(r.Blobs))
	case events.Remote:
		t.remote(r)
	case events.Virtual:
		t.virtual(r)
	}
	if r.AccessLog.IsZero() {
		t.row("access log", "as each node says (default)")
	} else {
		t.row("access log", r.AccessLog)
	}
	t.row("home", r.Home)
	t.row("id", r.ID)
	t.row("created", r.Created.Format(time.RFC3339))
	t.row("changed", r.Changed.Format(time.RFC3339))
	if r.Problem != "" {
		t.row("problem", r.Problem)
	}
	return t.Flush()
}

func (t table) virtual(r node.RepoInfo) {
	t.row("members", list(r.Members))
	deploy := "-"
	if !r.Deploy.IsZero() {
		deploy = r.Deploy.String()
	}
	t.row("deploy", deploy)
	for _, rule := range r.MemberRules {
		t.row("asks "+rule.Member.String(), "for "+listOr(rule.Include, "everything")+", but not for "+list(rule.Exclude))
	}
}

func (t table) remote(r node.RepoInfo) {
	vcs := r.Upstream == events.UpstreamVCS
	t.row("upstream", r.Upstream)
	t.row("sumdb", r.Sumdb)
	t.row("no sumdb for", list(r.NoSumdb))
	t.row("include", listOr(r.Include, "all (default)"))
	t.row("exclude", list(r.Exclude))
	t.span("list ttl", r.ListTTL, events.DefaultListTTL)
	t.span("query ttl", r.QueryTTL, events.DefaultQueryTTL)
	t.span("absent ttl", r.AbsentTTL, events.DefaultAbsentTTL)
	t.span("stale for", r.StaleFor, events.DefaultStaleFor)
	t.span("offline for", r.OfflineFor, events.DefaultOfflineFor)
	timeout := events.DefaultTimeout
	if vcs {
		timeout = events.DefaultVCSTimeout
	}
	t.span("timeout", r.Timeout, timeout)
	t.row("offline", yesNo(r.Offline))
	if r.MinAge.IsZero() {
		t.row("min age", "none (default)")
	} else {
		t.row("min age", r.MinAge)
		t.row("no min age for", list(r.NoMinAge))
		t.row("time sites", listOr(r.TimeSites, "all (default)"))
	}
	t.row("keep nothing", yesNo(r.KeepNothing))
	t.row("allow inside", list(r.AllowInside))
	if vcs {
		t.row("allow targets", listOr(r.AllowTargets, "** (default)"))
		t.row("plain hosts", texts(r.PlainHosts))
	}
	proxy := r.Proxy
	if proxy == "" {
		proxy = "that of the node's environment (default)"
	}
	t.row("proxy", proxy)
	t.row("secrets", list(r.Secrets))
	t.row("blobs", list(r.Blobs))
}

// span prints what holds of a setting, and whether it is the default.
func (t table) span(name string, s events.Span, def time.Duration) {
	if s.IsZero() {
		t.row(name, text(def)+" (default)")
		return
	}
	t.row(name, s)
}
