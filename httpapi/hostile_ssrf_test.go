package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"registry-node/node"
)

// TestHostileURLs has a registry ask where it must not: what administrators and
// delegates say, and where an upstream redirects to.
func TestHostileURLs(t *testing.T) {
	h := newHostile(t)
	t.Run("said", h.saidURLs)
	t.Run("link-local", h.linkLocal)
	t.Run("redirects", h.redirects)
	h.unharmed(t)
}

// saidURLs are refused when they are said.
func (h *hostile) saidURLs(t *testing.T) {
	var attacks []attack
	add := func(method, target, body, header, want string) {
		attacks = append(attacks, attack{request: plain(method, target, body, header), want: want})
	}
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for i, u := range []string{
		"file://host/etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "dict://127.0.0.1:11211/", "ldap://127.0.0.1/", "unix:///var/run/docker.sock", "jar:http://127.0.0.1!/", "ssh://127.0.0.1", "//127.0.0.1/",
		"http://", "http:///x", "http://u:p@127.0.0.1/", "http://127.0.0.1/\r\nX: y", "http://[::1/", "http://a b/", "data:,x", "http://127.0.0.1/?x=y", "http://127.0.0.1/#x",
	} {
		add("POST", apiRepos, fmt.Sprintf(`{"name":"ssrf-%d","kind":"remote","settings":{"sumdb":"off","upstream":%s}}`, i, quoted(u)), asAdmin, "400")
		if !strings.HasSuffix(u, "#x") { // which leads nowhere else
			add("PATCH", apiRepos+"/public", `{"proxy":`+quoted(u)+`}`, asAdmin, "400")
		}
	}
	for _, u := range []string{
		"http://169.254.169.254", "http://10.0.0.1", "http://2130706433", "http://0x7f.0.0.1", "http://0177.0.0.1", "http://localhost.evil.test", "http://127.0.0.1.evil.test", "http://127.0.0.1@evil.test", "http://evil.test#127.0.0.1",
		"http://[fe80::1]", "http://0.0.0.0", "file:///etc/passwd", "ftp://127.0.0.1", "https://u:p@ci.test", "https://ci.test/?x=y", "https://", "ci.test", "https://ci.test/\x00", "javascript:alert(1)",
	} {
		add("PUT", "/api/v1/issuers/ssrf", strings.Replace(goodCI, `"https://ci.test"`, quoted(u), 1), asAdmin, "400")
	}
	for _, u := range []string{"file:///etc/passwd", "gopher://127.0.0.1/", "http://10.0.0.1/", "http://127.0.0.1.evil.test/", "https://u:p@ci.test", "https://", "ci.test", "https://ci.test/\x00", "https://ci.test/#x"} {
		add("PUT", "/api/v1/webhooks/ssrf", strings.Replace(goodHook, `"http://127.0.0.1:1/hook"`, quoted(u), 1), asAdmin, "400")
	}
	h.set("POST", apiRepos, `{"name":"files","kind":"remote","settings":{"sumdb":"off","upstream":"file:///etc"}}`)
	for _, s := range []string{ // what administrators may say, and delegates not
		`{"proxy":"http://127.0.0.1:1"}`, `{"allow_inside":["127.0.0.0/8"]}`, `{"allow_inside":["169.254.0.0/16"]}`, `{"secrets":[{"host":"127.0.0.1:1","name":"x"}]}`,
		`{"upstream":"file:///etc"}`, `{"upstream":"http://127.0.0.1:1|FILE:///etc"}`,
	} {
		add("PATCH", apiRepos+"/team-a-proxy", s, "Authorization: MANAGER\r\n", "403")
	}
	for i := range attacks {
		attacks[i].request = strings.Replace(attacks[i].request, "Authorization: MANAGER", "Authorization: "+h.shown[manager], 1)
	}
	h.run(t, 69, attacks)
}

// linkLocal are upstreams and receivers of webhooks at which no service registry is, but the keys of a machine
// may be. They are dialed by nobody, whoever said them.
func (h *hostile) linkLocal(t *testing.T) {
	h.secret("none", `{"webhook":{"key":"`+node.NewWebhookKey()+`"}}`)
	for i, host := range []string{
		"169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[::169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "0.0.0.0", "[::]", "224.0.0.1", "255.255.255.255", "100.100.100.200", "[fd00:ec2::254]",
		"[ff02::1]", "168.63.129.16", "192.0.0.192",
	} {
		name := fmt.Sprint("link-", i)
		h.set("POST", apiRepos, `{"name":"`+name+`","kind":"remote","settings":{"sumdb":"off","timeout":"5s","upstream":"http://`+host+`:1"}}`)
		seq := h.seq()
		a := h.ask(admin, "GET", "/go/"+name+"/up.test/m/@v/list", "")
		if a.status < 500 || h.seq() != seq || !strings.Contains(a.body, "allow-inside") {
			t.Errorf("%s: %d %s", host, a.status, a.body)
		}
		checkInert(t, host, a.header)
		h.set("PUT", "/api/v1/webhooks/"+name, strings.Replace(goodHook, "http://127.0.0.1:1", "https://"+host+":1", 1))
		if a := h.ask(admin, "POST", "/api/v1/webhooks/"+name+"/test", ""); a.status != 200 || !strings.Contains(a.body, "no webhook is sent to") {
			t.Errorf("webhook to %s: %d %s", host, a.status, a.body)
		}
	}
}

// redirects lead to a server on this machine that the upstream should not reach,
// and to what is no server.
func (h *hostile) redirects(t *testing.T) {
	inside := newProxy(t)
	inside.setFault(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "v1.0.0") })
	port := inside.url[strings.LastIndex(inside.url, ":"):]
	for i, to := range []string{
		inside.url, "http://localhost" + port, "http://[::1]" + port, "http://[::ffff:127.0.0.1]" + port, "http://127.1.2.3" + port, "http://[::127.0.0.1]" + port, "http://[64:ff9b::7f00:1]" + port, "http://u:p@127.0.0.1" + port,
		"http://10.0.0.1" + port, "http://192.168.0.1" + port, "http://172.16.0.1" + port, "http://[fc00::1]" + port, "http://100.64.0.1" + port, "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]" + port, "http://0.0.0.0" + port, "http://[::]" + port,
		"file:///etc/passwd", "gopher://127.0.0.1" + port, "ftp://127.0.0.1" + port, "unix:///" + h.dir + "/admin.sock", "javascript:alert(1)", "//127.0.0.1" + port, `http:\\127.0.0.1` + port, "http://127.0.0.1" + port + "\r\nX: y",
	} {
		h.proxy.setFault(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Location"] = []string{to}
			w.WriteHeader(http.StatusFound)
		})
		seq := h.seq()
		a := h.ask(admin, "GET", fmt.Sprintf("/go/public/up.test/redirect%d/@v/list", i), "")
		if a.status < 500 || h.seq() != seq {
			t.Errorf("to %s: %d %s", to, a.status, a.body)
		}
		checkInert(t, to, a.header)
	}
	h.proxy.setFault(nil)
	if n := inside.asked.Load(); n > 0 {
		t.Errorf("what is inside was asked %d times", n)
	}
}
