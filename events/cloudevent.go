package events

import (
	"strings"
	"time"
)

// CloudEvent is an event as a CloudEvents 1.0 object in its JSON format: what
// people and other systems are shown.
type CloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`     // site/epoch/seq/i
	Source      string    `json:"source"` // a URI: the registry and the site
	Type        string    `json:"type"`
	Time        time.Time `json:"time"`
	Subject     string    `json:"subject,omitempty"` // the record it contributes to
	ContentType string    `json:"datacontenttype"`
	Data        any       `json:"data"`
}

// CloudEvents returns the events of e for the world outside.
func (e Entry) CloudEvents() []CloudEvent {
	out := make([]CloudEvent, len(e.Events))
	source := "urn:registry-node:" + e.Registry.Hex() + ":" + e.Position.Site.String()
	for i, ev := range e.Events {
		subject := ""
		if ev.Body != nil {
			_, subject, _ = strings.Cut(ev.Body.Key(ev.ID).String(), " ")
		}
		out[i] = CloudEvent{
			SpecVersion: "1.0", ID: ev.ID.String(), Source: source, Type: string(ev.Type), Time: ev.Time,
			Subject: subject, ContentType: "application/json", Data: ev.Data,
		}
	}
	return out
}
