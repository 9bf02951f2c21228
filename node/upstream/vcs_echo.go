package upstream

import (
	"net/http"
	"slices"
	"strings"
)

// A VCS host knows the credential that it was sent, and may repeat it: in a
// redirect, a name of a ref, a page. What it says is shown to whoever asked.

// usedFor returns what was sent with the request that resp answers.
func usedFor(resp *http.Response) *use {
	u, _ := resp.Request.Context().Value(useKey{}).(*use)
	return u
}

// hidden returns err without what repeats a secret of u, whole, quoted or cut
// off. If err is an *Error, it is changed.
func (u *use) hidden(err error) error {
	e := asError(err)
	if e == nil || u == nil {
		return err
	}
	if e.Err != nil && (u.credential.isShownIn(e.Err.Error()) || u.proxy.isShownIn(e.Err.Error())) {
		e.Err = errEchoes
	}
	return u.withheld(e)
}

// isShownIn reports whether text, as shown and clip make it, gives the
// credential or the beginning of it away.
func (c Credential) isShownIn(text string) bool {
	s := c.secret()
	if s == nil {
		return false
	}
	text = strings.ReplaceAll(text, `\`, "") // of a quoted text
	parts := strings.Split(text, "…")
	return slices.ContainsFunc(s.echoes, func(echo string) bool {
		echo = strings.ReplaceAll(echo, `\`, "")
		return strings.Contains(text, echo) ||
			slices.ContainsFunc(parts[:len(parts)-1], func(part string) bool { return endsWithin(part, echo) })
	})
}

// endsWithin reports whether text ends with a beginning of echo that is more
// than chance.
func endsWithin(text, echo string) bool {
	const chance = 3
	for n := min(len(text), len(echo)); n > chance; n-- {
		if strings.HasSuffix(text, echo[:n]) {
			return true
		}
	}
	return false
}

// repeats reports whether one of texts, which will be used and named in errors
// of others, has the credential of u in it. A short one counts not, as it can be
// a word like any other.
func (u *use) repeats(texts ...string) bool {
	const short = 8
	if u == nil {
		return false
	}
	s := u.credential.secret()
	return s != nil && slices.ContainsFunc(s.echoes, func(echo string) bool {
		return len(echo) >= short && slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, echo) })
	})
}
