package events

import "errors"

// LogContinued is the first event of a new epoch: an operator of the site states
// that what its log held behind Base is lost for good, and that it goes on from
// there. Any site states it of itself.
type LogContinued struct {
	always
	Site  Site   `json:"site"`
	Base  Mark   `json:"base"` // the entry before the new epoch
	Actor string `json:"actor,omitempty"`
}

// Type returns "log.continued".
func (LogContinued) Type() Type { return "log.continued" }

// Key returns the record of the site.
func (b LogContinued) Key(EventID) Key { return KeySite(b.Site) }

func (b LogContinued) check() error {
	if b.Base.IsZero() {
		return errors.New("no entry that the log goes on from")
	}
	return errors.Join(checkSite(b.Site), checkText("actor", b.Actor))
}
