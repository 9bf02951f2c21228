package events_test

import (
	"testing"

	"registry-node/events"
)

// The last invitation of a name holds until the name has joined; from then on
// the name is burnt, also once the site has left.
func TestInvitation(t *testing.T) {
	w := newWorld(t)
	x := site("x")
	invite := func(by, secret string, end int) {
		w.say(by, events.SiteInvited{Name: x, Secret: events.DigestOf([]byte(secret)), Expires: at(end)})
	}
	is := func(when, secret string, end int, now bool) {
		t.Helper()
		var want events.Invitation
		if secret != "" {
			want = events.Invitation{Secret: events.DigestOf([]byte(secret)), Expires: at(end)}
		}
		d := w.directory()
		if m, _ := d.Site(x); m.Invited != want || d.MemberNow(x) != now {
			t.Errorf("%s: invited %+v, want %+v, member now: %t, want %t", when, m.Invited, want, d.MemberNow(x), now)
		}
	}
	is("before", "", 0, false)
	invite("b", "by another", 1)
	is("by another than the registry's home", "", 0, false)
	invite("a", "first", 2)
	is("once", "first", 2, false)
	invite("a", "second", 3)
	is("twice", "second", 3, false)
	w.say("a", events.SiteJoined{Name: x, PublicKey: public(4)})
	is("joined", "", 0, true)
	invite("a", "third", 4)
	is("invited again", "", 0, true)
	w.say("a", events.SiteLeft{Name: x})
	is("left", "", 0, false)
	invite("a", "fourth", 5)
	is("invited after it left", "", 0, false)
}
