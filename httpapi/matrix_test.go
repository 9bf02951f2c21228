package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// expectation is what roles get on a route. In target, body and before, {n} is
// another number for each request that may change something.
type expectation struct {
	route        string // as the router has it; GET stands for HEAD, too
	target, body string
	may          string // the roles that may
	status       int    // that they get
	no           int    // status of others who show who they are; 0: 403
	operator     int    // status of the operator; 0: that of the others
	before       string // METHOD TARGET BODY of the operator, before each; {token} in target is the id of a new one
}

const (
	apiRepos  = "/api/v1/repos"
	teamMods  = apiRepos + "/team-a/modules/"
	teamItems = "/artifactory/api/storage/team-a/team-a.test/"
	newBuild  = `{"name":"b{n}","number":"1","started":"2026-01-01T00:00:00.000+0000"}`
	newLocal  = `{"name":"team-a-{n}","kind":"local"}`
	goodHook  = `{"url":"http://127.0.0.1:1/hook","types":["version.settled"],"secret":"none"}`
	goodCI    = `{"url":"https://ci.test","purpose":"exchange","audience":"registry","claims":[{"name":"sub","pattern":"repo:x"}],"user":"reader"}`
	readRule  = `{"principals":["user:reader"],"repos":["team-a"],"actions":["read"]}`
	evilMod   = `{"module":"evil.test/{n}","reason":"x"}`
	seeds     = `{"times":[{"Path":"m.test/a","Version":"v1.0.0","Timestamp":"2020-01-01T00:00:00Z"}]}`
	claims    = `{"versions":[{"module":"m.test/a","version":"v1.0.0","mod_h1":"h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}]}`
	settling  = `{"module":"m.test/a","version":"v1.0.0","mod_h1":"h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","reason":"x"}`
)

// expectations has at least one row for each route, the destructive ones last.
var expectations = []expectation{
	// The go command.
	{route: "GET /go", target: "/go", may: everybody, status: 404},
	{route: "GET /go/*", target: "/go/team-a/team-a.test/lib/x/@v/list", may: ofTeam + " " + publisher, status: 200},
	{route: "GET /go/*", target: "/go/team-a/team-a.test/lib/x/@v/v1.0.0.info", may: ofTeam + " " + publisher, status: 200},
	{route: "GET /go/*", target: "/go/team-a/team-a.test/lib/x/@v/v9.0.0.info", may: ofTeam + " " + publisher, status: 404},
	{route: "GET /go/*", target: "/go/team-a/team-a.test/app/@v/v1.0.0.zip", may: ofTeam, status: 200},
	{route: "GET /go/*", target: "/go/team-a/team-a.test/none/@v/list", may: ofTeam, status: 404},
	{route: "GET /go/*", target: "/go/both/team-a.test/lib/x/@latest", may: ofTeam + " " + publisher, status: 200},
	{route: "GET /go/*", target: "/go/both/team-b.test/x/@v/v1.0.0.info", may: admins + " " + scoped, status: 200},
	{route: "GET /go/*", target: "/go/team-b/team-b.test/x/@v/v1.0.0.mod", may: admins + " " + scoped, status: 200},
	{route: "GET /go/*", target: "/go/team-b/team-b.test/none/@v/list", may: admins + " " + scoped, status: 404},
	{route: "GET /go/*", target: "/go/public/up.test/m/@v/v1.0.0.zip", may: admins + " " + scoped + " " + loopback, status: 200},
	{route: "GET /go/*", target: "/go/public/sumdb/sum.test/supported", may: admins + " " + scoped + " " + loopback, status: 404},
	{route: "GET /go/*", target: "/go/nowhere/m.test/a/@v/list", may: admins + " " + scoped, status: 404},
	{route: "GET /at-least/*", target: "/at-least/here/1/1/go/team-a/team-a.test/lib/x/@v/list", may: ofTeam + " " + publisher, status: 200},
	// How the node stands.
	{route: "GET /livez", target: "/livez", may: everybody, status: 200},
	{route: "GET /readyz", target: "/readyz", may: everybody, status: 200},
	{route: "GET /metrics", target: "/metrics", may: lookers, status: 200},
	{route: "GET /api/v1/status", target: "/api/v1/status", may: lookers, status: 200},
	{route: "GET /api/v1/replication", target: "/api/v1/replication", may: lookers, status: 200},
	{route: "GET /api/v1/replication/stream", target: "/api/v1/replication/stream", may: lookers, status: 200},
	{route: "GET /api/v1/upstreams", target: "/api/v1/upstreams", may: lookers, status: 200},
	{route: "GET /api/v1/drift", target: "/api/v1/drift", may: lookers, status: 200},
	{route: "GET /api/v1/log", target: "/api/v1/log", may: admins, status: 200},
	{route: "GET /api/v1/audit", target: "/api/v1/audit", may: admins, status: 200},
	{route: "GET /api/v1/fetched", target: "/api/v1/fetched?module=up.test/m", may: admins, status: 200},
	{route: "GET /api/v1/offline", target: "/api/v1/offline", may: admins, status: 200},
	{route: "PUT /api/v1/offline", target: "/api/v1/offline", body: `{"offline":false}`, may: admins, status: 200},
	// Repositories.
	{route: "GET /api/v1/repos", target: apiRepos, may: lookers, status: 200},
	{route: "POST /api/v1/repos", target: apiRepos, body: newLocal, may: delegates, status: 201},
	{route: "POST /api/v1/repos", target: apiRepos, body: `{"name":"x-{n}","kind":"local"}`, may: admins, status: 201},
	{route: "GET /api/v1/repos/:repo", target: apiRepos + "/team-a", may: ofTeam + " " + publisher + " " + manager, status: 200},
	{route: "GET /api/v1/repos/:repo", target: apiRepos + "/public", may: admins + " " + scoped + " " + loopback, status: 200},
	{route: "GET /api/v1/repos/:repo", target: apiRepos + "/nowhere", may: admins + " " + scoped, status: 404},
	{route: "PATCH /api/v1/repos/:repo", target: apiRepos + "/team-a", body: `{"description":"{n}"}`, may: delegates, status: 200},
	{route: "PATCH /api/v1/repos/:repo", target: apiRepos + "/team-b", body: `{"description":"{n}"}`, may: admins, status: 200},
	{route: "DELETE /api/v1/repos/:repo", target: apiRepos + "/team-a-{n}?reason=x", may: delegates, status: 204, before: "POST " + apiRepos + " " + newLocal},
	{route: "POST /api/v1/repos/:repo/restore", target: apiRepos + "/team-a/restore", may: delegates, status: 409},
	{route: "PUT /api/v1/repos/:repo/modules/*", target: teamMods + "team-a.test/lib/p/@v/v1.0.{n}", body: "{zip}", may: publisher + " " + admins, status: 201},
	{route: "PUT /api/v1/repos/:repo/modules/*", target: teamMods + "team-a.test/app/@v/v1.1.{n}", body: "{zip}", may: admins, status: 201},
	{route: "PUT /api/v1/repos/:repo/modules/*", target: apiRepos + "/team-b/modules/team-b.test/x/@v/v1.1.{n}", body: "{zip}", may: admins, status: 201},
	{route: "POST /api/v1/repos/:repo/publications", target: apiRepos + "/team-a/publications", body: "{publish}team-a.test/lib/q@v1.0.{n}", may: publisher + " " + admins, status: 201},
	{route: "POST /api/v1/repos/:repo/publications", target: apiRepos + "/team-a/publications", body: "{publish}team-a.test/lib/q@v1.1.{n} team-a.test/app@v1.2.{n}", may: admins, status: 201},
	{route: "DELETE /api/v1/repos/:repo/modules/*", target: teamMods + "team-a.test/lib/d/@v/v1.0.{n}?reason=x", may: deleter + " " + admins, status: 204,
		before: "PUT " + teamMods + "team-a.test/lib/d/@v/v1.0.{n} {zip}"},
	{route: "DELETE /artifactory/*", target: "/artifactory/team-a/team-a.test/lib/d/@v/v1.4.{n}.zip", may: deleter + " " + admins, status: 204,
		before: "PUT " + teamMods + "team-a.test/lib/d/@v/v1.4.{n} {zip}"},
	{route: "POST /api/v1/repos/:repo/refresh", target: apiRepos + "/team-a-proxy/refresh", may: delegates, status: 200},
	{route: "POST /api/v1/repos/:repo/refresh", target: apiRepos + "/public/refresh", may: admins, status: 200},
	{route: "DELETE /api/v1/repos/:repo/cached", target: apiRepos + "/team-a-proxy/cached?module=up.test/m", may: delegates, status: 200, before: "GET /go/team-a-proxy/up.test/m/@v/v1.0.0.zip"},
	{route: "GET /api/v1/repos/:repo/pending", target: apiRepos + "/team-a-proxy/pending", may: delegates, status: 400}, // has no minimum age
	{route: "POST /api/v1/repos/:repo/times", target: apiRepos + "/team-a-proxy/times", body: seeds, may: delegates, status: 200},
	{route: "PUT /api/v1/repos/:repo/imports/*", target: apiRepos + "/team-a-proxy/imports/m.test/a/@v/v1.0.0", body: "x", may: delegates, status: 400}, // no parts
	{route: "PUT /api/v1/repos/:repo/imports/*", target: apiRepos + "/public/imports/m.test/a/@v/v1.0.0", body: "x", may: admins, status: 400},
	{route: "PUT /api/v1/repos/:repo/imports/*", target: apiRepos + "/nowhere/imports/m.test/a/@v/v1.0.0", body: "x", may: admins, status: 404},
	{route: "POST /api/v1/repos/:repo/imports/missing", target: apiRepos + "/team-a-proxy/imports/missing", body: claims, may: delegates, status: 200},
	{route: "POST /api/v1/repos/:repo/imports/missing", target: apiRepos + "/public/imports/missing", body: claims, may: admins, status: 200},
	{route: "POST /api/v1/repos/:repo/imports/missing", target: apiRepos + "/team-a/imports/missing", body: strings.ReplaceAll(claims, "m.test/a", "team-a.test/lib/x"), may: publisher + " " + admins, status: 200},
	{route: "POST /api/v1/repos/:repo/imports/missing", target: apiRepos + "/nowhere/imports/missing", body: claims, may: admins + " " + scoped, status: 404},
	{route: "POST /api/v1/repos/:repo/settle", target: apiRepos + "/team-a-proxy/settle", body: settling, may: delegates, status: 404},
	// What may not be served.
	{route: "GET /api/v1/blocks", target: "/api/v1/blocks", may: lookers, status: 200},
	{route: "POST /api/v1/blocks", target: "/api/v1/blocks", body: evilMod, may: blocker + " " + admins, status: 201},
	{route: "DELETE /api/v1/blocks", target: "/api/v1/blocks?module=evil.test/{n}", may: blocker + " " + admins, status: 204, before: "POST /api/v1/blocks " + evilMod},
	{route: "POST /api/v1/purges", target: "/api/v1/purges", body: `{"module":"up.test/m","version":"v1.9.0","reason":"x"}`, may: admins, status: 404},
	// Users, groups, rules and tokens.
	{route: "GET /api/v1/whoami", target: "/api/v1/whoami", may: everybody, status: 200},
	{route: "GET /api/v1/users", target: "/api/v1/users", may: known, status: 200},
	{route: "GET /api/v1/users/:name", target: "/api/v1/users/reader", may: reader + " " + admins, status: 200},
	{route: "GET /api/v1/users/:name", target: "/api/v1/users/team-a-bot", may: delegates, status: 200},
	{route: "GET /api/v1/users/:name", target: "/api/v1/users/nobody", may: admins, status: 404},
	{route: "PUT /api/v1/users/:name", target: "/api/v1/users/team-a-{n}", body: `{}`, may: delegates, status: 201},
	{route: "PUT /api/v1/users/:name", target: "/api/v1/users/x-{n}", body: `{}`, may: admins, status: 201},
	{route: "PUT /api/v1/users/:name", target: "/api/v1/users/password", body: `{"display":"{n}"}`, may: password + " " + admins, status: 200},
	{route: "PUT /api/v1/users/:name", target: "/api/v1/users/manager", body: `{"groups":["admins"],"if":"absent"}`, may: admins, status: 409},
	{route: "PUT /api/v1/users/:name", target: "/api/v1/users/team-a-{n}", body: `{"groups":["admins"]}`, may: admins, status: 201},
	{route: "DELETE /api/v1/users/:name", target: "/api/v1/users/team-a-{n}", may: delegates, status: 204, before: "PUT /api/v1/users/team-a-{n} {}"},
	{route: "GET /api/v1/groups", target: "/api/v1/groups", may: known, status: 200},
	{route: "PUT /api/v1/groups/:name", target: "/api/v1/groups/team-a-{n}", body: `{"members":[]}`, may: delegates, status: 201},
	{route: "PUT /api/v1/groups/:name", target: "/api/v1/groups/admins", body: `{"remove":["stranger"]}`, may: admins, status: 200},
	{route: "DELETE /api/v1/groups/:name", target: "/api/v1/groups/team-a-{n}", may: delegates, status: 204, before: `PUT /api/v1/groups/team-a-{n} {"members":[]}`},
	{route: "GET /api/v1/permissions", target: "/api/v1/permissions", may: known, status: 200},
	{route: "GET /api/v1/permissions/check", target: "/api/v1/permissions/check?action=read&repo=team-a", may: everybody, status: 200},
	{route: "GET /api/v1/permissions/check", target: "/api/v1/permissions/check?action=read&repo=team-a&user=reader", may: reader + " " + delegates, status: 200},
	{route: "GET /api/v1/permissions/:name", target: "/api/v1/permissions/team-a", may: delegates, status: 200},
	{route: "GET /api/v1/permissions/:name", target: "/api/v1/permissions/admins", may: admins, status: 200},
	{route: "PUT /api/v1/permissions/:name", target: "/api/v1/permissions/team-a-{n}", body: readRule, may: delegates, status: 201},
	{route: "PUT /api/v1/permissions/:name", target: "/api/v1/permissions/team-a-{n}", body: `{"principals":["user:stranger"],"repos":["team-*"],"actions":["delete"]}`, may: admins, status: 201},
	{route: "PUT /api/v1/permissions/:name", target: "/api/v1/permissions/team-a-{n}", body: `{"principals":["user:manager"],"repos":["dead"],"actions":["manage"]}`, may: admins, status: 201},
	{route: "PUT /api/v1/permissions/:name", target: "/api/v1/permissions/x-{n}", body: readRule, may: admins, status: 201},
	{route: "DELETE /api/v1/permissions/:name", target: "/api/v1/permissions/team-a-{n}", may: delegates, status: 204, before: "PUT /api/v1/permissions/team-a-{n} " + readRule},
	{route: "GET /api/v1/tokens", target: "/api/v1/tokens", may: known, status: 200},
	{route: "GET /api/v1/tokens", target: "/api/v1/tokens?user=reader", may: reader + " " + admins, status: 200},
	{route: "POST /api/v1/tokens", target: "/api/v1/tokens", body: `{"expires":"1d"}`, may: strings.ReplaceAll(known, scoped, ""), status: 201, operator: 400}, // is no user
	{route: "POST /api/v1/tokens", target: "/api/v1/tokens", body: `{"user":"team-a-bot"}`, may: delegates, status: 201},
	{route: "POST /api/v1/tokens", target: "/api/v1/tokens", body: `{"user":"blocker"}`, may: blocker + " " + admins, status: 201},
	{route: "DELETE /api/v1/tokens/:id", target: "/api/v1/tokens/{token}?reason=x", may: delegates, status: 204, no: 404},
	// ID tokens.
	{route: "GET /api/v1/oidc", target: "/api/v1/oidc", may: everybody, status: 200},
	{route: "POST /api/v1/oidc/exchange", target: "/api/v1/oidc/exchange", body: `{"issuer":"nowhere","token":"x.y.z"}`, may: everybody, status: 404},
	{route: "GET /api/v1/issuers", target: "/api/v1/issuers", may: admins, status: 200},
	{route: "PUT /api/v1/issuers/:name", target: "/api/v1/issuers/ci-{n}", body: goodCI, may: admins, status: 201},
	{route: "GET /api/v1/issuers/:name", target: "/api/v1/issuers/nowhere", may: admins, status: 404},
	{route: "DELETE /api/v1/issuers/:name", target: "/api/v1/issuers/ci-{n}", may: admins, status: 204, before: "PUT /api/v1/issuers/ci-{n} " + goodCI},
	// Webhooks.
	{route: "GET /api/v1/webhooks", target: "/api/v1/webhooks", may: admins, status: 200},
	{route: "PUT /api/v1/webhooks/:name", target: "/api/v1/webhooks/hook-{n}", body: goodHook, may: admins, status: 201},
	{route: "GET /api/v1/webhooks/:name", target: "/api/v1/webhooks/nowhere", may: admins, status: 404},
	{route: "DELETE /api/v1/webhooks/:name", target: "/api/v1/webhooks/hook-{n}", may: admins, status: 204, before: "PUT /api/v1/webhooks/hook-{n} " + goodHook},
	{route: "GET /api/v1/webhooks/:name/deliveries", target: "/api/v1/webhooks/hook-{n}/deliveries", may: admins, status: 200, before: "PUT /api/v1/webhooks/hook-{n} " + goodHook},
	{route: "DELETE /api/v1/webhooks/:name/deliveries", target: "/api/v1/webhooks/nowhere/deliveries", may: admins, status: 404},
	{route: "POST /api/v1/webhooks/:name/retry", target: "/api/v1/webhooks/nowhere/retry", may: admins, status: 404},
	{route: "POST /api/v1/webhooks/:name/test", target: "/api/v1/webhooks/hook-{n}/test", may: admins, status: 200, before: "PUT /api/v1/webhooks/hook-{n} " + goodHook},
	// What an Artifactory has.
	{route: "GET /artifactory/api/system/version", target: "/artifactory/api/system/version", may: everybody, status: 200},
	{route: "GET /artifactory/api/system/ping", target: "/artifactory/api/system/ping", may: everybody, status: 200},
	{route: "POST /artifactory/api/system/usage", target: "/artifactory/api/system/usage", body: `{"productId":"x"}`, may: everybody, status: 200},
	{route: "POST /artifactory/api/search/aql", target: "/artifactory/api/search/aql", body: `items.find()`, may: loopback + " " + known, status: 200},
	{route: "POST /artifactory/api/search/aql", target: "/artifactory/api/search/aql", body: `items.find({"repo":"team-a"})`, may: known, status: 200},
	{route: "GET /artifactory/api/storage/*", target: teamItems + "lib/x/@v/v1.0.0.zip", may: ofTeam + " " + publisher, status: 200},
	{route: "GET /artifactory/api/storage/*", target: teamItems + "app/@v/v1.0.0.mod", may: ofTeam, status: 200},
	{route: "GET /artifactory/api/storage/*", target: teamItems + "none/@v/v1.0.0.mod?properties", may: ofTeam, status: 404},
	{route: "PUT /artifactory/api/storage/*", target: teamItems + "lib/x/@v/v1.0.0.zip?properties=n={n}", may: publisher + " " + admins, status: 204},
	{route: "PUT /artifactory/api/storage/*", target: teamItems + "app/@v/v1.0.0.zip?properties=n={n}", may: admins, status: 204},
	{route: "DELETE /artifactory/api/storage/*", target: teamItems + "lib/x/@v/v1.0.0.zip?properties=n", may: publisher + " " + admins, status: 204},
	{route: "PUT /artifactory/api/build", target: "/artifactory/api/build", body: newBuild, may: admins, status: 204},
	{route: "GET /artifactory/api/build", target: "/artifactory/api/build", may: admins + " " + scoped, status: 200},
	{route: "GET /artifactory/api/build/*", target: "/artifactory/api/build/b{n}/1", may: admins + " " + scoped, status: 200, before: "PUT /artifactory/api/build " + newBuild},
	{route: "GET /artifactory/api/build/*", target: "/artifactory/api/build/nothing", may: admins + " " + scoped, status: 404},
	{route: "POST /artifactory/api/build/delete", target: "/artifactory/api/build/delete", body: `{"buildName":"b{n}","buildNumbers":["1"]}`, may: admins, status: 204},
	{route: "POST /artifactory/api/build/retention/*", target: "/artifactory/api/build/retention/b{n}?async=false", body: `{"count":"1"}`, may: admins, status: 204},
	{route: "GET /artifactory/api/storage/*", target: "/artifactory/api/storage/team-a", may: ofTeam + " " + publisher + " " + manager, status: 200},
	{route: "GET /artifactory/api/*", target: "/artifactory/api/plugins", may: everybody, status: 404},
	{route: "POST /artifactory/api/*", target: "/artifactory/api/copy/team-a/team-a.test?to=/team-b", may: everybody, status: 400},
	{route: "POST /artifactory/api/build/*", target: "/artifactory/api/build/promote/b/1", may: everybody, status: 400},
	{route: "PUT /artifactory/api/*", target: "/artifactory/api/repositories/new", may: everybody, status: 404},
	{route: "DELETE /artifactory/api/*", target: "/artifactory/api/repositories/new", may: everybody, status: 404},
	{route: "POST /jfconnect/api/v1/backoffice/metrics/log", target: "/jfconnect/api/v1/backoffice/metrics/log", body: `{"value":1}`, may: everybody, status: 200},
	{route: "GET /artifactory/api/security/encryptedPassword", target: "/artifactory/api/security/encryptedPassword", may: password, status: 200, no: 400},
	{route: "POST /artifactory/api/security/token", target: "/artifactory/api/security/token", body: "a=b", may: everybody, status: 400},
	{route: "GET /artifactory/api/repositories", target: "/artifactory/api/repositories?type=virtual&packageType=go", may: lookers + " " + stranger, status: 200},
	{route: "GET /artifactory/api/repositories/:repo", target: "/artifactory/api/repositories/team-a", may: ofTeam + " " + publisher + " " + manager, status: 200, no: 404},
	{route: "GET /artifactory/api/go/*", target: "/artifactory/api/go/team-a/team-a.test/lib/x/@v/list", may: ofTeam + " " + publisher, status: 200},
	{route: "GET /artifactory/api/go/*", target: "/artifactory/api/go/both/team-b.test/x/@v/v1.0.0.info", may: admins + " " + scoped, status: 200},
	{route: "PUT /artifactory/api/go/*", target: "/artifactory/api/go/team-a/team-a.test/lib/p/@v/v1.3.{n}.mod;a=b", body: "module team-a.test/lib/p\n", may: publisher + " " + admins, status: 201},
	{route: "PUT /artifactory/api/go/*", target: "/artifactory/api/go/team-b/team-b.test/x/@v/v1.3.{n}.mod", body: "module team-b.test/x\n", may: admins, status: 201},
	{route: "PUT /artifactory/*", target: "/artifactory/team-a/team-a.test/app/@v/v1.3.{n}.mod", body: "module team-a.test/app\n", may: admins, status: 201},
	{route: "GET /artifactory/*", target: "/artifactory/team-a/team-a.test/lib/x/@v/v1.0.0.zip", may: ofTeam + " " + publisher, status: 200},
	{route: "GET /artifactory/*", target: "/artifactory/team-b/team-b.test/x/@v/v1.0.0.mod", may: admins + " " + scoped, status: 200},
	// Sites, and what can't be taken back.
	{route: "GET /api/v1/sites", target: "/api/v1/sites", may: admins, status: 200},
	{route: "POST /api/v1/sites", target: "/api/v1/sites", body: `{"name":"oslo"}`, may: admins, status: 503}, // it listens for none
	{route: "DELETE /api/v1/sites/:site", target: "/api/v1/sites/oslo", may: admins, status: 404},
	{route: "GET /api/v1/diff/:site", target: "/api/v1/diff/oslo", may: admins, status: 404},
	{route: "POST /api/v1/homes", target: "/api/v1/homes", body: `{"repository":"team-a","to":"oslo"}`, may: admins, status: 400},
	{route: "POST /api/v1/verify", target: "/api/v1/verify", may: admins, status: 200},
	{route: "POST /api/v1/rebuild", target: "/api/v1/rebuild", may: admins, status: 200},
	{route: "POST /api/v1/leave", target: "/api/v1/leave", may: admins, status: 400}, // it is home of all there is
	{route: "POST /api/v1/epoch", target: "/api/v1/epoch", may: admins, status: 200},
}

// want returns the status that a role gets.
func (e expectation) want(role string) int {
	switch {
	case isIn(role, wrong): // whatever it is that they ask for
		return http.StatusUnauthorized
	case role == operator && e.operator != 0:
		return e.operator
	case isIn(role, e.may):
		return e.status
	case role == anonymous, role == loopback:
		return http.StatusUnauthorized
	case e.no != 0:
		return e.no
	}
	return http.StatusForbidden
}

// TestRoutesAndRoles asks each route as everybody. A route that the router has and
// nobody says something of fails, and so does one that it no longer has.
func TestRoutesAndRoles(t *testing.T) {
	w := newRoles(t)
	stated := map[string]bool{}
	for _, e := range expectations {
		stated[e.route] = true
		if path, ok := strings.CutPrefix(e.route, "GET "); ok {
			stated["HEAD "+path] = true
		}
	}
	for _, route := range w.server.Routes() {
		if !stated[route] {
			t.Errorf("nothing says who may use the route %s", route)
		}
		delete(stated, route)
	}
	for _, route := range slices.Sorted(maps.Keys(stated)) {
		t.Errorf("there is no route %s", route)
	}
	for _, e := range expectations {
		w.expect(t, e)
	}
}

// expect has all roles ask: those that may not first, together, after which the log
// must stand where it stood.
func (w *roles) expect(t *testing.T, e expectation) {
	t.Helper()
	var refused, served []string
	for _, role := range allRoles() {
		if isIn(role, e.may) {
			served = append(served, role)
		} else {
			refused = append(refused, role)
		}
	}
	methods := []string{strings.Fields(e.route)[0]}
	if methods[0] == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	numbered := w.prepare(e)
	seq := w.seq()
	for _, role := range refused {
		for _, method := range methods {
			w.check(t, e, role, method, numbered)
		}
	}
	if now := w.seq(); now != seq {
		t.Errorf("%s %s: what was refused took the log from entry %d to %d", e.route, e.target, seq, now)
	}
	for _, role := range served {
		for _, method := range methods {
			w.check(t, e, role, method, numbered)
		}
		if e.before != "" || strings.Contains(e.target+e.body, "{") {
			numbered = w.prepare(e)
		}
	}
}

// prepare makes what a request is about, and returns what puts its number in.
func (w *roles) prepare(e expectation) *strings.Replacer {
	w.n++
	id := ""
	if strings.Contains(e.target, "{token}") {
		id = tokenID(w.token(`{"user":"team-a-bot"}`))
	}
	numbered := strings.NewReplacer("{n}", strconv.Itoa(w.n), "{token}", id)
	if method, rest, ok := strings.Cut(numbered.Replace(e.before), " "); ok {
		target, body, _ := strings.Cut(rest, " ")
		w.set(method, target, body)
	}
	return numbered
}

func (w *roles) check(t *testing.T, e expectation, role, method string, numbered *strings.Replacer) {
	t.Helper()
	target := numbered.Replace(e.target)
	a := w.ask(role, method, target, numbered.Replace(e.body))
	want := e.want(role)
	if a.status != want {
		t.Errorf("%s: %s %s: %d %s, want %d", role, method, target, a.status, a.body, want)
	}
	if challenge := a.header.Get("Www-Authenticate"); (challenge != "") != (a.status == http.StatusUnauthorized) {
		t.Errorf("%s: %s %s: %d with the challenge %q", role, method, target, a.status, challenge)
	}
	if want != http.StatusOK && strings.Contains(a.body, "internal error") {
		t.Errorf("%s: %s %s: %s", role, method, target, a.body)
	}
}
