package httpapi_test

import "strings"

// malformedJSON are bodies that are no JSON, or of which others may make something
// else than this registry does.
func malformedJSON() (all []attack) {
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, route := range []struct{ method, target, field, value, other string }{
		{"POST", "/api/v1/repos", "name", `"json"`, `"kind":"local"`}, {"PUT", "/api/v1/users/json", "display", `"x"`, `"service":false`},
		{"PUT", "/api/v1/permissions/json", "repos", `["team-a"]`, `"principals":["user:reader"],"actions":["read"]`}, {"POST", "/api/v1/blocks", "module", `"evil.test/json"`, `"reason":"x"`},
		{"PUT", "/api/v1/webhooks/json", "url", `"http://127.0.0.1:1/x"`, `"types":["version.settled"],"secret":"none"`}, {"POST", "/artifactory/api/build/delete", "buildName", `"x"`, `"buildNumbers":["1"]`},
		{"POST", "/artifactory/api/build/retention/x", "minimumBuildDate", `"2026-01-01T00:00:00.000+0000"`, `"buildNumbersNotToBeDiscarded":["1"]`},
	} {
		member := `"` + route.field + `":` + route.value
		for _, body := range []string{
			"", " ", "{", "}", "[]", "[{" + member + "," + route.other + "}]", `"` + "x" + `"`, "12", "true",
			"{" + member + "," + route.other + ",}", "{" + member + " " + route.other + "}", "{'a':1}", "{a:1}", "/**/{" + member + "," + route.other + "}", "\ufeff{" + member + "," + route.other + "}",
			"{" + member + "," + route.other + "}{}", "{" + member + "," + route.other + "}\x00", // trailing
			"{" + member + "," + route.other + `,"none":1}`, "{" + member + "," + route.other + `,"none":` + deep + "}", // unknown, deep
			"{" + member + "," + member + "," + route.other + "}", "{" + member + `,"` + strings.ToUpper(route.field) + `":` + route.value + "," + route.other + "}", // twice
			"{" + `"` + strings.ToUpper(route.field[:1]) + route.field[1:] + `":` + route.value + "," + route.other + "}",
			"{" + `"` + route.field + `":"a` + "\xff" + `",` + route.other + "}", "{" + `"` + route.field + `":"a` + "\xed\xa0\x80" + `",` + route.other + "}", // no UTF-8
			"{" + `"` + route.field + `":1e999,` + route.other + "}", "{" + `"` + route.field + `":NaN,` + route.other + "}", "{" + `"` + route.field + `":` + strings.Repeat("9", 1<<10) + "," + route.other + "}",
		} {
			all = append(all, attack{request: plain(route.method, route.target, body, asAdmin), want: "400"})
		}
	}
	return all
}
