package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// What the commands about users, groups, rules and tokens have in common.

// named returns the path of one thing in a list of the API.
func named(list, name string) string { return list + "/" + url.PathEscape(name) }

// ask sends in to the node and prints what it answers with.
func ask[T any](cmd *cobra.Command, t *target, method, path string, in any, asJSON bool, print func(io.Writer, T) error) error {
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.close()
	var out T
	if err := c.call(cmd.Context(), method, path, in, &out); err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), out)
	}
	return print(cmd.OutOrStdout(), out)
}

// tell sends in to the node, for an answer of which the command says what it will.
func tell(cmd *cobra.Command, t *target, method, path string, in, out any) error {
	c, err := t.client()
	if err != nil {
		return err
	}
	defer c.close()
	return c.call(cmd.Context(), method, path, in, out)
}

// deletion makes cmd one that deletes what its argument names of a list of the API.
func deletion(t *target, cmd *cobra.Command, list string) *cobra.Command {
	cmd.Args = wants("NAME")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := t.client()
		if err != nil {
			return err
		}
		defer c.close()
		if err := c.call(cmd.Context(), http.MethodDelete, named(list, args[0]), nil, nil); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", args[0])
		return err
	}
	return cmd
}

// pages returns what all pages of a list of the API have, each of type P.
func pages[P, T any](ctx context.Context, c *client, path string, query url.Values, of func(P) ([]T, string)) ([]T, error) {
	list := []T{}
	for after := ""; ; {
		q := url.Values{}
		for k, v := range query {
			q[k] = v
		}
		if after != "" {
			q.Set("after", after)
		}
		var page P
		if err := c.call(ctx, http.MethodGet, path+"?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		part, next := of(page)
		if list = append(list, part...); next == "" {
			return list, nil
		}
		after = next
	}
}

// complete completes names that the node knows; what can't be asked is not
// completed.
func (t *target) complete(names func(*client) ([]string, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := t.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.close()
	list, err := names(c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
