package node

import (
	"fmt"

	"registry-node/events"
	"registry-node/node/upstream"
)

// clientOptions returns what the settings of a remote repository say about
// requests to its upstream.
func (n *Node) clientOptions(s events.RepoSettings) (upstream.Options, error) {
	proxy, err := upstream.ParseProxy(s.Proxy)
	if err != nil {
		return upstream.Options{}, fmt.Errorf("setting proxy: %w", err)
	}
	timeout := s.Timeout.Or(events.DefaultTimeout)
	return upstream.Options{
		Via:           n.Via(),
		UserAgent:     "registry-node/" + n.opts.Version,
		HeaderTimeout: timeout,
		StallTimeout:  timeout,
		OfflineFor:    s.OfflineFor.Or(events.DefaultOfflineFor),
		Proxy:         proxy,
		Inside:        upstream.Inside(s.AllowInside),
		Credential:    n.secrets.credential(s.Secrets),
	}, nil
}
