package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

// offlineState is whether a node asks upstreams, as the API has it.
type offlineState struct {
	Offline bool `json:"offline"`
}

func offlineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "offline",
		Short: "Have a node ask no upstreams, or ask them again",
		Long: `Have a node ask no upstreams: it serves what it holds and what other sites hold,
and of lists and queries what it was told last. It stays so across restarts. "repo
set NAME --offline" does the same for one repository, at all sites.`,
	}
	t := new(target)
	t.addFlags(cmd)
	for _, c := range []struct {
		name, short, method string
		in                  any
	}{
		{"on", "Ask no upstreams", http.MethodPut, offlineState{true}},
		{"off", "Ask upstreams again", http.MethodPut, offlineState{false}},
		{"show", "Show whether upstreams are asked", http.MethodGet, nil},
	} {
		cmd.AddCommand(asked(t, &cobra.Command{Use: c.name, Short: c.short, Args: wants()},
			func(ctx context.Context, cl *client, _ []string) (s offlineState, err error) {
				err = cl.call(ctx, c.method, "/api/v1/offline", c.in, &s)
				return s, err
			},
			func(w io.Writer, s offlineState) error {
				text := "upstreams are asked"
				if s.Offline {
					text = "offline: no upstream is asked"
				}
				_, err := fmt.Fprintln(w, text)
				return err
			}))
	}
	return group(cmd)
}
