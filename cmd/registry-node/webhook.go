package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/httpapi"
	"registry-node/node"
)

const webhooksPath = "/api/v1/webhooks"

func webhookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Tell other systems of what happens",
		Long: `Tell other systems of what happens, by CloudEvents over HTTP, signed as Standard
Webhooks says. A webhook is told of all that happens from then on, in the order of
each site's log, at least once, however long its receiver is away. What a receiver
refuses is kept, see "webhook show".

Each site sends what is in its own log, or one sends for all (--via). The key that
signs it is a secret of each sending site. Only administrators of the registry may.`,
	}
	t := new(target)
	t.addFlags(cmd)
	cmd.AddCommand(webhookSetCommand(t), webhookListCommand(t), webhookShowCommand(t), webhookTestCommand(t),
		webhookRetryCommand(t), webhookDropCommand(t), webhookDeleteCommand(t))
	return group(cmd)
}

// webhookFlags are what is said of a webhook.
type webhookFlags struct {
	url, via, secret    string
	types, repos        []string
	modules             []events.Pattern
	allowHTTP, disabled bool
}

func (f *webhookFlags) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.url, "url", "", "`URL` of the receiver: https, or http on this machine")
	fs.StringVar(&f.secret, "secret", "", "`name` of the secret of the kind webhook that signs what is sent")
	fs.StringSliceVar(&f.types, "types", nil, "tell only of these event `types`, such as version.published or version.* (default: all)")
	fs.StringSliceVar(&f.repos, "repos", nil, "tell only of what is in these repositories (`names`, * and ? allowed)")
	fs.Var(each(&f.modules, events.ParsePattern).commas(), "modules", "tell only of modules that match these `patterns`")
	fs.StringVar(&f.via, "via", "", "`site` that sends the events of all sites (default: each sends its own)")
	fs.BoolVar(&f.allowHTTP, "allow-http", false, "allow plain http to another machine")
	fs.BoolVar(&f.disabled, "disabled", false, "send nothing for now; what happens meanwhile is told later")
}

func (f webhookFlags) webhook() (w events.Webhook, err error) {
	w = events.Webhook{URL: f.url, Insecure: f.allowHTTP, Types: f.types, Repos: f.repos, Modules: f.modules, Secret: f.secret, Disabled: f.disabled}
	if f.via != "" {
		if w.Via, err = events.ParseSite(f.via); err != nil {
			return w, err
		}
	}
	return w, w.Check()
}

func webhookSetCommand(t *target) *cobra.Command {
	var f webhookFlags
	cmd := &cobra.Command{
		Use:   "set NAME --url URL --secret NAME [--types GLOB,...] [--repos NAME,...] [--modules PATTERN,...] [--via SITE]",
		Short: "Make a webhook, or say anew what it is",
		Long: `Make a webhook, or say anew what it is: what is not said of it is as if it never was.
It goes on where it was.

  registry-node secret set ci-hook --data DIR --kind webhook --generate   # at each sending site
  registry-node webhook set ci --url https://ci.example/hook --secret ci-hook \
    --types version.published,version.blocked --modules 'corp.example/**'`,
		Args: wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := f.webhook()
			if err != nil {
				return usageError{err}
			}
			if err := tell(cmd, t, http.MethodPut, webhookPath(args[0]), w, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "webhook %s is set; try it with: registry-node webhook test %s\n", args[0], args[0])
			return err
		},
	}
	f.addFlags(cmd)
	return cmd
}

func webhookPath(name string, more ...string) string {
	return strings.Join(append([]string{webhooksPath, url.PathEscape(name)}, more...), "/")
}

func webhookListCommand(t *target) *cobra.Command {
	type webhooks struct {
		Webhooks []events.ActiveWebhook `json:"webhooks"`
	}
	return asked(t, &cobra.Command{Use: "list", Short: "List the webhooks", Args: wants()},
		func(ctx context.Context, c *client, _ []string) (all webhooks, err error) {
			err = c.call(ctx, http.MethodGet, webhooksPath, nil, &all)
			return all, err
		},
		func(w io.Writer, all webhooks) error {
			tab := newTable(w)
			tab.row("NAME", "HOST", "TYPES", "REPOSITORIES", "MODULES", "SENT BY", "STATE")
			for _, w := range all.Webhooks {
				tab.row(w.Name, hostOf(w.URL), texts(w.Types), texts(w.Repos), list(w.Modules), senderOf(w), map[bool]string{true: "disabled", false: "enabled"}[w.Disabled])
			}
			return tab.Flush()
		})
}

// hostOf returns the host of a webhook's URL: the rest may be secret.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "-"
	}
	return u.Host
}

func senderOf(w events.ActiveWebhook) string {
	if w.Via.IsZero() {
		return "each site"
	}
	return w.Via.String()
}

func webhookTestCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Send a ping from this site, and show what the receiver answers",
		Args:  wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var got node.WebhookTest
			if err := tell(cmd, t, http.MethodPost, webhookPath(args[0], "test"), nil, &got); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				if err := printJSON(out, got); err != nil {
					return err
				}
			}
			if !got.Taken {
				return fmt.Errorf("not taken: %s%s", oneLine(got.Problem), said(got.Answer))
			}
			if asJSON {
				return nil
			}
			_, err := fmt.Fprintf(out, "taken (%d) after %.0f ms%s\n", got.Status, got.Seconds*1000, said(got.Answer))
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// said shows what a receiver answered, if it is anything.
func said(answer string) string {
	if answer == "" {
		return ""
	}
	return ": " + oneLine(answer)
}

func webhookRetryCommand(t *target) *cobra.Command {
	return &cobra.Command{
		Use:   "retry NAME",
		Short: "Send at once what waits, and again what the receiver refused",
		Args:  wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var got httpapi.WebhookEvents
			if err := tell(cmd, t, http.MethodPost, webhookPath(args[0], "retry"), nil, &got); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d events that were refused are sent again\n", got.Events)
			return err
		},
	}
}

func webhookDropCommand(t *target) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop NAME",
		Short: "Give up the events that the receiver refused, at this site",
		Args:  wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := confirm(cmd, yes, fmt.Sprintf("never tell webhook %s of what it refused?", args[0])); err != nil {
				return err
			}
			var got httpapi.WebhookEvents
			if err := tell(cmd, t, http.MethodDelete, webhookPath(args[0], "deliveries"), nil, &got); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d events are given up\n", got.Events)
			return err
		},
	}
	yesFlag(cmd, &yes)
	return cmd
}

func webhookDeleteCommand(t *target) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a webhook; what it was not told yet it never will be",
		Args:  wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tell(cmd, t, http.MethodDelete, webhookPath(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "webhook %s is deleted\n", args[0])
			return err
		},
	}
}
