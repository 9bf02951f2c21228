package httpapi_test

import "strings"

// methods are verbs that routes don't take, and headers that ask for another verb.
func methods() (all []attack) {
	for _, target := range []string{"/go/public/up.test/m/@v/list", "/api/v1/status", "/livez", "/metrics", "/api/v1/log", "/artifactory/api/system/ping", "/artifactory/api/repositories/team-a"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "TRACE", "CONNECT", "BREW", "get", "GET-X"} {
			want := "405"
			switch {
			case method == "OPTIONS":
				want = "204" // with Allow, and nothing for other origins
			case strings.HasPrefix(target, "/artifactory/") && strings.Contains(" POST PUT DELETE ", " "+method+" "):
				want = "404" // as of all that an Artifactory has and this is not
			}
			all = append(all, attack{request: plain(method, target, "", asAdmin), want: want})
		}
	}
	for _, header := range []string{"X-Http-Method-Override: DELETE\r\n", "X-Method-Override: DELETE\r\n", "X-Http-Method: PUT\r\n"} {
		all = append(all, attack{request: plain("GET", "/api/v1/blocks", "", asAdmin, header), want: "200"},
			attack{request: plain("POST", "/api/v1/blocks?_method=DELETE", "{}", asAdmin, header), want: "400"})
	}
	return all
}

// smugglings are requests whose end others may see elsewhere. A second answer on
// the connection would be one to what they hide.
func smugglings() (all []attack) {
	const hidden = "DELETE /api/v1/blocks?module=evil.test/a HTTP/1.1\r\nHost: localhost\r\n" + asAdmin + "\r\n"
	post := func(want, lengths, body string) {
		all = append(all, attack{request: "POST /api/v1/blocks HTTP/1.1\r\nHost: localhost\r\n" + asAdmin + lengths + "\r\n" + body + hidden, want: want})
	}
	post("400", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
	post("400", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")
	post("400", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
	post("400", "Content-Length: 5\r\nContent-Length: 6\r\n", "{}   ")
	post("400", "Content-Length: 5, 6\r\n", "{}   ")
	post("400", "Content-Length: 0x5\r\n", "{}   ")
	post("400", "Content-Length: -5\r\n", "")
	post("400", "Content-Length: 5 \t6\r\n", "{}   ")
	post("400", "Content-Length: 1e1\r\n", "{}        ")
	post("400", "Content-Length: 99999999999999999999\r\n", "{}")
	post("400|501", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")
	post("400|501", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")
	post("400|501", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
	post("400|501", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")
	post("400|501", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")
	post("400", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n")
	post("400", "X: a\r\n\x00Transfer-Encoding: chunked\r\n", "0\r\n\r\n")
	post("400", "Transfer-Encoding: chunked\r\n", "2\r\n{}\n0\r\n\r\n")
	post("400", "Transfer-Encoding: chunked\r\n", "-1\r\n{}\r\n0\r\n\r\n")
	post("400", "Transfer-Encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n")
	post("400", "Transfer-Encoding: chunked\r\n", "ffffffffffffffff1\r\n{}\r\n0\r\n\r\n")
	post("400", "Transfer-Encoding: chunked\r\n", "2;a=\"\n\"\r\n{}\r\n0\r\n\r\n")
	post("400", "Transfer-Encoding: chunked\r\n", "2;"+strings.Repeat("a", 64<<10)+"\r\n{}\r\n0\r\n\r\n")
	post("400|413", "Transfer-Encoding: chunked\r\n", strings.Repeat("1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n \r\n", 4<<10)+"0\r\n\r\n")
	return append(all, attack{request: "POST /api/v1/blocks HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: localhost\r\n\r\n0\r\n\r\n" + hidden, want: "400"})
}

// sizes are too large in one part.
func sizes() []attack {
	kib := func(n int) string { return strings.Repeat("a", n<<10) }
	return []attack{
		{request: plain("GET", "/api/v1/"+kib(8), "", asAdmin), want: "414"},
		{request: plain("GET", "/api/v1/log?site="+kib(8), "", asAdmin), want: "414"},
		{request: plain("GET", "/go/"+kib(8), "", asAdmin), want: "404"},
		{request: plain("GET", "/go/public/up.test/"+kib(2)+"/@v/list", "", asAdmin), want: "404"},
		{request: plain("GET", "/go/public/up.test/m/@v/v1.0.0-"+kib(1)+".info", "", asAdmin), want: "404"},
		{request: plain("GET", "/livez", "", "X: "+kib(64)+"\r\n"), want: "431"},
		{request: plain("GET", "/livez", "", strings.Repeat("X: a\r\n", 10<<10)), want: "431"},
		{request: plain("GET", "/livez", "", "Cookie: "+kib(64)+"\r\n"), want: "431"},
		{request: plain("GET", "/api/v1/log?"+strings.Repeat("a&", 100), "", asAdmin), want: "400"},
		{request: "POST /api/v1/repos HTTP/1.1\r\nHost: localhost\r\n" + asAdmin + "Content-Length: 2000000\r\nConnection: close\r\n\r\n", want: "413"},
		{request: "PUT " + teamMods + "team-a.test/lib/x/@v/v1.9.0 HTTP/1.1\r\nHost: localhost\r\n" + asAdmin + "Content-Length: 9000000000\r\nConnection: close\r\n\r\n", want: "413"},
	}
}

// hosts are names under which a page from elsewhere may lead a browser on this
// machine here. What loopback may read it then may not.
func hosts() (all []attack) {
	for _, host := range []string{
		"evil.test", "evil.test:8080", "127.0.0.1.evil.test", "localhost.evil.test", "10.0.0.1", "0.0.0.0", "[fe80::1]", "[::]", "2130706433", "0x7f.1", "0177.0.0.1", "127.1",
	} {
		for _, target := range []string{"/go/public/up.test/m/@v/list", "/api/v1/repos", "/metrics"} {
			all = append(all, attack{request: "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n", want: "401"})
		}
	}
	for _, target := range []string{"http://evil.test/metrics", "https://localhost/metrics", "http://localhost/metrics", "//localhost/metrics", "http:///metrics", "ftp://localhost/metrics", "file:///etc/passwd", "localhost:80"} {
		all = append(all, attack{request: plain("GET", target, ""), want: "400|404"})
	}
	for _, header := range []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost", "Forwarded: for=127.0.0.1;host=localhost", "X-Real-Ip: 127.0.0.1"} {
		all = append(all, attack{request: plain("GET", "/api/v1/repos", "", header+"\r\n"), want: "401"}) // on this machine: it says that it comes from elsewhere
	}
	return all
}

// origins are pages from elsewhere, which somebody's browser shows who may do all.
func origins() (all []attack) {
	for _, header := range []string{
		"Origin: https://evil.test", "Origin: http://localhost.evil.test", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://localhost:1\r\nSec-Fetch-Site: none, cross-site",
	} {
		for _, c := range [][3]string{
			{"POST", apiRepos, `{"name":"origin","kind":"local"}`}, {"PUT", "/api/v1/users/origin", `{}`}, {"PATCH", apiRepos + "/team-a", `{"description":"x"}`}, {"DELETE", apiRepos + "/team-b", ""}, {"POST", "/api/v1/tokens", `{}`},
			{"POST", "/artifactory/api/security/token", "grant_type=client_credentials"}, {"PUT", "/artifactory/team-a/team-a.test/lib/x/@v/v1.7.0.mod", "module team-a.test/lib/x"}, {"PUT", "/api/v1/webhooks/origin", goodHook},
		} {
			all = append(all, attack{request: plain(c[0], c[1], c[2], asAdmin, header+"\r\n"), want: "403", text: "another origin"})
		}
	}
	return all
}

// injections have line ends where an answer or the log might repeat them.
func injections() (all []attack) {
	for _, crlf := range []string{"%0d%0a", "%0a", "%0d", "%e5%98%8a%e5%98%8d"} {
		x := crlf + "Injected:%20x" + crlf + crlf + "x"
		all = append(all, attack{request: plain("GET", "/go/all/up.test/m"+x+"/@v/list", "", asAdmin), want: "404", text: "has the character"})
		for _, c := range [][3]string{
			{"GET", "/go/public/up.test/m/@v/v1.0.0" + x + ".info", "404"}, {"GET", "/go/a" + x + "/up.test/m/@v/list", "404"},
			{"GET", "/api/v1/repos/a" + x, "400"}, {"PUT", teamMods + "team-a.test/x" + x + "/@v/v1.0.0", "400"}, {"GET", "/artifactory/api/go/team-a/team-a.test/m" + x + "/@v/list", "404"}, {"PUT", "/artifactory/team-a/team-a.test/lib/x" + x + "/@v/v1.0.0.mod", "400"}, {"GET", "/artifactory/api/build/a" + x + "/1", "400|404"},
			{"GET", "/at-least/here/1/1" + x + "/go/all/up.test/m/@v/list", "400|404"},
		} {
			all = append(all, attack{request: plain(c[0], c[1], "", asAdmin), want: c[2]})
		}
	}
	return all
}
