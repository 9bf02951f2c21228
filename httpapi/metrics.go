package httpapi

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// endpoint is a kind of request, as metrics tell them apart.
type endpoint int

const (
	kindOther endpoint = iota
	kindInfo
	kindMod
	kindZip
	kindList
	kindLatest
	kindSumdb
	kindMalformed // below /go/, but not GOPROXY
	kindPublish
	kindStream
	endpoints
)

func (e endpoint) String() string {
	return [...]string{"other", "info", "mod", "zip", "list", "latest", "sumdb", "malformed", "publish", "stream"}[e]
}

// repoKind is a kind of repository, or none.
type repoKind int

const (
	repoNone repoKind = iota
	repoLocal
	repoRemote
	repoVirtual
	repoKinds
)

func (k repoKind) String() string {
	return [...]string{"none", "local", "remote", "virtual"}[k]
}

func repoKindOf(k events.RepoKind) repoKind {
	switch k {
	case events.Local:
		return repoLocal
	case events.Remote:
		return repoRemote
	case events.Virtual:
		return repoVirtual
	}
	return repoNone
}

// classes are the first digits of statuses; 0 stands for a request that was cut.
const classes = 6

// metrics are what Prometheus is told. The counters of all kinds of request are
// made in advance, so that counting one takes no lookup and no lock.
type metrics struct {
	registry *prometheus.Registry
	requests [endpoints][repoKinds][classes]prometheus.Counter
	seconds  [endpoints]prometheus.Observer
	// auditReads counts who asked the audit log.
	auditReads prometheus.Counter
}

func newMetrics(n *node.Node, log *AccessLog, audit *AuditLog) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "registry_node_http_requests_total",
		Help: "Requests by kind, kind of repository and class of status.",
	}, []string{"kind", "repository", "status"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "registry_node_http_request_seconds",
		Help:    "Time from the header of a request to the end of its handler, by kind.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, .5, 1, 5, 30, 120},
	}, []string{"kind"})
	class := [classes]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
	for e := range endpoints {
		m.seconds[e] = seconds.WithLabelValues(e.String())
		for k := range repoKinds {
			for c := range classes {
				m.requests[e][k][c] = requests.WithLabelValues(e.String(), k.String(), class[c])
			}
		}
	}
	dropped := counterOf("registry_node_access_log_dropped_total", "Lines of the access log that were dropped, as the disk could not take them in time.", log.lost)
	m.auditReads = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "registry_node_audit_log_reads_total",
		Help: "Questions to the audit log that were answered.",
	})
	m.registry.MustRegister(requests, seconds, dropped, m.auditReads, newNodeCollector(n),
		counterOf("registry_node_audit_log_lines_total", "Lines of the audit log that were written.", audit.written),
		counterOf("registry_node_audit_log_dropped_total", "Lines of the audit log that were dropped, of what was refused or failed, as the disk could not take them in time.", audit.lost),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counterOf(name, help string, count func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, count)
}

// observe counts a request whose handler has ended. One that wrote nothing has
// the status that net/http sends then.
func (m *metrics) observe(w *writer) {
	class := 2
	if w.status != 0 {
		class = w.status / 100 % classes
	}
	m.requests[w.kind][w.repo][class].Inc()
	m.seconds[w.kind].Observe(time.Since(w.start).Seconds())
}

// handler answers with the metrics that a caller may see.
func (m *metrics) handler(n *node.Node, who *access.Caller) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(upstreamCollector{n, who}, webhookCollector{n, who})
	return promhttp.HandlerFor(prometheus.Gatherers{m.registry, own}, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}
