package aql_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/httpapi/aql"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// shelf is what queries are held against.
var shelf = func() (list []*aql.Item) {
	for _, f := range []struct {
		repo, path, name, day string
		size                  int64
		properties            map[string][]string
	}{
		{"go-local", "example.com/m/@v", "v2.0.1.zip", "01", 878, map[string][]string{"go.version": {"v2.0.1"}, "qa": {"failed", "passed"}}},
		{"go-local", "example.com/m/@v", "v2.0.1.mod", "01", 30, map[string][]string{"go.version": {"v2.0.1"}}},
		{"go-local", "example.com/m/@v", "v2.1.0.mod", "02", 31, nil},
		{"go-local", "example.org/Acme/@v", "v1.0.0.mod", "03", 32, map[string][]string{"team": {"a b"}}},
		{"other", "example.com/m/@v", "v2.0.1.zip", "04", 878, nil},
	} {
		list = append(list, &aql.Item{Repo: f.repo, Path: f.path, Name: f.name, Size: f.size, Created: at("2026-01-" + f.day + "T00:00:00Z"),
			Modified: at("2026-01-" + f.day + "T00:00:00Z"), CreatedBy: "alice", SHA256: func() string { return "0" + f.day }, SHA1: func() string { return map[string]string{"01": "of 01", "04": "of 04"}[f.day] }, Properties: f.properties})
	}
	return list
}()

// found returns the places on the shelf of what a query means, in its order.
func found(t *testing.T, q *aql.Query) string {
	t.Helper()
	var list []*aql.Item
	for _, i := range shelf {
		ok, err := q.Match(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			list = append(list, i)
		}
		if reached := slices.ContainsFunc(q.Reaches(), func(r aql.Reach) bool {
			return (r.Repo == "" || aql.Wildcard(r.Repo, i.Repo)) && strings.HasPrefix(i.Path+"/"+i.Name, r.Prefix())
		}); ok && !reached {
			t.Errorf("%+v matches, and is in none of %+v", i, q.Reaches())
		}
	}
	if q.Sorted() {
		slices.SortFunc(list, q.Compare)
	}
	var s []string
	for _, i := range list {
		s = append(s, fmt.Sprint(slices.Index(shelf, i)))
	}
	return strings.Join(s, " ")
}

// TestQueries has queries as the JFrog CLI sends them, and others.
func TestQueries(t *testing.T) {
	const include = `.include("name","repo","path","actual_md5","actual_sha1","sha256","size","type","modified","created","property")`
	for _, c := range []struct{ query, want, reaches string }{
		{`items.find({"path":{"$ne":"."},"$or":[{"$and":[{"repo":"go-local","path":"example.com/m/@v","name":"v2.0.1.zip"}]}]})` + include, "0", "go-local example.com/m/@v/v2.0.1.zip"},
		{`items.find({"path":{"$ne":"."},"$or":[{"$and":[{"repo":"go-local","path":"example.com","name":{"$match":"*"}}]},{"$and":[{"repo":"go-local","path":{"$match":"example.com/*"},"name":{"$match":"*"}}]}]})` + include, "0 1 2", "go-local example.com/"},
		{`items.find({"type":"any","$or":[{"$and":[{"repo":"go-local","path":{"$match":"*"},"name":{"$match":"*.mod"}}]}]})`, "1 2 3", "go-local "},
		{`items.find({"$and":[{"@go.version":"v2.0.1"}],"$or":[{"$and":[{"repo":"go-local","path":{"$match":"*"},"name":{"$match":"*.mod"}}]}]}).include("name").sort({"$desc":["created"]}).limit(2)`, "1", "go-local "},
		{`items.find({"$and":[{"$and":[{"repo":"go-local"}],"$or":[{"name":"v2.0.1.zip"}]},{"$or":[{"@*":{"$match":"*"}}]}]}).include("name","repo","path","actual_md5","actual_sha1","sha256","size","property")`, "0", "go-local "},
		// Exclusions: what is called so in all three is left out.
		{`items.find({"repo":"go-local","$or":[{"repo":{"$nmatch":"go-*"},"path":{"$nmatch":"*"},"name":{"$nmatch":"*.mod"}}]})`, "0", "go-local "},
		// The same key twice: both count.
		{`items.find({"$or":[{"repo":"go-local"}],"$or":[{"name":"v2.0.1.zip"}]})`, "0", "go-local "},
		{`items.find({"repo":"go-local","repo":"other"})`, "", ""},
		{`items.find({"$or":[{"repo":"go-local","name":"v2.0.1.zip"}]})`, "0 1 2 3 4", " ; go-local "},
		{`items.find()`, "0 1 2 3 4", " "}, {"items.find({})\n", "0 1 2 3 4", " "},
		{` items . find ( { "repo" : "other" } ) ; `, "4", "other "},
		{`items.find({"repo":{"$match":"o*"},"path":{"$match":"example.com/m/@v"},"name":{"$match":"v2.*"}})`, "4", "o* example.com/m/@v/v2."},
		{`items.find({"size":{"$gt":30,"$lte":32}})`, "2 3", " "}, {`items.find({"size":878})`, "0 4", " "}, {`items.find({"size":{"$ne":"878"}})`, "1 2 3", " "},
		{`items.find({"created":{"$gte":"2026-01-03T00:00:00.000Z"}})`, "3 4", " "}, {`items.find({"modified":{"$lt":"2026-01-02T01:00:00.000+0100"}})`, "0 1", " "},
		{`items.find({"created":{"$gt":"2026-01-03"}})`, "4", " "},
		{`items.find({"type":"file","created_by":"alice","sha256":"004"})`, "4", " "}, {`items.find({"type":"folder"})`, "", " "},
		{`items.find({"@qa":"passed"})`, "0", " "}, {`items.find({"@qa":{"$ne":"passed"}})`, "1 2 3 4", " "}, {`items.find({"@q*":{"$nmatch":"*ed"}})`, "1 2 3 4", " "},
		{`items.find({"@team":{"$eq":"a b"}})`, "3", " "}, {`items.find({"@*":"v2.0.1"})`, "0 1", " "}, {`items.find({"@*":{"$match":"*"}})`, "0 1 3", " "},
		{`items.find({"repo":"go-local"}).sort({"$desc":["size","name"]})`, "0 3 2 1", "go-local "}, {`items.find().sort({"$asc":["name","repo"]}).offset(1).transitive().limit(2)`, "3 1 0 4 2", " "},
		{`items.find({"path":"example.com/m/@v","$or":[{"name":"v2.0.1.zip"},{"name":"v2.1.0.mod"}]})`, "0 2 4", " example.com/m/@v/v2.0.1.zip;  example.com/m/@v/v2.1.0.mod"},
		{`items.find({"path":{"$match":"example.com/*"},"path":"example.org/Acme/@v"})`, "", ""},
	} {
		q, err := aql.Parse(c.query)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		if got := found(t, q); got != c.want {
			t.Errorf("%s: %q, want %q", c.query, got, c.want)
		}
		var reaches []string
		for _, r := range q.Reaches() {
			reaches = append(reaches, r.Repo+" "+r.Prefix())
		}
		if got := strings.Join(reaches, "; "); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(c.reaches, " ", "") {
			t.Errorf("%s: reaches %q, want %q", c.query, got, c.reaches)
		}
	}
}

// TestBuildQueries has queries about builds, which are told of their files.
func TestBuildQueries(t *testing.T) {
	const made, taken = `"artifact.module.build.name":"my build","artifact.module.build.number":"7"`, `"dependency.module.build.name":"my build","dependency.module.build.number":"7"`
	for _, c := range []struct{ query, builds, want, reaches string }{
		{`items.find({"$or":[{"$and":[{` + made + `}]}]}).include("name","repo","path","actual_sha1")`, "[{my build 7 false}]", "0 1", "example.com/m/@v/v2.0.1.mod example.com/m/@v/v2.0.1.zip example.com/none/@v/v1.0.0.zip"},
		{`items.find({` + taken + `})`, "[{my build 7 true}]", "3", "example.org/Acme/@v/v1.0.0.mod"},
		{`items.find({"$and":[{"artifact.module.build.name":"my build"},{"artifact.module.build.number":{"$eq":"7"}}],"repo":"go-local","name":{"$match":"*.mod"}})`, "[{my build 7 false}]", "1", "example.com/m/@v/v2.0.1.mod example.com/m/@v/v2.0.1.zip example.com/none/@v/v1.0.0.zip"},
		{`items.find({"$or":[{` + made + `},{` + taken + `},{` + made + `}]})`, "[{my build 7 false} {my build 7 true}]", "0 1 3", "example.com/m/@v/v2.0.1.mod example.com/m/@v/v2.0.1.zip example.com/none/@v/v1.0.0.zip example.org/Acme/@v/v1.0.0.mod"},
		{`items.find({` + made + `,` + taken + `})`, "[{my build 7 false} {my build 7 true}]", "", ""},
		{`items.find({"artifact.module.build.name":"other","artifact.module.build.number":"7"})`, "[{other 7 false}]", "", ""},
	} {
		q, err := aql.Parse(c.query)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		builds := q.Builds()
		slices.SortFunc(builds, func(a, b aql.Build) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		if got := fmt.Sprint(builds); got != c.builds {
			t.Errorf("%s: builds %s", c.query, got)
		}
		// The first has a file here under another name for its bytes: that in repository other.
		q.Tell(aql.Build{Name: "my build", Number: "7"}, []aql.File{{"example.com/m/@v", "v2.0.1.zip", "of 01"}, {"example.com/m/@v", "v2.0.1.mod", ""}, {"example.com/none/@v", "v1.0.0.zip", ""}})
		q.Tell(aql.Build{Name: "my build", Number: "7", Taken: true}, []aql.File{{"example.org/Acme/@v", "v1.0.0.mod", "not known here"}})
		if got := found(t, q); got != c.want {
			t.Errorf("%s: %q, want %q", c.query, got, c.want)
		}
		var reaches []string
		for _, r := range q.Reaches() {
			reaches = append(reaches, r.Prefix())
		}
		if got := strings.Join(reaches, " "); got != c.reaches {
			t.Errorf("%s: reaches %q, want %q", c.query, got, c.reaches)
		}
	}
	// One with many files is looked for in each of their places nevertheless.
	q, err := aql.Parse(`items.find({"$or":[{"$and":[{` + made + `}]}]})`)
	if err != nil {
		t.Fatal(err)
	}
	var many []aql.File
	for i := range 1000 {
		many = append(many, aql.File{Path: fmt.Sprintf("m%d/@v", i), Name: "v1.0.0.zip"})
	}
	if q.Tell(q.Builds()[0], many); len(q.Reaches()) != len(many) {
		t.Errorf("%d reaches", len(q.Reaches()))
	}
}

func TestAnswers(t *testing.T) {
	q, err := aql.Parse(`items.find().include("name","actual_sha1","@qa","@build.*").offset(3).limit(4)`)
	if err != nil {
		t.Fatal(err)
	}
	if q.Offset != 3 || q.Limit != 4 || !q.Wants("name") || !q.Wants("actual_sha1") || q.Wants("repo") || !q.WantsProperty("qa") || !q.WantsProperty("build.name") || q.WantsProperty("other") || !q.NeedsProperties() {
		t.Errorf("%+v", q)
	}
	for text, needs := range map[string]bool{`items.find()`: false, `items.find({"@a":"b"}).include("name")`: true, `items.find().include("property")`: true} {
		if q, err = aql.Parse(text); err != nil || q.NeedsProperties() != needs {
			t.Errorf("%s: %v %v", text, q.NeedsProperties(), err)
		}
	}
	if !q.Wants("repo") && q.WantsProperty("x") || q.Wants("actual_md5") {
		t.Errorf("%+v", q)
	}
}

func TestRefusedQueries(t *testing.T) {
	deep := strings.Repeat(`{"$and":[`, 40)
	for text, want := range map[string]string{
		``: "character 1", `builds.find({})`: "items.find", `items.find`: "items.find", `items.find({)`: "text in", `items.find({}`: ")",
		`items.find({"repo"})`: ":", `items.find({"repo":})`: "whole number", `items.find({"repo":null})`: "whole number", `items.find({"repo":"a",})`: "text in",
		`items.find({"repo":"a"}) x`: "follows", `items.find({"repo":"a"}){}`: "follows", `items.find({"repo":{}})`: "text in", `items.find({"repo":{"$foo":"a"}})`: "$foo",
		`items.find({"repo":{"$msp":[]}})`: "$msp", `items.find({"nope":"a"})`: `"nope"`, `items.find({"artifact.module.name":"a"})`: "not known",
		`items.find({"artifact.module.build.name":"a"})`: "its number", `items.find({"$or":[{"artifact.module.build.name":"a"},{"artifact.module.build.number":"1"}]})`: "its number",
		`items.find({"dependency.module.build.number":"1"})`: "its number", `items.find({"artifact.module.build.started":"1"})`: "its name and its number", `items.find({"artifact.module.build.name":{"$match":"a*"}})`: "in full",
		`items.find({"artifact.module.build.name":"a","artifact.module.build.name":"b","artifact.module.build.number":"1"})`:                     "two builds",
		`items.find({"artifact.module.build.name":"a","dependency.module.build.number":"1"})`:                                                    "its number",
		`items.find({"$or":[` + strings.Repeat(`{"artifact.module.build.name":"a","artifact.module.build.number":"1"},`, 65) + `{"repo":"a"}]})`: "more than 64 builds",
		`items.find({"$nor":[{}]})`: "$nor", `items.find({"$or":{}})`: "list", `items.find({"$or":[]})`: "at least one", `items.find({"$or":[{}]})`: "at least one",
		`items.find({"size":"x"})`: "whole number", `items.find({"size":1.5})`: ", or }", `items.find({"size":{"$match":"1*"}})`: "for texts", `items.find({"size":99999999999999999999})`: "whole number",
		`items.find({"created":"yesterday"})`: "no time", `items.find({"@":"x"})`: "not known", `items.find().limit(-1)`: "negative", `items.find().limit()`: "whole number",
		`items.find().limit(1).limit(2)`: "twice", `items.find().delete()`: `"delete"`, `items.find().include()`: "text in", `items.find().include("secret")`: `"secret"`,
		`items.find().sort({"$up":["name"]})`: "$asc", `items.find().sort({"$asc":["actual_sha1"]})`: "actual_sha1", `items.find().sort({"$asc":["name"]`: "]}",
		`items.find({"repo":"` + "\x01" + `"})`: "JSON", `items.find({"repo":"\x"})`: "JSON", `items.find({"repo":"a)`: "no end", `items.find({"repo":"` + strings.Repeat("a", 2000) + `"})`: "longer",
		"items.find(" + deep: "objects in each other", `items.find({"$or":[` + strings.Repeat(`{"repo":"a"},`, 3000) + `{}]})`: "criteria",
		`items.find({"$or":[{"size":{` + strings.Repeat(`"$gt":1,`, 3000) + `"$gt":1}}]})`: "criteria", strings.Repeat(" ", 300<<10): "KiB",
		`items.find().include(` + strings.Repeat(`"name",`, 100) + `"name")`: "names",
	} {
		if _, err := aql.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q in it", text, err, want)
		}
	}
}

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b", true}, {"a*", "a", true}, {"a*c", "abc", true}, {"a*c", "abcd", false}, {"*b*", "abc", true},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"?", "é", true}, {"??", "é", false}, {"*.mod", "v1.mod", true}, {"*a*b*c", "xaxbxcxc", true}, {"*aab", "aaab", true}, {"A", "a", false}, {"[a]", "a", false},
	} {
		if got := aql.Wildcard(c.pattern, c.text); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.text, got)
		}
	}
	// It ends, whatever the pattern.
	if aql.Wildcard(strings.Repeat("*a", 500)+"b", strings.Repeat("a", 1000)) {
		t.Error("it matches")
	}
}

// TestMatchEnds holds that a query which takes long ends with its context.
func TestMatchEnds(t *testing.T) {
	q, err := aql.Parse(`items.find({"$or":[` + strings.Repeat(`{"name":{"$match":"`+strings.Repeat("*a", 60)+`b"}},`, 900) + `{"name":"x"}]})`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Match(ctx, &aql.Item{Name: strings.Repeat("a", 1000)}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestReachesAreBounded has criteria of which the combinations are many.
func TestReachesAreBounded(t *testing.T) {
	var or []string
	for i := range 90 {
		or = append(or, fmt.Sprintf(`{"name":"v%d"}`, i))
	}
	one := `"$or":[` + strings.Join(or, ",") + `]`
	q, err := aql.Parse(`items.find({"repo":"a",` + strings.Repeat(one+",", 10) + one + `})`)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(q.Reaches()); n > 256 {
		t.Errorf("%d reaches", n)
	}
	// Those that are too many are as wide as they must be.
	or = nil
	for i := range 400 {
		or = append(or, fmt.Sprintf(`{"$and":[{"repo":"r%d","path":"p%d"}]}`, i%3, i))
	}
	if q, err = aql.Parse(`items.find({"$or":[` + strings.Join(or, ",") + `]})`); err != nil {
		t.Fatal(err)
	}
	if got := q.Reaches(); len(got) != 3 || got[2].Repo != "r2" || got[2].Prefix() != "" {
		t.Errorf("%+v", got)
	}
	if q, err = aql.Parse(`items.find({"$or":[{"repo":{"$match":"a*"}},{"repo":{"$match":"a**"}},{"repo":{"$match":"a***"}}]})`); err != nil || len(q.Reaches()) != 1 {
		t.Errorf("%v, %v", q.Reaches(), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`items.find({"path":{"$ne":"."},"$or":[{"$and":[{"repo":"go-local","path":"example.com/m/@v","name":"v2.0.1.zip"}]}]}).include("name","property").sort({"$desc":["created"]}).offset(1).limit(2)`)
	f.Add(`items.find({"$or":[{"$and":[{"artifact.module.build.name":"a","artifact.module.build.number":"1"}]},{"dependency.module.build.name":"a","dependency.module.build.number":"1"}]})`)
	f.Add(`items.find({"size":{"$gt":30},"@*":{"$nmatch":"a*"},"created":{"$lt":"2026-01-01"}})`)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := aql.Parse(text)
		if err != nil {
			return
		}
		found(t, q)
	})
}
