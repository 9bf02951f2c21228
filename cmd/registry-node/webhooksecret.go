package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

// setWebhookKey keeps the key of a webhook: one that it makes, and prints, or the
// one that it reads.
func setWebhookKey(cmd *cobra.Command, secrets *node.Secrets, name events.RepoName, kind string, generate bool) error {
	if kind != "webhook" {
		return usagef("--kind is webhook, or left out; --generate goes with that")
	}
	key := node.NewWebhookKey()
	if !generate {
		text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxStdin))
		if err != nil {
			return err
		}
		key = strings.TrimSpace(string(text))
	}
	text, err := json.Marshal(map[string]map[string]string{"webhook": {"key": key}})
	if err != nil {
		return err
	}
	secret, err := node.ParseSecret(text)
	if err != nil {
		return fmt.Errorf("what was read is no secret: %w", err)
	}
	if err := secrets.Set(name, secret); err != nil {
		return err
	}
	if generate {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "kept %s (%s)\n", name, secret.Kind())
	return err
}
