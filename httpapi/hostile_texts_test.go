package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// scripts are texts of which a browser, a template, a spreadsheet or a log viewer
// might make something.
var scripts = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</title><svg/onload=alert(1)>`, `javascript:alert(1)`, `{{7*7}}${7*7}`, `${jndi:ldap://127.0.0.1/x}`,
	`=cmd|' /C calc'!A1`, "a\nInjected: x\n\n<b>", "\u202ecod.exe\u202c",
}

// controls are characters that no text may have.
var controls = []string{"\x1b[2J", "\x1b]0;x\x07", "a\rb", "\x08\x08", "\x7f", "\u009b31m", "\u0000"}

// TestHostileTexts stores texts in all places that take one, and looks at all
// answers that repeat them.
func TestHostileTexts(t *testing.T) {
	h := newHostile(t)
	places := []struct {
		method, target, body string   // with TEXT as it stands in JSON or in a URL
		shown                []string // where else it is repeated
	}{
		{"PUT", "/api/v1/users/text", `{"display":TEXT}`, []string{"/api/v1/users", "/api/v1/users/text", "/api/v1/log"}},
		{"PATCH", "/api/v1/repos/team-a", `{"description":TEXT}`, []string{"/api/v1/repos", "/api/v1/repos/team-a", "/api/v1/status"}},
		{"POST", "/api/v1/tokens", `{"user":"team-a-bot","description":TEXT}`, []string{"/api/v1/tokens"}},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/N","reason":TEXT}`, []string{"/api/v1/blocks", "/api/v1/audit", "/api/v1/audit?format=ndjson"}},
		{"PUT", "/api/v1/issuers/text", strings.Replace(goodCI, `"registry"`, "TEXT", 1), []string{"/api/v1/issuers", "/api/v1/issuers/text", "/api/v1/oidc"}},
		{"PUT", "/api/v1/issuers/text", strings.Replace(goodCI, `"sub"`, "TEXT", 1), []string{"/api/v1/issuers/text"}},
		{"DELETE", "/api/v1/tokens/{token}?reason=QUERY", "", []string{"/api/v1/audit", "/api/v1/log"}},
		{"DELETE", teamMods + "team-a.test/lib/N/@v/v1.0.0?reason=QUERY", "", []string{"/api/v1/audit", "/api/v1/log"}},
		{"PUT", teamItems + "lib/N/@v/v1.0.0.zip?properties=text=QUERY", "", []string{teamItems + "lib/N/@v/v1.0.0.zip?properties=text", "/api/v1/log"}},
	}
	n := 0
	for _, place := range places {
		for _, text := range slices.Concat(scripts, controls) {
			n++
			name := fmt.Sprint("text", n)
			body := fill(place.body, text, name)
			if body == "" {
				h.set("PUT", teamMods+"team-a.test/lib/"+name+"/@v/v1.0.0", "{zip}")
			}
			target := fill(place.target, text, name)
			if before, after, ok := strings.Cut(target, "{token}"); ok {
				target = before + tokenID(h.token(`{"user":"team-a-bot"}`)) + after
			}
			seq := h.seq()
			a := h.ask(admin, place.method, target, body)
			checkInert(t, target, a.header)
			if slices.Contains(controls, text) {
				if a.status != 400 || h.seq() != seq {
					t.Errorf("%s %s %s: %d %s, and entry %d after %d", place.method, target, body, a.status, a.body, h.seq(), seq)
				}
				continue
			}
			if a.status >= 300 {
				t.Errorf("%s %s %s: %d %s", place.method, target, body, a.status, a.body)
			}
			for _, at := range place.shown {
				at = fill(at, text, name)
				a := h.ask(admin, "GET", at, "")
				checkInert(t, at, a.header)
				masked := strings.HasPrefix(at, "/api/v1/audit") && strings.ContainsFunc(text, unprintable)
				if a.status != 200 || saysText(a.body, text) == masked || masked && strings.ContainsFunc(strings.ReplaceAll(a.body, "\n", ""), unprintable) {
					t.Errorf("GET %s: %d %.300q, after %q", at, a.status, a.body, text)
				}
			}
		}
	}
	if n != 144 {
		t.Errorf("%d texts", n)
	}
	h.blockedTexts(t)
	h.buildTexts(t)
	h.unharmed(t)
}

// blockedTexts looks at what the go command is told of a block.
func (h *hostile) blockedTexts(t *testing.T) {
	for i, text := range scripts {
		mod := fmt.Sprint("up.test/blocked", i)
		h.set("POST", "/api/v1/blocks", fill(`{"module":"up.test/N","reason":TEXT}`, text, fmt.Sprint("blocked", i)))
		a := h.ask(admin, "GET", "/go/public/"+mod+"/@v/v1.0.0.info", "")
		checkInert(t, text, a.header)
		checkShown(t, a.body)
		if a.status != 403 || a.header.Get("Content-Type") != textType {
			t.Errorf("%s: %d %v", mod, a.status, a.header)
		}
	}
}

// buildTexts names builds, and looks at what is told of them. A name has no line ends
// either.
func (h *hostile) buildTexts(t *testing.T) {
	const builds = "/artifactory/api/build"
	for _, text := range slices.Concat(scripts, controls) {
		info := fill(`{"name":TEXT,"number":TEXT,"started":"2026-01-01T00:00:00.000+0000"}`, text, "")
		want := 204
		if strings.ContainsFunc(text, unicode.IsControl) {
			want = 400
		}
		if a := h.ask(admin, "PUT", builds, info); a.status != want {
			t.Errorf("%s: %d %s, want %d", info, a.status, a.body, want)
			continue
		}
		listed := h.ask(admin, "GET", builds, "")
		checkInert(t, text, listed.header)
		if strings.ContainsAny(listed.body, "<>'") {
			t.Errorf("%q is listed as %s", text, listed.body)
		}
		at := builds + "/" + url.PathEscape(text)
		for _, at := range []string{at, at + "/" + url.PathEscape(text)} {
			a := h.ask(admin, "GET", at, "")
			checkInert(t, at, a.header)
			if want == 204 && (a.status != 200 || !json.Valid([]byte(a.body))) || want != 204 && a.status < 400 {
				t.Errorf("GET %s: %d %s", at, a.status, a.body)
			}
		}
	}
}

func fill(s, text, name string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return strings.NewReplacer("TEXT", string(quoted), "QUERY", url.QueryEscape(text), "/N", "/"+name).Replace(s)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// saysText reports whether JSON, or lines of it, has a string with the text.
func saysText(body, text string) bool {
	d := json.NewDecoder(strings.NewReader(body))
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if s, ok := token.(string); ok && strings.Contains(s, text) {
			return true
		}
	}
}

// TestHostileNames holds that no name is anything but letters, digits and a few
// signs, wherever it comes from.
func TestHostileNames(t *testing.T) {
	h := newHostile(t)
	var attacks []attack
	for _, name := range []string{"<b>", "a b", "a'--", "a;b", "{{7}}", "é", "a%0ab", "%00", "..", "-a", ".a", "a/b", strings.Repeat("a", 300)} {
		escaped := strings.ReplaceAll(url.PathEscape(strings.NewReplacer("%0a", "\n", "%00", "\x00").Replace(name)), "..", "%2e%2e")
		for _, c := range [][2]string{
			{"/api/v1/users/", `{}`}, {"/api/v1/groups/", `{"members":[]}`}, {"/api/v1/permissions/", readRule}, {"/api/v1/issuers/", goodCI}, {"/api/v1/webhooks/", goodHook},
		} {
			attacks = append(attacks, attack{request: plain("PUT", c[0]+escaped, c[1], asAdmin), want: "400"})
		}
	}
	h.run(t, 65, attacks)
}
