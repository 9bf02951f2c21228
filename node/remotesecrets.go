package node

import (
	"net"
	"net/url"
	"strings"

	"registry-node/events"
	"registry-node/node/upstream"
)

// secretFor returns the name of the secret for a URL's host and port, and whether
// the settings name one.
func secretFor(refs []events.SecretRef, u *url.URL) (events.RepoName, bool) {
	host := hostPort(u)
	for _, r := range refs {
		if hostPort(&url.URL{Scheme: "https", Host: r.Host}) == host {
			return r.Name, true
		}
	}
	return events.RepoName{}, false
}

var schemePorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// hostPort returns host and port of a URL, also where its scheme implies the port.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = schemePorts[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// credential returns what upstream.Options.Credential is for a repository with
// these settings. Without the secret that they name nothing is asked.
func (s *Secrets) credential(refs []events.SecretRef) func(*url.URL) (upstream.Credential, error) {
	return func(u *url.URL) (upstream.Credential, error) {
		name, named := secretFor(refs, u)
		if !named {
			return upstream.Credential{}, nil
		}
		secret, err := s.forUpstream(name)
		return secret.credential, err
	}
}

// problem says which secret that the settings name can't be used at this site, if
// so.
func (s *Secrets) problem(refs []events.SecretRef) error {
	for _, r := range refs {
		if _, err := s.forUpstream(r.Name); err != nil {
			return err
		}
	}
	return nil
}

// forUpstream is Get for a secret that an upstream is shown.
func (s *Secrets) forUpstream(name events.RepoName) (Secret, error) {
	secret, err := s.Get(name)
	if err == nil && secret.Kind() == kindWebhook {
		err = because(errSecret, ErrUnavailable, "the secret %s signs what webhooks are sent, and is nothing to show to an upstream", name)
	}
	return secret, err
}
