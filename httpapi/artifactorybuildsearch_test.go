package httpapi_test

import (
	"crypto/sha1"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

// builtOf is what jf rt bp tells of a build of one module that took another one. The
// checksum of the info is the client's: the registry has written its own.
func builtOf(number string, started string, mv module.Version, zip string, taken module.Version) string {
	artifact := func(kind string) string {
		sum := fmt.Sprintf("%x", sha1.Sum([]byte(zip+kind)))
		if kind == "zip" {
			sum = fmt.Sprintf("%x", sha1.Sum([]byte(zip)))
		}
		if kind == "mod" {
			sum = ""
		}
		return fmt.Sprintf(`{"name":"%s.%s","type":%[2]q,"path":"%[3]s/@v/%[1]s.%[2]s","originalDeploymentRepo":"local","sha1":%[4]q,"md5":""}`, mv.Version, kind, mv.Path, sum)
	}
	id, err := module.EscapePath(taken.Path)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"name":"my build","number":%q,"started":%q,"modules":[{"type":"go","id":%q,"artifacts":[%s,%s,%s,{"name":"report.html","path":"reports/report.html"}],`+
		`"dependencies":[{"id":"%s:%s","type":"zip","sha1":""},{"id":"std","type":"x"}]}],"vcs":[]}`, number, started, mv.Path, artifact("zip"), artifact("mod"), artifact("info"), id, taken.Version)
}

// TestBuildSearch replays jf rt dl, search, del and sp with --build: with and without
// a number, alone and with a pattern.
func TestBuildSearch(t *testing.T) {
	j := newBuilder(t)
	made, taken := module.Version{Path: "corp.test/Acme/Tiny", Version: "v1.2.3"}, module.Version{Path: "up.test/Dep", Version: "v1.0.0"}
	j.proxy.add(t, taken.Path, taken.Version, tree(taken.Path))
	if a := j.ask("GET", "/artifactory/api/go/public/up.test/%21dep/@v/v1.0.0.zip"); a.status != http.StatusOK {
		t.Fatal(a)
	}
	zip, _, _ := j.goPublish(made, tree(made.Path))
	j.publish("corp.test/Acme/Tiny", "v1.2.4", tree(made.Path))
	const query = `items.find({"$or":[{"$and":[{"artifact.module.build.name":"my build","artifact.module.build.number":"7"}]}]})`
	if got := j.find(query + includeAll); len(got) > 0 { // there is no such build yet
		t.Error(got)
	}
	for _, r := range [][2]string{
		{"?project=team", builtOf("7", "2026-01-03T00:00:00.000+0000", module.Version{Path: made.Path, Version: "v1.2.4"}, "other bytes", taken)},
		{"", builtOf("6", "2026-01-01T00:00:00.000+0000", made, zip, taken)}, {"", builtOf("7", "2026-01-02T00:00:00.000+0000", made, zip, taken)},
	} {
		if a := j.record(r[0], r[1]); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	of := func(ext string) string { return "local/corp.test/Acme/Tiny/@v/v1.2.3." + ext }
	next := []string{"local/corp.test/Acme/Tiny/@v/v1.2.4.info", "local/corp.test/Acme/Tiny/@v/v1.2.4.mod"} // its zip has other bytes
	all := slices.Concat([]string{of("info"), of("mod"), of("zip")}, next)
	props := `items.find({"$and":[{"$or":[{"$and":[{"artifact.module.build.name":"my build","artifact.module.build.number":"7"}]}]},{"$or":[{"@build.name":"my build"}]}]}).include("name","repo","path","actual_sha1","property")`
	for _, c := range []struct {
		query string
		want  []string
	}{
		{query + includeAll, all}, {query + `.include("name","repo","path","actual_sha1")`, all}, {props, all[:3]},
		{strings.ReplaceAll(query, "artifact", "dependency") + includeAll, []string{"public/up.test/Dep/@v/v1.0.0.zip"}},
		{`items.find({"artifact.module.build.name":"my build","artifact.module.build.number":"6","repo":"all","name":{"$match":"*.zip"}})` + includeAll, []string{of("zip")}},
		{`items.find({"artifact.module.build.name":"my build","artifact.module.build.number":"8"})` + includeAll, nil},
		// The last run of a build, for which clients look in the repository of builds.
		{`items.find({"repo":"artifactory-build-info","path":{"$match":"my build"}}).sort({"$desc":["created"]}).limit(1)`, []string{"artifactory-build-info/my build/7-1767312000000.json"}},
		{`items.find({"repo":"team-build-info","path":{"$match":"my build"}}).sort({"$desc":["created"]}).limit(1)`, []string{"team-build-info/my build/7-1767398400000.json"}},
		{`items.find({"repo":"artifactory-build-info","path":{"$match":"my*"},"name":{"$match":"6-*.json"}}).include("name","repo","path","actual_sha1","actual_md5")`, []string{"artifactory-build-info/my build/6-1767225600000.json"}},
		{`items.find({"repo":"artifactory-build-info","path":{"$match":"other"}})`, nil}, {`items.find({"repo":"nobody-build-info"})`, nil},
	} {
		got := j.find(c.query)
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q\nwant\n%q", c.query, got, c.want)
		}
	}
	// Whoever may read the files and not the builds finds none by them.
	bob := j.as("Bearer " + j.token(`{"user":"bob"}`))
	for _, q := range []string{query, `items.find({"repo":"artifactory-build-info"})`} {
		if got := bob.find(q); len(got) > 0 {
			t.Errorf("%s: %q", q, got)
		}
	}
}

// TestOddBuildsAreSearched has build infos with modules that are not as jf writes them.
func TestOddBuildsAreSearched(t *testing.T) {
	j := newBuilder(t)
	j.publish("corp.test/m", "v1.0.0", tree("corp.test/m"))
	for number, modules := range map[string]string{
		"1": `"x"`, "2": `[1]`, "3": `[{"id":"corp.test/m","artifacts":[{"name":"v1.0.0.zip"},{"name":7}]}]`, "4": `null`,
		"5": `[{"id":"corp.test/m","artifacts":[{"name":"v1.0.0.zip"},{"path":"/corp.test/m/@v/v1.0.0.mod"},{"path":"@v"},{"path":"//"},{}],"dependencies":[{"id":":"},{"id":"a!:v1"},{"id":"corp.test/m:v1.0.0","type":"zip"}]}]`,
	} {
		if a := j.record("", `{"name":"it's a/b","number":"`+number+`","started":"2026-01-01T00:00:00.000+0000","modules":`+modules+`}`); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
		got := j.find(`items.find({"artifact.module.build.name":"it's a/b","artifact.module.build.number":"` + number + `"})`)
		if want := map[string]int{"5": 2}; len(got) != want[number] {
			t.Errorf("%s: %q", modules, got)
		}
	}
	if got := j.find(`items.find({"repo":"artifactory-build-info","path":{"$match":"it%22s a%2Fb"}}).sort({"$desc":["created"]}).limit(1)`); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
