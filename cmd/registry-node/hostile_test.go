package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
)

// hostileText speaks to a terminal: it clears the screen, sets the title, turns the
// direction of what follows, and begins a line of its own.
const hostileText = "a\x1b[2J\x1b]0;x\x07\u009b31m\r\u202eb\x7f\nregistry-node: all is well"

// hostileLists have it wherever a node may repeat what people wrote.
var hostileLists = map[string]string{
	"/api/v1/repos":       `{"repositories":[{"name":"x","kind":"local","id":"here/1/1/0","home":"here","description":TEXT,"problem":TEXT}]}`,
	"/api/v1/repos/x":     `{"name":"x","kind":"remote","id":"here/1/1/0","home":"here","description":TEXT,"upstream":TEXT,"sumdb":TEXT,"proxy":TEXT,"problem":TEXT}`,
	"/api/v1/users":       `{"users":[{"name":TEXT,"display":TEXT,"groups":[TEXT]}]}`,
	"/api/v1/users/x":     `{"name":TEXT,"display":TEXT,"groups":[TEXT]}`,
	"/api/v1/groups":      `{"groups":[{"name":TEXT,"members":[TEXT]}]}`,
	"/api/v1/permissions": `{"permissions":[{"name":TEXT,"principals":[TEXT],"repos":[TEXT],"actions":[TEXT]}]}`,
	"/api/v1/tokens":      `{"tokens":[{"id":TEXT,"user":TEXT,"description":TEXT,"created_by":TEXT,"repos":[TEXT],"actions":[TEXT]}]}`,
	"/api/v1/blocks":      `{"blocks":[{"module":"m.test/a","reason":TEXT,"actor":TEXT}]}`,
	"/api/v1/whoami":      `{"name":TEXT,"principals":[TEXT],"token":TEXT,"repos":[TEXT],"actions":[TEXT],"site":"here"}`,
	"/api/v1/audit":       `{"entries":[{"action":TEXT,"actor":TEXT,"name":TEXT,"reason":TEXT,"client":TEXT,"outcome":TEXT,"code":TEXT}]}`,
	"/api/v1/sites":       `{"sites":[{"name":"here","state":TEXT,"addresses":[TEXT]}]}`,
	"/api/v1/issuers":     `{"issuers":[{"name":TEXT,"url":TEXT,"purpose":TEXT,"audience":TEXT,"user":TEXT}]}`,
	"/api/v1/webhooks":    `{"webhooks":[{"name":TEXT,"url":TEXT,"types":["version.*"],"repos":[TEXT],"secret":TEXT}]}`,
	"/api/v1/webhooks/x":  `{"name":TEXT,"url":TEXT,"repos":[TEXT],"secret":TEXT,"actor":TEXT}`,
	"/api/v1/status":      `{"version":TEXT,"site":"here","reasons":[TEXT],"remarks":[TEXT],"repositories":[],"replication":{"site":"here","agreement":TEXT,"sites":[{"name":"here","self":true,"version":TEXT,"agrees":TEXT,"reasons":[TEXT]}]}}`,

	"/api/v1/webhooks/x/deliveries": `{"name":TEXT,"site":"here","problem":TEXT,"logs":[{"log":"here","told":"1/1","head":"1/2","problem":TEXT,"answer":TEXT}],"dead_letters":[{"event":"here/1/1/0","type":TEXT,"problem":TEXT,"answer":TEXT}]}`,
}

// TestHostileServer has commands show what a node says that is not to be trusted,
// as lists and as refusals, and holds that nothing of it speaks to the terminal.
func TestHostileServer(t *testing.T) {
	t.Setenv("REGISTRY_NODE_TOKEN", "")
	quoted, err := json.Marshal(hostileText)
	if err != nil {
		t.Fatal(err)
	}
	kind := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch list, ok := hostileLists[r.URL.Path]; {
		case kind == "lists" && ok:
			io.WriteString(w, strings.ReplaceAll(list, "TEXT", string(quoted)))
		case kind == "texts":
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, hostileText)
		default:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":{"code":%s,"message":%s}}`, quoted, quoted)
		}
	}))
	defer srv.Close()
	for _, kind = range []string{"lists", "refusals", "texts"} {
		shown := 0
		for _, command := range []string{
			"repo list", "repo show x", "user list", "group list", "permission list", "token list", "block list", "whoami", "audit", "site list", "oidc list", "webhook list", "webhook show x", "status",
		} {
			r := try(t, append(strings.Fields(command), "--server", srv.URL)...)
			if kind != "lists" && r.code != exitNo {
				t.Errorf("%s: %s: exit code %d", kind, command, r.code)
			}
			if kind == "lists" && r.stdout != "" {
				shown++
			}
			for _, line := range strings.Split(r.stdout+r.stderr, "\n") {
				if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.HasPrefix(line, "registry-node: all is well") {
					t.Errorf("%s: %s: prints %q", kind, command, line)
				}
			}
		}
		if kind == "lists" && shown < 11 {
			t.Errorf("%d commands print a list", shown)
		}
	}
}
