package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"

	"registry-node/events"
	"registry-node/node"
)

// nodeCollector reads the figures of a node's status when it is scraped.
type nodeCollector struct {
	node *node.Node
}

func newNodeCollector(n *node.Node) prometheus.Collector { return nodeCollector{n} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("registry_node_"+name, help, labels, nil)
}

var (
	descInfo     = desc("info", "Always 1; the labels say which node of which site this is.", "version", "site")
	descWritable = desc("writable", "1 if the node takes writes, else 0.")
	descFree     = desc("disk_free_bytes", "Bytes left on the file system of the data directory.")
	descTotal    = desc("disk_total_bytes", "Bytes of the file system of the data directory.")
	descRepos    = desc("repositories", "Repositories that exist, by kind.", "kind")

	descSeq       = desc("log_seq", "How far a site is in a site's log: the number of the last entry.", "site", "log")
	descConnected = desc("site_connected", "1 if the site is connected, else 0.", "site")
	descLag       = desc("site_lag_entries", "Entries of all logs that the site has yet to apply.", "site")
	descSeconds   = desc("site_lag_seconds", "How far the site is behind in time.", "site")
	descBlobs     = desc("site_blobs_missing", "Blobs that the site refers to and does not hold.", "site")
	descBytes     = desc("site_bytes_missing", "Bytes of the blobs that the site does not hold.", "site")
	descConflicts = desc("site_conflicts", "Versions that sites filled with different content, as the site sees it.", "site")
)

func (nodeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descInfo, descWritable, descFree, descTotal, descRepos,
		descSeq, descConnected, descLag, descSeconds, descBlobs, descBytes, descConflicts,
	} {
		to <- d
	}
}

func (c nodeCollector) Collect(to chan<- prometheus.Metric) {
	st, err := c.node.Status()
	if err != nil {
		to <- prometheus.NewInvalidMetric(descInfo, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descInfo, 1, st.Version, st.Site.String())
	gauge(descWritable, truth(st.Writable))
	gauge(descFree, float64(st.FreeBytes))
	gauge(descTotal, float64(st.TotalBytes))
	repos := map[events.RepoKind]int{events.Local: 0, events.Remote: 0, events.Virtual: 0}
	for _, r := range st.Repos {
		repos[r.Kind]++
	}
	for k, n := range repos {
		gauge(descRepos, float64(n), k.String())
	}
	for _, s := range st.Replication.Sites {
		name := s.Name.String()
		for of, l := range s.Logs {
			gauge(descSeq, float64(l.Seq), name, of.String())
		}
		gauge(descConnected, truth(s.Connected), name)
		gauge(descLag, float64(s.LagEntries), name)
		gauge(descSeconds, s.LagSeconds, name)
		gauge(descBlobs, float64(s.BlobsMissing), name)
		gauge(descBytes, float64(s.BytesMissing), name)
		gauge(descConflicts, float64(s.Conflicts), name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
