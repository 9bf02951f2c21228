package node

import (
	"crypto/rand"
	"encoding/json"
	"time"

	"registry-node/events"
)

// toldEvent is an event as a webhook is told of it: a CloudEvent in its JSON format
// (CloudEvents 1.0, "HTTP Protocol Binding", structured mode) with extension
// attributes.
type toldEvent struct {
	events.CloudEvent
	Repository    string `json:"repository,omitempty"` // by its name
	Module        string `json:"module,omitempty"`
	ModuleVersion string `json:"moduleversion,omitempty"`
}

// subject is what an event is about, as far as that is a repository or a module.
type subject struct {
	id              events.RepoID
	repo            events.RepoName
	module, version string
}

// unknown reports whether it is about a repository of which the name is not known.
func (s subject) unknown() bool { return !s.id.IsZero() && s.repo.IsZero() }

// subjectOf returns what an event is about. A Directory that doesn't know the
// repository gives no name for it, but for one that the event itself makes.
func subjectOf(d *events.Directory, ev events.Event) (s subject) {
	named := func(id events.RepoID) {
		s.id = id
		if r := d.Repo(id); r != nil {
			s.repo = r.Name
		}
	}
	of := func(v events.ModuleVersion) {
		named(v.Repo)
		s.module, s.version = v.Module, v.Version
	}
	switch b := ev.Body.(type) {
	case events.RepoCreated:
		s.id, s.repo = events.RepoID{EventID: ev.ID}, b.Name
	case events.RepoChanged:
		named(b.Repo)
	case events.RepoDeleted:
		named(b.Repo)
	case events.RepoRestored:
		named(b.Repo)
	case events.HomeCeded:
		named(b.Repo)
	case events.HomeForced:
		named(b.Repo)
	case events.VersionPublished:
		of(b.ModuleVersion)
	case events.VersionHidden:
		of(b.ModuleVersion)
	case events.VersionFilled:
		of(b.ModuleVersion)
	case events.VersionSettled:
		of(b.ModuleVersion)
	case events.PropertiesChanged:
		of(b.ModuleVersion)
	case events.VersionSeen:
		named(b.Repo)
		s.module = b.Module
	case events.VersionDated:
		named(b.Repo)
		s.module = b.Module
	case events.VersionPurged:
		named(b.Repo)
		s.module, s.version = b.Module, b.Version
	case events.VersionBlocked:
		s.module, s.version = b.Module, b.Version
	case events.VersionUnblocked:
		s.module, s.version = b.Module, b.Version
	}
	return s
}

// tell returns what is sent of event i of an entry.
func (n *Node) tell(e events.Entry, i int) ([]byte, error) {
	e.Events = e.Events[i : i+1]
	s := subjectOf(n.directory(), e.Events[0])
	return json.Marshal(toldEvent{e.CloudEvents()[0], s.repo.String(), s.module, s.version})
}

// ping returns an event that is in no log, and its id.
func (n *Node) ping(webhook string) (id string, body []byte, err error) {
	id = "ping/" + n.id.Site.String() + "/" + rand.Text()
	body, err = json.Marshal(events.CloudEvent{
		SpecVersion: "1.0", ID: id, Source: "urn:registry-node:" + n.id.Registry.Hex() + ":" + n.id.Site.String(),
		Type: "ping", Time: time.Now().UTC(), ContentType: "application/json", Data: map[string]string{"webhook": webhook},
	})
	return id, body, err
}
