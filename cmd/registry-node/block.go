package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
)

const blocksPath = "/api/v1/blocks"

func blockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "block",
		Short: "Forbid module versions, at all sites",
		Long: `Forbid module versions. A block is in force at this site at once, and at the
others as soon as they hear of it. Whoever asks for the version is told why.`,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(blockAddCommand(t), blockRemoveCommand(t), blockListCommand(t))
	return group(cmd)
}

func blockAddCommand(t *target) *cobra.Command {
	var (
		reason string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:               "add MODULE[@VERSION] --reason TEXT",
		Short:             "Forbid a version of a module, or all of it",
		Args:              wants("MODULE[@VERSION]"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			mv, err := parseBlocked(args[0])
			if err != nil {
				return usageError{err}
			}
			if reason == "" {
				return usagef("--reason is missing: those who are refused are told it")
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var b events.Block
			in := map[string]string{"module": mv.Path, "version": mv.Version, "reason": reason}
			if err := c.call(cmd.Context(), http.MethodPost, blocksPath, in, &b); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), b)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "blocked %s\n", args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that those who are refused are told")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func blockRemoveCommand(t *target) *cobra.Command {
	return &cobra.Command{
		Use:               "remove MODULE[@VERSION]",
		Short:             "Take a block back",
		Args:              wants("MODULE[@VERSION]"),
		ValidArgsFunction: t.completeBlock,
		RunE: func(cmd *cobra.Command, args []string) error {
			mv, err := parseBlocked(args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			query := url.Values{"module": {mv.Path}}
			if mv.Version != "" {
				query.Set("version", mv.Version)
			}
			if err := c.call(cmd.Context(), http.MethodDelete, blocksPath+"?"+query.Encode(), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "no longer blocked: %s\n", args[0])
			return err
		},
	}
}

// blockList is the API's list of blocks.
type blockList struct {
	Blocks []events.Block `json:"blocks"`
}

func blockListCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what is blocked",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var l blockList
			if err := c.call(cmd.Context(), http.MethodGet, blocksPath, nil, &l); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), l)
			}
			tab := newTable(cmd.OutOrStdout())
			tab.row("BLOCKED", "SINCE", "AT", "BY", "REASON")
			for _, b := range l.Blocks {
				tab.row(blockedText(b), b.Time.Format(time.RFC3339), b.Site, b.Actor, b.Reason)
			}
			return tab.Flush()
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// blockedText names what a block is for, as parseBlocked reads it.
func blockedText(b events.Block) string {
	if b.Version == "" {
		return b.Module
	}
	return b.Module + "@" + b.Version
}

// parseBlocked parses MODULE[@VERSION]; with no version it is all of the module.
func parseBlocked(text string) (mv module.Version, err error) {
	path, version, ok := strings.Cut(text, "@")
	mv = module.Version{Path: path, Version: version}
	if ok {
		return mv, events.CheckVersion(mv)
	}
	return mv, module.CheckPath(path)
}

// completeBlock completes what is blocked, if that is the first argument.
func (t *target) completeBlock(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := t.client()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.close()
	var l blockList
	if err := c.call(cmd.Context(), http.MethodGet, blocksPath, nil, &l); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, b := range l.Blocks {
		names = append(names, cobra.CompletionWithDesc(blockedText(b), oneLine(b.Reason)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
