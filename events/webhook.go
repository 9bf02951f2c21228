package events

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Webhook says where the registry tells of which events.
type Webhook struct {
	// URL takes the events: https, or http on a loopback address or if Insecure.
	URL      string `json:"url"`
	Insecure bool   `json:"insecure,omitempty"` // plain http is wanted
	// Types, Repos and Modules say which events it takes, see Takes. Types and Repos
	// may have wildcards: version.*, team-a-*.
	Types   []string  `json:"types,omitempty"`
	Repos   []string  `json:"repos,omitempty"`
	Modules []Pattern `json:"modules,omitempty"`
	// Via is the site that sends the events of all sites. None: each sends its own.
	Via Site `json:"via,omitzero"`
	// Secret names the secret of each sending site that signs what it sends.
	Secret   string `json:"secret"`
	Disabled bool   `json:"disabled,omitempty"` // sends nothing for now
}

// WebhookChanged makes a webhook, or replaces it. Decided by the registry's home,
// like WebhookDeleted.
type WebhookChanged struct {
	always
	Name string `json:"name"`
	Webhook
	Actor string `json:"actor,omitempty"`
}

// WebhookDeleted ends a webhook.
type WebhookDeleted struct {
	always
	Name  string `json:"name"`
	Actor string `json:"actor,omitempty"`
}

// Type returns "webhook.changed".
func (WebhookChanged) Type() Type { return "webhook.changed" }

// Type returns "webhook.deleted".
func (WebhookDeleted) Type() Type { return "webhook.deleted" }

// Key returns the record of the webhook.
func (b WebhookChanged) Key(EventID) Key { return KeyWebhook(b.Name) }

// Key returns the record of the webhook.
func (b WebhookDeleted) Key(EventID) Key { return KeyWebhook(b.Name) }

func (b WebhookChanged) check() error { return checkIdentity(b.Name, b.Actor, b.Webhook.Check()) }
func (b WebhookDeleted) check() error { return checkIdentity(b.Name, b.Actor) }

// Check reports why there can't be such a webhook.
func (w Webhook) Check() error {
	if len(w.Types) > maxList || len(w.Repos) > maxList || len(w.Modules) > maxList {
		return fmt.Errorf("a webhook has at most %d types, repositories and patterns", maxList)
	}
	if w.Secret == "" {
		return errors.New("a webhook needs the name of the secret that signs what it sends")
	}
	return errors.Join(w.checkURL(), checkName(w.Secret),
		checkAll("event type", w.Types, checkTypeGlob), checkAll("repository", w.Repos, checkRepoGlob))
}

const maxWebhookURL = 1024

// checkURL doesn't show the URL: it may hold what should not be in the log.
func (w Webhook) checkURL() error {
	u, err := url.Parse(w.URL)
	switch {
	case err != nil || u.Host == "" || len(w.URL) > maxWebhookURL:
		return fmt.Errorf("a webhook needs a URL of at most %d characters, like https://ci.example/hook", maxWebhookURL)
	case u.User != nil || strings.Contains(w.URL, "#"):
		return errors.New("the URL of a webhook has no user and no fragment; what it sends is signed with its secret")
	case u.Scheme == "https" || u.Scheme == "http" && (w.Insecure || loopbackHost(u.Hostname())):
		return checkText("webhook URL", w.URL)
	}
	return errors.New("the URL of a webhook is https (http on a loopback address, or if it is said to be insecure)")
}

func checkTypeGlob(s string) error {
	if err := checkType(Type(strings.ReplaceAll(s, "*", "x"))); err != nil {
		return fmt.Errorf("event type %q: write one like version.published or version.*", s)
	}
	return nil
}

// told are the families of events that webhooks are told of: what is about
// repositories, versions, builds, sites and homes. Others are for administrators,
// hashes of secrets among them.
var told = []string{"repo", "version", "properties", "build", "site", "home"}

// Told reports whether webhooks may be told of events of a type. An invitation holds
// the hash of a secret.
func Told(t Type) bool {
	family, _, _ := strings.Cut(string(t), ".")
	return LevelOf(t) <= Level && slices.Contains(told, family) && t != SiteInvited{}.Type()
}

// ActiveWebhook is a Webhook that exists.
type ActiveWebhook struct {
	Name string `json:"name"`
	Webhook
	// ID is the event that made it: another one of the name is another webhook.
	ID      EventID   `json:"id"`
	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
	Actor   string    `json:"actor,omitempty"` // who wrote it last
}

// Takes reports whether the webhook takes an event: of a type, about a module in a
// repository. An event that is about no repository, or no module, has none; what
// the webhook says of those then doesn't keep it away if it says nothing, and does
// if it does.
func (w Webhook) Takes(t Type, repo RepoName, module string) bool {
	takes := func(globs []string, s string) bool {
		return len(globs) == 0 || s != "" && slices.ContainsFunc(globs, func(g string) bool { return matchGlob(g, s) })
	}
	return Told(t) && takes(w.Types, string(t)) && takes(w.Repos, repo.String()) &&
		(len(w.Modules) == 0 || module != "" && MatchAny(w.Modules, module))
}

// Webhook returns the webhook of a name; ok is false if there is none.
func (d *Directory) Webhook(name string) (w ActiveWebhook, ok bool) {
	w, ok = d.webhooks[name]
	return w, ok
}

// Webhooks returns the webhooks by name. What is in the list is not the caller's.
func (d *Directory) Webhooks() []ActiveWebhook {
	var list []ActiveWebhook
	for _, w := range d.webhooks {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b ActiveWebhook) int { return strings.Compare(a.Name, b.Name) })
	return list
}
