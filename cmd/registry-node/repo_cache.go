package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
	"registry-node/node"
)

// asked makes cmd one that asks the node for a T and prints it, or its JSON.
func asked[T any](t *target, cmd *cobra.Command, ask func(context.Context, *client, []string) (T, error), show func(io.Writer, T) error) *cobra.Command {
	var asJSON bool
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := t.client()
		if err != nil {
			return err
		}
		defer c.close()
		got, err := ask(cmd.Context(), c, args)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), got)
		}
		return show(cmd.OutOrStdout(), got)
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// ofRepo returns the path of something about the repository that the first
// argument names.
func ofRepo(args []string, suffix string) (string, error) {
	name, err := events.ParseRepoName(args[0])
	if err != nil {
		return "", usageError{err}
	}
	return repoPath(name) + suffix, nil
}

func repoRefreshCommand(t *target) *cobra.Command {
	return asked(t, &cobra.Command{
		Use:   "refresh NAME [MODULE]",
		Short: "Ask an upstream anew, whatever it said before",
		Long: `Forget what the upstream of a remote repository said about lists, @latest,
branches and what it has not got: of MODULE, which is asked for at once, or of all
modules. What is recorded stays.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return wants("NAME")(nil, args)
		},
		ValidArgsFunction: t.completeFirst(events.Remote),
	}, func(ctx context.Context, c *client, args []string) (r node.Refreshed, err error) {
		path, err := ofRepo(args, "/refresh")
		if err != nil {
			return r, err
		}
		if len(args) == 2 {
			if err := module.CheckPath(args[1]); err != nil {
				return r, usageError{err}
			}
			path += "?" + url.Values{"module": {args[1]}}.Encode()
		}
		err = c.call(ctx, http.MethodPost, path, nil, &r)
		return r, err
	}, func(w io.Writer, r node.Refreshed) error {
		text := "what the upstream said is forgotten; it is asked anew"
		if r.Module != "" {
			text = fmt.Sprintf("%s: the upstream lists %s", r.Module, texts(r.Versions))
		}
		_, err := fmt.Fprintln(w, text)
		return err
	})
}

func repoCleanCommand(t *target) *cobra.Command {
	return asked(t, &cobra.Command{
		Use:   "clean NAME MODULE[@VERSION]",
		Short: "Remove what a remote repository caches, at this site",
		Long: `Remove the zips of a module, of a version, or of what a pattern matches, from what
this site caches for a remote repository. They are fetched again when somebody asks
for them; hashes stay for ever, so another content is refused then.

` + aboutBlocked,
		Args:              wants("NAME", "MODULE[@VERSION]"),
		ValidArgsFunction: t.completeFirst(events.Remote),
	}, func(ctx context.Context, c *client, args []string) (e node.Evicted, err error) {
		path, err := ofRepo(args, "/cached")
		if err != nil {
			return e, err
		}
		p, err := events.ParseVersionPattern(args[1])
		if err != nil {
			return e, usageError{err}
		}
		err = c.call(ctx, http.MethodDelete, path+"?"+patternQuery(p).Encode(), nil, &e)
		return e, err
	}, func(w io.Writer, e node.Evicted) error {
		_, err := fmt.Fprintf(w, "removed the zips of %d versions, %s\n", e.Versions, bytesText(e.Bytes))
		return err
	})
}

// patternQuery returns the parameters that stand for a pattern.
func patternQuery(p events.VersionPattern) url.Values {
	path, version := p.Parts()
	query := url.Values{"module": {path}}
	if version != "" {
		query.Set("version", version)
	}
	return query
}

// pendingList is the API's list of pending versions.
type pendingList struct {
	Pending []node.Pending `json:"pending"`
	More    bool           `json:"more,omitempty"`
}

func repoPendingCommand(t *target) *cobra.Command {
	return asked(t, &cobra.Command{
		Use:               "pending NAME",
		Short:             "List the versions that are too young to be given out",
		Args:              wants("NAME"),
		ValidArgsFunction: t.completeFirst(events.Remote),
	}, func(ctx context.Context, c *client, args []string) (l pendingList, err error) {
		path, err := ofRepo(args, "/pending")
		if err != nil {
			return l, err
		}
		err = c.call(ctx, http.MethodGet, path, nil, &l)
		return l, err
	}, func(w io.Writer, l pendingList) error {
		tab := newTable(w)
		tab.row("OPENS", "VERSION", "FIRST SEEN")
		for _, p := range l.Pending {
			tab.row(p.Opens.Format(time.RFC3339), p.Module+"@"+p.Version, p.FirstSeen.Format(time.RFC3339))
		}
		if l.More {
			tab.row("and more")
		}
		return tab.Flush()
	})
}

// driftList is the API's list of drifts.
type driftList struct {
	Drifts []node.Drift `json:"drifts"`
}

func repoDriftCommand(t *target) *cobra.Command {
	return asked(t, &cobra.Command{
		Use:   "drift",
		Short: "List the versions whose upstream has changed them",
		Long: `List the versions for which an upstream gave other content than what is recorded
of them, as this node noticed. What is recorded is served; what came is refused.`,
		Args: wants(),
	}, func(ctx context.Context, c *client, _ []string) (l driftList, err error) {
		err = c.call(ctx, http.MethodGet, "/api/v1/drift", nil, &l)
		return l, err
	}, func(w io.Writer, l driftList) error {
		tab := newTable(w)
		tab.row("TIME", "REPOSITORY", "VERSION", "RECORDED", "FOUND", "UPSTREAM")
		for _, d := range l.Drifts {
			tab.row(d.Time.Format(time.RFC3339), d.Repo, d.Module+"@"+d.Version, hashesText(d.Recorded), hashesText(d.Found), d.Upstream)
		}
		return tab.Flush()
	})
}

func hashesText(h node.DriftHashes) string {
	text := "go.mod " + h.ModH1.String()
	if !h.ZipH1.IsZero() {
		text += " zip " + h.ZipH1.String()
	}
	return text
}

// remoteList is the API's list of remote repositories.
type remoteList struct {
	Remotes []node.RemoteStatus `json:"remotes"`
}

func repoUpstreamsCommand(t *target) *cobra.Command {
	return asked(t, &cobra.Command{
		Use:   "upstreams",
		Short: "Show how the node gets on with the upstreams of remote repositories",
		Args:  wants(),
	}, func(ctx context.Context, c *client, _ []string) (l remoteList, err error) {
		err = c.call(ctx, http.MethodGet, "/api/v1/upstreams", nil, &l)
		return l, err
	}, func(w io.Writer, l remoteList) error {
		tab := newTable(w)
		tab.row("REPOSITORY", "UPSTREAM", "STATE", "TROUBLE")
		for _, r := range l.Remotes {
			tab.upstreams(r)
		}
		return tab.Flush()
	})
}

func (t table) upstreams(r node.RemoteStatus) {
	state := "answers, as far as it was asked"
	switch {
	case r.Offline:
		state = "switched offline"
	case !r.FailingSince.IsZero():
		state = "fails for " + agoText(time.Since(r.FailingSince))
	}
	t.row(r.Name, r.Upstream, state, cmp.Or(r.Problem, r.LastError))
	for _, u := range r.Entries {
		state := string(u.State)
		if !u.Until.IsZero() {
			state = "assumed offline until " + u.Until.Format(time.TimeOnly)
		}
		if !u.LastOK.IsZero() {
			state += ", last answer " + agoText(time.Since(u.LastOK)) + " ago"
		}
		trouble := ""
		if u.Failures > 0 {
			trouble = u.LastError
		}
		t.row("", u.URL, state, trouble)
	}
}

// completeFirst completes the name of a repository of some kinds, if that is the
// first argument.
func (t *target) completeFirst(kinds ...events.RepoKind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return t.completeRepos(kinds...)(cmd, args, word)
	}
}
