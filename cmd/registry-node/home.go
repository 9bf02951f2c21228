package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

func homeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "home",
		Short: "Move the site that decides about a repository, or about the registry",
		Long: `Each local repository has a home: the site that decides what is published there.
The registry has one as well, which decides about repositories and sites. "repo
show" and "site list" print them.`,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(homeMoveCommand(t))
	return group(cmd)
}

// homeMove is what is asked for.
type homeMove struct {
	Repo   string      `json:"repository"` // empty: the registry
	To     events.Site `json:"to"`
	Force  bool        `json:"force"`
	Reason string      `json:"reason,omitempty"`
}

func (m homeMove) what() string {
	if m.Repo == "" {
		return "the registry"
	}
	return "repository " + m.Repo
}

func homeMoveCommand(t *target) *cobra.Command {
	var (
		m                     homeMove
		to                    string
		registry, yes, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "move NAME|--registry --to SITE",
		Short: "Move a home to another site",
		Long: `Move the home of repository NAME, or with --registry that of the registry, to
another site. The old home agrees, and nothing is lost.

With --force the old home is not asked, as it is gone for good. What it decided
and had not sent to anybody is lost then; it is told what to expect, and asked
whether to go on, unless --yes is given.`,
		Args: func(_ *cobra.Command, args []string) error {
			if registry {
				return wants()(nil, args)
			}
			return wants("NAME, or --registry,")(nil, args)
		},
		ValidArgsFunction: t.completeRepo,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := m.parse(args, to); err != nil {
				return usageError{err}
			}
			if yes && !m.Force {
				return usagef("--yes goes with --force; there is nothing to ask without it")
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			if m.Force {
				if err := c.warnOfForce(cmd.Context(), cmd.ErrOrStderr(), m); err != nil {
					return err
				}
				if err := confirm(cmd, yes, fmt.Sprintf("Move the home of %s to %s by force?", m.what(), m.To)); err != nil {
					return err
				}
			}
			var moved node.HomeMove
			if err := c.call(cmd.Context(), http.MethodPost, "/api/v1/homes", m, &moved); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), moved)
			}
			return printMove(cmd.OutOrStdout(), m.what(), moved)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&registry, "registry", false, "move the home of the registry itself")
	fs.StringVar(&to, "to", "", "`site` that is the home from now on")
	fs.BoolVar(&m.Force, "force", false, "don't ask the old home, which is gone for good")
	fs.StringVar(&m.Reason, "reason", "", "`text` that the log keeps; needed with --force")
	yesFlag(cmd, &yes)
	jsonFlag(cmd, &asJSON)
	must(cmd.RegisterFlagCompletionFunc("to", t.completeSites))
	return cmd
}

func (m *homeMove) parse(args []string, to string) error {
	if len(args) > 0 {
		name, err := events.ParseRepoName(args[0])
		if err != nil {
			return err
		}
		m.Repo = name.String()
	}
	if to == "" {
		return errors.New("--to is missing: the site that is the home from now on")
	}
	site, err := events.ParseSite(to)
	if err != nil {
		return err
	}
	m.To = site
	if m.Force && m.Reason == "" {
		return errors.New("--reason is missing: a move by force is one that people ask about later")
	}
	return nil
}

func printMove(w io.Writer, what string, m node.HomeMove) error {
	until := ""
	switch {
	case m.Until == nil:
	case m.Until.IsZero():
		until = fmt.Sprintf("; nothing counts that %s decided as the home", m.From)
	default:
		until = fmt.Sprintf("; what %s decided counts up to its entry %v", m.From, m.Until)
	}
	_, err := fmt.Fprintf(w, "the home of %s is %s, no longer %s, as of %v%s\n", what, m.To, m.From, m.At, until)
	return err
}

// warnOfForce says what may be lost when the old home is not asked.
func (c *client) warnOfForce(ctx context.Context, w io.Writer, m homeMove) error {
	home, err := c.homeOf(ctx, m)
	if err != nil {
		return err
	}
	var rep node.Replication
	if err := c.call(ctx, http.MethodGet, replicationPath, nil, &rep); err != nil {
		return err
	}
	heard, known := "has never been heard by this site", "this site knows nothing of its log"
	for _, s := range rep.Sites {
		switch {
		case s.Self:
			if l, ok := s.Logs[home]; ok {
				known = fmt.Sprintf("the last entry of %s that this site has is %d/%d", home, l.Epoch, l.Seq)
			}
		case s.Name == home && s.Connected:
			heard = "is connected right now, so it could be asked, without --force"
		case s.Name == home && !s.LastHeard.IsZero():
			heard = fmt.Sprintf("was last heard %s ago", agoText(time.Since(s.LastHeard)))
		}
	}
	_, err = fmt.Fprintf(w, `The home of %s is %s, which %s.
By force, what %s decided about it and this site has not got no longer counts:
%s.
Versions that it acknowledged after that are lost, or come back as conflicts
if it ever returns.
`, m.what(), home, heard, home, known)
	return err
}

// homeOf returns the site that is home of what is to be moved.
func (c *client) homeOf(ctx context.Context, m homeMove) (events.Site, error) {
	if m.Repo != "" {
		var r node.RepoInfo
		err := c.call(ctx, http.MethodGet, reposPath+"/"+m.Repo, nil, &r)
		return r.Home, err
	}
	var l siteList
	if err := c.call(ctx, http.MethodGet, sitesPath, nil, &l); err != nil {
		return events.Site{}, err
	}
	for _, s := range l.Sites {
		if s.Home {
			return s.Name, nil
		}
	}
	return events.Site{}, fmt.Errorf("%s names no home of the registry", c.where)
}
