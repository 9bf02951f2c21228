package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"registry-node/events"
)

// userOf returns who an ID token is, if its claims are those of the issuer.
func userOf(is events.Issuer, claims map[string]json.RawMessage) (string, error) {
	for _, c := range is.Claims {
		values := valuesOf(claims[c.Name])
		if !slices.ContainsFunc(values, c.Pattern.Match) {
			return "", fmt.Errorf("%w: claim %q is %s, and must match %q", ErrClaims, c.Name, shown(values), c.Pattern)
		}
	}
	if is.User != "" {
		return is.User, nil
	}
	values := valuesOf(claims[is.UserClaim])
	if len(values) != 1 {
		return "", fmt.Errorf("%w: claim %q is %s, and must be who it is", ErrClaims, is.UserClaim, shown(values))
	}
	name := values[0]
	switch is.UserClaim {
	case "email":
		if verified := valuesOf(claims["email_verified"]); len(verified) != 1 || verified[0] != "true" {
			return "", fmt.Errorf("%w: claim %q is %s, and must be true, so that claim %q counts", ErrClaims, "email_verified", shown(verified), "email")
		}
		name = strings.ToLower(name)
	case "upn":
		name = strings.ToLower(name)
	}
	if err := events.CheckUserName(name); err != nil {
		return "", fmt.Errorf("%w: claim %q is %s, which can't be a user here: %v", ErrClaims, is.UserClaim, shown(values), err)
	}
	return name, nil
}

// valuesOf returns the values of a claim as texts: one, or those of a list. What
// is neither a string, a number nor a boolean has none.
func valuesOf(raw json.RawMessage) []string {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var values []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			values = append(values, v)
		case json.Number, bool:
			values = append(values, fmt.Sprint(v))
		}
	}
	return values
}

// shown shows the values of a claim to who presented the token.
func shown(values []string) string {
	const most = 8
	if len(values) == 0 {
		return "not there"
	}
	quoted := make([]string, min(len(values), most))
	for i := range quoted {
		v := values[i]
		if len(v) > 200 {
			v = strings.ToValidUTF8(v[:200], "") + "…"
		}
		quoted[i] = fmt.Sprintf("%q", v)
	}
	if len(values) > most {
		quoted = append(quoted, "…")
	}
	return strings.Join(quoted, ", ")
}
