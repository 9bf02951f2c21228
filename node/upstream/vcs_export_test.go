package upstream

// Reroute makes dial give the address that is dialed in place of a host and port.
func (c *VCSConfig) Reroute(dial func(hostport string) string) { c.reroute = dial }

// ForgetPages makes v ask for go-import pages again.
func (v *VCS) ForgetPages() {
	v.pages.mu.Lock()
	defer v.pages.mu.Unlock()
	clear(v.pages.kept)
}

// ForgetRefs makes v ask for refs again.
func (v *VCS) ForgetRefs() {
	v.refs.mu.Lock()
	defer v.refs.mu.Unlock()
	clear(v.refs.kept)
	v.refs.size = 0
}
