package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"registry-node/events"
)

func logCommand() *cobra.Command {
	var (
		t    target
		site string
		from uint64
	)
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print the events of a site's log",
		Long: `Print the events of a site's log as CloudEvents 1.0, one JSON object per line,
from an entry on to the end. An id is SITE/EPOCH/ENTRY/EVENT.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"from": {strconv.FormatUint(from, 10)}}
			if site != "" {
				s, err := events.ParseSite(site)
				if err != nil {
					return usageError{err}
				}
				query.Set("site", s.String())
			}
			if from == 0 {
				return usagef("--from 0: entries are counted from 1")
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			req, err := c.request(cmd.Context(), http.MethodGet, "/api/v1/log", query, nil)
			if err != nil {
				return err
			}
			resp, err := c.send(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if _, err := io.Copy(cmd.OutOrStdout(), resp.Body); err != nil {
				return fmt.Errorf("%s: the log broke off: %w", c.where, err)
			}
			return nil
		},
	}
	t.addFlags(cmd)
	cmd.Flags().StringVar(&site, "site", "", "`name` of the site (default: the node's own)")
	cmd.Flags().Uint64Var(&from, "from", 1, "`number` of the first entry")
	return cmd
}
