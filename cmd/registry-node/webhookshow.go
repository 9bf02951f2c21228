package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"registry-node/events"
	"registry-node/node"
)

// shownWebhook is what is shown of a webhook.
type shownWebhook struct {
	Webhook    events.ActiveWebhook   `json:"webhook"`
	Deliveries node.WebhookDeliveries `json:"deliveries"`
}

func webhookShowCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a webhook, how far this site has told it, and what it refused",
		Args:  wants("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			var all shownWebhook
			if err := c.call(cmd.Context(), http.MethodGet, webhookPath(args[0]), nil, &all.Webhook); err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodGet, webhookPath(args[0], "deliveries"), nil, &all.Deliveries); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return all.print(cmd.OutOrStdout())
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// print shows it to a person.
func (s shownWebhook) print(out io.Writer) error {
	w, d := s.Webhook, s.Deliveries
	tab := newTable(out)
	tab.row("name", w.Name)
	tab.row("url", w.URL)
	tab.row("types", texts(w.Types))
	tab.row("repositories", texts(w.Repos))
	tab.row("modules", list(w.Modules))
	tab.row("sent by", senderOf(w))
	tab.row("secret", w.Secret)
	tab.row("changed", w.Changed.Format(time.RFC3339), "by", orDash(w.Actor))
	if d.Problem != "" {
		tab.row("problem", d.Problem)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	if len(d.Logs) > 0 {
		fmt.Fprintf(out, "\nlogs that site %s tells it of:\n", d.Site)
		tab.row("LOG", "TOLD", "END", "BEHIND", "TRIES", "NEXT TRY", "PROBLEM")
		for _, l := range d.Logs {
			tab.row(l.Log, l.Told, l.Head, lateText(l), l.Tries, nextText(l.NextTry), orDash(l.Problem)+said(l.Answer))
		}
	}
	if err := tab.Flush(); err != nil || len(d.Dead) == 0 {
		return err
	}
	fmt.Fprint(out, "\nrefused by its receiver:\n")
	tab.row("EVENT", "TYPE", "SINCE", "TRIES", "PROBLEM")
	for _, l := range d.Dead {
		tab.row(l.Event, l.Type, l.Since.Format(time.RFC3339), l.Tries, l.Problem+said(l.Answer))
	}
	return tab.Flush()
}

// lateText shows how late the event is that is being told.
func lateText(l node.WebhookLog) string {
	if l.Due.IsZero() {
		return "-"
	}
	return agoText(time.Duration(l.LagSeconds * float64(time.Second)))
}

func nextText(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return "in " + agoText(max(0, time.Until(at)))
}
