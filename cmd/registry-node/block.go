package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"registry-node/events"
)

const blocksPath = "/api/v1/blocks"

func blockCommand() *cobra.Command {
	var add blockFlags
	cmd := &cobra.Command{
		Use:   "block [MODULE[@VERSION] --reason TEXT]",
		Short: "Forbid module versions, at all sites",
		Long: `Forbid module versions. A block is in force at this site at once, and at the
others as soon as they hear of it. Whoever asks for the version is told why;
what is held of it stays.

` + aboutBlocked + `

"block MODULE@VERSION --reason TEXT" is short for "block add …", and "unblock …"
for "block remove …".`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(blockAddCommand(t), blockRemoveCommand("remove", t), blockListCommand(t))
	group(cmd)
	add.addFlags(cmd)
	noCommand, help := cmd.Args, cmd.RunE
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && strings.ContainsAny(args[0], ".@/*?") { // no command has these
			return nil
		}
		return noCommand(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return help(cmd, args)
		}
		return add.run(cmd, t, args[0])
	}
	return cmd
}

// aboutBlocked says how what is blocked is written.
const aboutBlocked = `MODULE is a module path, or a pattern of them, where * and ? stand for characters
within an element and ** for any elements: 'evil.example/**'. VERSION is a
version, or has * and ? in it: v1.2.*. Without it all versions are meant.`

func unblockCommand() *cobra.Command {
	t := new(target)
	cmd := blockRemoveCommand("unblock", t)
	t.addFlags(cmd)
	return cmd
}

// blockFlags say how something is blocked.
type blockFlags struct {
	reason string
	asJSON bool
}

func (f *blockFlags) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "`text` that those who are refused are told")
	jsonFlag(cmd, &f.asJSON)
}

func blockAddCommand(t *target) *cobra.Command {
	var f blockFlags
	cmd := &cobra.Command{
		Use:               "add MODULE[@VERSION] --reason TEXT",
		Short:             "Forbid a version of a module, all of it, or what a pattern matches",
		Long:              "Forbid module versions. " + aboutBlocked,
		Args:              wants("MODULE[@VERSION]"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, t, args[0]) },
	}
	f.addFlags(cmd)
	return cmd
}

// run blocks what text names.
func (f *blockFlags) run(cmd *cobra.Command, t *target, text string) error {
	p, err := events.ParseVersionPattern(text)
	if err != nil {
		return usageError{err}
	}
	if f.reason == "" {
		return usagef("--reason is missing: those who are refused are told it")
	}
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.close()
	var b events.Block
	path, version := p.Parts()
	in := map[string]string{"module": path, "version": version, "reason": f.reason}
	if err := c.call(cmd.Context(), http.MethodPost, blocksPath, in, &b); err != nil {
		return err
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), b)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "blocked %v\n", p)
	return err
}

// blockRemoveCommand returns the command that takes a block back, by the name
// that it has there.
func blockRemoveCommand(name string, t *target) *cobra.Command {
	return &cobra.Command{
		Use:   name + " MODULE[@VERSION]",
		Short: "Take a block back",
		Long: `Take a block back, as "block list" shows it. Others that match the same versions
still hold. The home of the registry decides.`,
		Args:              wants("MODULE[@VERSION]"),
		ValidArgsFunction: t.completeBlock,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := events.ParseVersionPattern(args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.call(cmd.Context(), http.MethodDelete, blocksPath+"?"+patternQuery(p).Encode(), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "no longer blocked: %v\n", p)
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

// blockedText names what a block is for, as events.ParseVersionPattern reads it.
func blockedText(b events.Block) string {
	return events.VersionPatternOf(module.Version{Path: b.Module, Version: b.Version}).String()
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
