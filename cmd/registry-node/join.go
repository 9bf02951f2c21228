package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"registry-node/node"
)

// joinTokenEnv holds the token, so that it need not be seen in the list of
// processes.
const joinTokenEnv = "REGISTRY_NODE_JOIN_TOKEN"

// maxJoinToken bounds what is read of a token, in bytes.
const maxJoinToken = 64 << 10

func joinCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "join TOKEN --data DIR",
		Short: "Make this machine a new site of a registry, and serve",
		Long: `Join a registry with the token that "registry-node invite" printed at one of its
sites, fetch all that the registry knows, and then do what serve does.

TOKEN is - to read it from standard input, or left out if the environment
variable ` + joinTokenEnv + ` holds it.

A join that was cut short goes on where it was. On a directory that has joined
it just serves. The other settings are those of serve.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q", args[1])
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := completeFlags(cmd.Flags()); err != nil {
				return err
			}
			cfg, err := f.parse(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			token, err := joinToken(args, cmd.InOrStdin())
			if err != nil {
				return err
			}
			open := func(ctx context.Context, opts node.Options) (*node.Node, error) {
				return joinNode(ctx, cfg, token, opts, cmd.ErrOrStderr())
			}
			return serve(cmd.Context(), cfg, open, cmd.OutOrStdout())
		},
	}
	f.addFlags(cmd)
	return cmd
}

// joinToken returns the token: the argument, the standard input, or what the
// environment holds.
func joinToken(args []string, stdin io.Reader) (string, error) {
	token := os.Getenv(joinTokenEnv)
	if len(args) > 0 {
		token = args[0]
	}
	if token == "-" {
		text, err := io.ReadAll(io.LimitReader(stdin, maxJoinToken+1))
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		token = string(text)
	}
	token = strings.TrimSpace(token)
	switch {
	case token == "":
		return "", usagef("TOKEN is missing: what `registry-node invite NAME` prints at a site of the registry")
	case len(token) > maxJoinToken:
		return "", usagef("TOKEN is longer than %d KiB", maxJoinToken>>10)
	}
	return token, nil
}

// joinNode makes the data directory of a site that joins, unless it has joined,
// and opens it. Until the site has learnt from the others that it is a member
// it waits for all that the registry knew, as to know less is to deny what there
// is; from then on it opens as serve does, whoever of the others is up.
func joinNode(ctx context.Context, cfg serveConfig, token string, opts node.Options, progress io.Writer) (*node.Node, error) {
	if err := node.Join(ctx, token, cfg.data, opts); err != nil {
		return nil, err
	}
	n, err := node.Open(ctx, cfg.data, opts)
	if err != nil {
		return nil, err
	}
	if n, err = ofSite(n, cfg); err != nil {
		return nil, err
	}
	if isMember(n) {
		return n, nil
	}
	show := newCatchUpProgress(progress)
	err = n.CatchUp(ctx, show.show)
	show.end(err == nil)
	if err != nil {
		err = fmt.Errorf("catch up with the registry: %w; the same command goes on from here", err)
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// isMember reports whether a node's site knows that it is a member.
func isMember(n *node.Node) bool {
	sites, err := n.Sites(operator(n))
	return err == nil && slices.ContainsFunc(sites, func(s node.SiteInfo) bool { return s.Self && s.State == "member" })
}
