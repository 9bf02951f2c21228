package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"
)

var (
	descHookLag     = desc("webhook_lag_entries", "Entries of a site's log that a webhook is yet to be told of by this site, or passed over.", "webhook", "log")
	descHookSeconds = desc("webhook_lag_seconds", "How old the event is that a webhook is being told of, 0 if there is none.", "webhook", "log")
	descHookTold    = desc("webhook_delivered_total", "Events that the receiver of a webhook took.", "webhook", "log")
	descHookFailed  = desc("webhook_failures_total", "Requests to the receiver of a webhook that it did not answer with success.", "webhook", "log")
	descHookDead    = desc("webhook_dead_letters", "Events that the receiver of a webhook refused, and that are kept.", "webhook", "log")
)

// webhookCollector reads how webhooks stand, for administrators: nobody else may
// know that they are there.
type webhookCollector nodeCollector

func (webhookCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHookLag, descHookSeconds, descHookTold, descHookFailed, descHookDead} {
		to <- d
	}
}

func (c webhookCollector) Collect(metrics chan<- prometheus.Metric) {
	all, err := c.node.WebhookFigures(c.who)
	if err != nil { // it is nobody who may see them
		return
	}
	to := gauges(metrics)
	for name, logs := range all {
		for _, l := range logs {
			log := l.Log.String()
			to.send(descHookLag, float64(l.LagEntries), name, log)
			to.send(descHookSeconds, l.LagSeconds, name, log)
			to.send(descHookDead, float64(l.DeadLetters), name, log)
			metrics <- prometheus.MustNewConstMetric(descHookTold, prometheus.CounterValue, float64(l.Delivered), name, log)
			metrics <- prometheus.MustNewConstMetric(descHookFailed, prometheus.CounterValue, float64(l.Failures), name, log)
		}
	}
}
