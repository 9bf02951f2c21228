package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
)

// The figures of webhooks are for administrators, as are their names.
func TestWebhookMetrics(t *testing.T) {
	w := newRoles(t)
	w.set("PUT", "/api/v1/webhooks/hook-x", goodHook)
	const line = `registry_node_webhook_lag_seconds{log="here",webhook="hook-x"} 0`
	waitFor(t, func() error {
		text := w.ask(admin, "GET", "/metrics", "").body
		for _, want := range []string{line, `registry_node_webhook_delivered_total{log="here",webhook="hook-x"} 0`, "webhook_dead_letters", "webhook_failures_total", "webhook_lag_entries"} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("no %s in\n%s", want, text)
			}
		}
		return nil
	})
	for _, role := range []string{reader, manager} {
		if a := w.ask(role, "GET", "/metrics", ""); strings.Contains(a.body, "hook-x") {
			t.Errorf("%s: %s", role, a.body)
		}
	}
}
