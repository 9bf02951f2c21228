package replication

import "registry-node/events"

// Routes returns how many ways there are from m to site.
func Routes(m *Mesh, site events.Site) (n int) {
	for range m.member(site).routes() {
		n++
	}
	return n
}
