package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/spf13/cobra"

	"registry-node/node"
	"registry-node/node/access"
)

// atNode does work at a node: with ask, at the one that runs on t, or, if t is
// a data directory on which none runs, with alone on a node that is opened for
// that.
func (t *target) atNode(cmd *cobra.Command, alone func(context.Context, *node.Node) error, ask func(context.Context, *client) error) error {
	ctx := cmd.Context()
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.close()
	err = ask(ctx, c)
	if t.data == "" || !nobodyThere(err) {
		return err
	}
	logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	n, err := node.Open(ctx, t.data, node.Options{Logger: logger, Version: programVersion()})
	if errors.Is(err, node.ErrLocked) {
		return fmt.Errorf("another process uses %s and does not answer on its admin socket: a node that starts or ends, or a verify or rebuild; try again", t.data)
	}
	if err != nil {
		return err
	}
	return errors.Join(alone(ctx, n), n.Close())
}

// operator is this process, which has opened the data directory of n itself.
func operator(n *node.Node) *access.Caller { return access.Operator(n.Site()) }

// nobodyThere reports whether err says that no node listens on a socket.
func nobodyThere(err error) bool {
	return errors.As(err, new(*dialError)) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED))
}
