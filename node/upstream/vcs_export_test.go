package upstream

import "time"

// Reroute makes dial give the address that is dialed in place of a host and port.
func (c *VCSConfig) Reroute(dial func(hostport string) string) { c.reroute = dial }

// ForgetPages makes v ask for go-import pages again.
func (v *VCS) ForgetPages() {
	v.pages.mu.Lock()
	defer v.pages.mu.Unlock()
	clear(v.pages.kept)
	v.pages.size = 0
}

// ForgetRefs makes v ask for refs again.
func (v *VCS) ForgetRefs() {
	v.refs.mu.Lock()
	defer v.refs.mu.Unlock()
	clear(v.refs.kept)
	v.refs.size = 0
}

// SetClock makes v take the time for which hosts are left alone from now, before
// its first request.
func (v *VCS) SetClock(now func() time.Time) { v.reach.breakers.now = now }

// MaxHosts is of how many hosts a VCS remembers whether they are down.
const MaxHosts = vcsHosts

// Breakers returns of how many hosts v remembers something.
func (v *VCS) Breakers() int { return len(v.reach.breakers.all) }

// HeardOf makes v meet a host.
func (v *VCS) HeardOf(host string) { v.reach.breakers.of(host) }
