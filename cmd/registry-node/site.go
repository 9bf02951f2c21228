package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

func siteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "site",
		Short: "Show and remove the sites of a registry",
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(siteListCommand(t), siteRemoveCommand(t))
	return group(cmd)
}

// siteList is the API's list of sites.
type siteList struct {
	Sites []node.SiteInfo `json:"sites"`
}

func (c *client) sites(cmd *cobra.Command) (siteList, error) {
	var l siteList
	err := c.call(cmd.Context(), http.MethodGet, sitesPath, nil, &l)
	return l, err
}

func siteListCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the sites: members, those invited, and those that left",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			l, err := c.sites(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), l)
			}
			return printSites(cmd.OutOrStdout(), l.Sites)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printSites(w io.Writer, sites []node.SiteInfo) error {
	t := newTable(w)
	t.row("SITE", "STATE", "ADDRESSES", "REMARKS")
	for _, s := range sites {
		addresses := strings.Join(s.Addresses, ", ")
		if addresses == "" {
			addresses = "-"
		}
		t.row(s.Name, s.State, addresses, siteRemarks(s))
	}
	return t.Flush()
}

func siteRemarks(s node.SiteInfo) string {
	var remarks []string
	if s.Self {
		remarks = append(remarks, "here")
	}
	if s.Home {
		remarks = append(remarks, "home of the registry")
	}
	if s.Expires != nil {
		remarks = append(remarks, "may join until "+s.Expires.Local().Format(time.RFC3339))
	}
	if s.CutOff != nil {
		remarks = append(remarks, "counts up to "+s.CutOff.String())
	}
	return strings.Join(remarks, ", ")
}

func siteRemoveCommand(t *target) *cobra.Command {
	var (
		reason string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "remove NAME --reason TEXT",
		Short: "End the membership of a site that does not leave by itself",
		Long: `End the membership of a site: one that is gone, or that nobody trusts any more.
What the other sites have of its log by now counts; what it says later is ignored
everywhere. The name is used up.`,
		Args:              wants("NAME"),
		ValidArgsFunction: t.completeSite,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := events.ParseSite(args[0])
			if err != nil {
				return usageError{err}
			}
			if reason == "" {
				return usagef("--reason is missing: the log keeps it")
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			path := sitesPath + "/" + name.String() + "?" + url.Values{"reason": {reason}}.Encode()
			var s node.SiteInfo
			if err := c.call(cmd.Context(), http.MethodDelete, path, nil, &s); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), s)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSuffix(fmt.Sprintf("removed %s; its log %s", s.Name, siteRemarks(s)), "; its log "))
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that the log keeps")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// completeSite completes the name of a site, if that is the first argument.
func (t *target) completeSite(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeSites(cmd, args, word)
}

// completeSites completes names of members.
func (t *target) completeSites(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := t.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.close()
	l, err := c.sites(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, s := range l.Sites {
		if s.State == "member" {
			names = append(names, s.Name.String())
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
