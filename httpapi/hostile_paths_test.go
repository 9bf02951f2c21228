package httpapi_test

import "strings"

// ups are ways to write .., of which a server or somebody before it might make one,
// each with why it is no path.
var ups = []struct{ up, why string }{
	{"..", `element "..`}, {"%2e%2e", `element "..`}, {".%2e", `element "..`}, {"%2E.", `element "..`}, {"%252e%252e", "none of <module>"}, {"%c0%ae%c0%ae", "has the character"}, {"..%00", "%00"},
	{"..%5c..", "%5c"}, {"..\\..", "%5C"}, {"..%2f..", "%2f"}, {"%2e%2e%2f%2e%2e", "%2f"}, {"%ef%bc%8e%ef%bc%8e", "has the character"}, {"....//..", "empty element"},
}

// traversals lead out of each place in which a path or a name can stand.
func traversals() (all []attack) {
	for _, u := range ups {
		all = append(all, attack{request: plain("GET", "/go/all/"+u.up+"/"+u.up+"/"+u.up+"/canary", "", asAdmin), want: "404", text: u.why})
		for _, place := range []struct{ method, target, want string }{
			{"GET", "/go/UP/UP/canary/@v/list", "404"},
			{"GET", "/go/all/up.test/UP/UP/canary/@v/list", "404"},
			{"GET", "/go/all/up.test/m/@v/UP/UP/UP/UP/canary.info", "404"},
			{"GET", "/go/all/up.test/m/@v/v1.0.0-UPcanary.zip", "404"},
			{"GET", "/go/all/sumdb/UP/UP/canary", "404"},
			{"GET", "/at-least/here/1/1/go/all/UP/UP/canary", "404"},
			{"GET", "/UP/UP/outside/canary", "404"},
			{"GET", "/api/v1/repos/UP", "400|404"},
			{"PUT", "/api/v1/repos/team-a/modules/UP/UP/canary/@v/v1.0.0", "400"},
			{"GET", "/api/v1/users/UP", "400|404"},
			{"PUT", "/api/v1/repos/team-a-proxy/imports/UP/UP/canary/@v/v1.0.0", "400"},
			{"GET", "/api/v1/webhooks/UP/deliveries", "400|404"},
			{"GET", "/UP/UP/outside/canary?go-get=1", "400|404"},
			{"GET", "/artifactory/team-a/UP/UP/canary/@v/v1.0.0.zip", "404"},
			{"GET", "/artifactory/team-a/team-a.test/lib/x/@v/v1.0.0-UPcanary.zip", "404"},
			{"GET", "/artifactory/api/go/all/up.test/UP/UP/canary/@v/list", "404"},
			{"GET", "/artifactory/api/storage/team-a/UP/UP/canary/@v/v1.0.0.zip", "400|404"},
			{"GET", "/artifactory/api/storage/team-a/UP/UP/outside?list&deep=1", "400|404"},
			{"POST", "/artifactory/api/build/retention/UP?project=UP", "400"},
			{"PUT", "/artifactory/api/storage/team-a/UP/UP/canary/@v/v1.0.0.zip?properties=a=b", "400"},
			{"PUT", "/artifactory/team-a/UP/UP/canary/@v/v1.0.0.mod", "400"},
			{"PUT", "/artifactory/api/go/team-a/team-a.test/UP/UP/canary/@v/v1.0.0.zip", "400"},
			{"DELETE", "/artifactory/team-a/UP/UP/canary/@v/v1.0.0.zip", "400"},
			{"GET", "/artifactory/api/repositories/UP", "404"},
			{"GET", "/artifactory/api/build/UP/UP?project=UP", "400|404"},
		} {
			all = append(all, attack{request: plain(place.method, strings.ReplaceAll(place.target, "UP", u.up), "", asAdmin), want: place.want})
		}
	}
	return all
}

// nullBytes stand in what is a name, a path or a text.
func nullBytes() (all []attack) {
	for _, target := range []string{
		"/go/all%00/up.test/m/@v/list", "/go/all/up.test%00/m/@v/list", "/go/all/up.test/m/@v/v1.0.0%00.info", "/go/all/up.test/m/@v/v1.0.0.zip%00.txt", "/go/all/sumdb/sum.test%00/latest",
		"/artifactory/api/go/team-a/team-a.test%00/m/@v/list", "/artifactory/team-a/team-a.test/lib/x%00/@v/v1.0.0.zip", "/artifactory/team-a/team-a.test/lib/x/@v/v1.0.0.zip%00.zip",
	} {
		text := "%00"
		if strings.HasPrefix(target, "/go/all%") {
			text = "may only have a-z"
		}
		all = append(all, attack{request: plain("GET", target, "", asAdmin), want: "404", text: text})
	}
	all = append(all, attack{request: plain("GET", "/go/all/up.test/m\x00/@v/list", ""), want: "400"}, attack{request: plain("GET", "/livez", "", "X: a\x00b\r\n"), want: "400"},
		attack{request: "GET /livez HTTP/1.1\r\nHost: local\x00host\r\nConnection: close\r\n\r\n", want: "400"}, attack{request: plain("GE\x00T", "/livez", ""), want: "400"})
	for _, target := range []string{"/api/v1/repos/local%00", "/api/v1/fetched?module=a%00b", "/artifactory/api/build?project=a%00b", "/artifactory/api/build/a%00b/1"} {
		all = append(all, attack{request: plain("GET", target, "", asAdmin), want: "400"})
	}
	for _, c := range [][3]string{
		{"POST", "/api/v1/repos", `{"name":"x\u0000","kind":"local"}`}, {"PUT", "/api/v1/users/x%00", `{}`}, {"PUT", "/api/v1/users/nul", `{"display":"a\u0000b"}`},
		{"POST", "/api/v1/blocks", `{"module":"evil.test/a","reason":"a\u0000b"}`}, {"POST", "/api/v1/blocks", `{"module":"evil.test/a\u0000","reason":"x"}`},
		{"POST", "/api/v1/tokens", `{"user":"reader","description":"a\u0000b"}`}, {"DELETE", "/api/v1/repos/team-b/modules/team-b.test/x/@v/v1.0.0?reason=a%00b", ""},
		{"PUT", "/artifactory/api/storage/team-a/team-a.test/lib/x/@v/v1.0.0.zip?properties=a=b%00c", ""}, {"PUT", "/artifactory/team-a/team-a.test/lib/x/@v/v1.7.0.mod;a=b%00c", "module team-a.test/lib/x"},
		{"PUT", "/artifactory/api/build", strings.Replace(newBuild, "b{n}", `a\u0000b`, 1)}, {"POST", "/artifactory/api/search/aql", "items.find({\"name\":\"a\x00b\"})"}, {"PUT", "/api/v1/webhooks/x%00", goodHook},
	} {
		all = append(all, attack{request: plain(c[0], c[1], c[2], asAdmin), want: "400"})
	}
	return all
}
