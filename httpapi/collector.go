package httpapi

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// nodeCollector reads the figures of a node's status when it is scraped.
type nodeCollector struct {
	node *node.Node
	// who reads them: this process itself. Those who may see the figures are few of
	// what it says.
	who *access.Caller
}

func newNodeCollector(n *node.Node) prometheus.Collector {
	return nodeCollector{n, access.Operator(n.Site())}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("registry_node_"+name, help, labels, nil)
}

var (
	descInfo     = desc("info", "Always 1; the labels say which node of which site this is.", "version", "site")
	descWritable = desc("writable", "1 if the node takes writes, else 0.")
	descFree     = desc("disk_free_bytes", "Bytes left on the file system of the data directory.")
	descTotal    = desc("disk_total_bytes", "Bytes of the file system of the data directory.")
	descRepos    = desc("repositories", "Repositories that exist, by kind.", "kind")

	descOffline = desc("offline", "1 if the node is switched offline and asks no upstream, else 0.")
	descFailing = desc("upstream_failing", "1 if the upstream of a remote repository failed when it was asked last, else 0.", "repository")
	descSince   = desc("upstream_failing_since_timestamp_seconds", "Since when it has failed without an answer in between, since 1970.", "repository")

	descAgreement = desc("agreement", "1 for how the sites agree, as this site sees it, and 0 for the others.", "agreement")
	descEqualAt   = desc("last_equal_timestamp_seconds", "When all connected sites were last seen to be equal, since 1970.")

	descEpoch     = desc("log_epoch", "How far a site is in a site's log: the epoch of the last entry.", "site", "log")
	descSeq       = desc("log_seq", "How far a site is in a site's log: the number of the last entry.", "site", "log")
	descConnected = desc("site_connected", "1 if the site is connected, else 0.", "site")
	descLag       = desc("site_lag_entries", "Entries of all logs that the site has yet to apply.", "site")
	descSeconds   = desc("site_lag_seconds", "How far the site is behind in time.", "site")
	descBlobs     = desc("site_blobs_missing", "Blobs that the site refers to and does not hold.", "site")
	descBytes     = desc("site_bytes_missing", "Bytes of the blobs that the site does not hold.", "site")
	descConflicts = desc("site_conflicts", "Conflicts that need a person to decide, as the site sees it: versions with different content, forked logs, what was stated without a right.", "site")
	descReasons   = desc("site_reasons", "Things about the site that a person should know.", "site")
	descAgrees    = desc("site_agrees", "1 for how the site agrees with this one, and 0 for the others.", "site", "agreement")
	descSiteWrite = desc("site_writable", "1 if the site takes writes, else 0.", "site")
	descSiteTotal = desc("site_disk_total_bytes", "Bytes of the file system of the data directory of the site.", "site")
	descSiteFree  = desc("site_disk_free_bytes", "Bytes left for the data directory of the site.", "site")
	descHeard     = desc("site_last_heard_timestamp_seconds", "When this site last heard of the site, since 1970.", "site")
	descBlobsSeq  = desc("log_blobs_seq", "The entry of a site's log up to which a site holds all blobs that it wants.", "site", "log")
)

func (nodeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descInfo, descWritable, descFree, descTotal, descRepos, descOffline, descAgreement, descEqualAt,
		descEpoch, descSeq, descBlobsSeq, descConnected, descLag, descSeconds, descBlobs, descBytes,
		descConflicts, descReasons, descAgrees, descSiteWrite, descSiteTotal, descSiteFree, descHeard,
	} {
		to <- d
	}
}

// upstreamCollector reads the figures of upstreams, of those repositories that a
// caller manages: their names say that they are there.
type upstreamCollector nodeCollector

func (upstreamCollector) Describe(to chan<- *prometheus.Desc) {
	to <- descFailing
	to <- descSince
}

func (c upstreamCollector) Collect(metrics chan<- prometheus.Metric) {
	remotes, err := c.node.Remotes(c.who)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(descFailing, err)
		return
	}
	to := gauges(metrics)
	for _, r := range remotes {
		to.send(descFailing, truth(!r.FailingSince.IsZero()), r.Name.String())
		to.at(descSince, r.FailingSince, r.Name.String())
	}
}

// agreements are the values of an agreement.
var agreements = [...]string{node.Equal, node.CatchingUp, node.Different, node.Unknown}

// gauges sends figures to Prometheus.
type gauges chan<- prometheus.Metric

func (to gauges) send(d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// oneOf sends a 1 for the value that holds and a 0 for each other one.
func (to gauges) oneOf(d *prometheus.Desc, holds string, labels ...string) {
	for _, v := range agreements {
		to.send(d, truth(v == holds), append(slices.Clip(labels), v)...)
	}
}

// at sends a time, unless it is the zero one.
func (to gauges) at(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		to.send(d, float64(t.UnixMilli())/1000, labels...)
	}
}

func (c nodeCollector) Collect(metrics chan<- prometheus.Metric) {
	st, err := c.node.Status(c.who)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(descInfo, err)
		return
	}
	to := gauges(metrics)
	to.send(descInfo, 1, st.Version, st.Site.String())
	to.send(descWritable, truth(st.Writable))
	to.send(descFree, float64(st.FreeBytes))
	to.send(descTotal, float64(st.TotalBytes))
	repos := map[events.RepoKind]int{events.Local: 0, events.Remote: 0, events.Virtual: 0}
	for _, r := range st.Repos {
		repos[r.Kind]++
	}
	for k, n := range repos {
		to.send(descRepos, float64(n), k.String())
	}
	if off, err := c.node.Offline(c.who); err == nil {
		to.send(descOffline, truth(off))
	}
	to.oneOf(descAgreement, st.Replication.Agreement)
	to.at(descEqualAt, st.Replication.LastEqualAt)
	for _, s := range st.Replication.Sites {
		to.site(s)
	}
}

// site sends the figures of one site.
func (to gauges) site(s node.SiteStatus) {
	name := s.Name.String()
	for of, l := range s.Logs {
		to.send(descEpoch, float64(l.Epoch), name, of.String())
		to.send(descSeq, float64(l.Seq), name, of.String())
		to.send(descBlobsSeq, float64(l.Blobs.Seq), name, of.String())
	}
	to.send(descConnected, truth(s.Connected), name)
	to.send(descLag, float64(s.LagEntries), name)
	to.send(descSeconds, s.LagSeconds, name)
	to.send(descBlobs, float64(s.BlobsMissing), name)
	to.send(descBytes, float64(s.BytesMissing), name)
	to.send(descConflicts, float64(s.Conflicts), name)
	to.send(descReasons, float64(len(s.Reasons)), name)
	to.send(descSiteWrite, truth(s.Writable), name)
	to.send(descSiteTotal, float64(s.TotalBytes), name)
	to.send(descSiteFree, float64(s.FreeBytes), name)
	to.oneOf(descAgrees, s.Agrees, name)
	to.at(descHeard, s.LastHeard, name)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
