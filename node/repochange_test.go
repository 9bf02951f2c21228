package node_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"registry-node/events"
	"registry-node/node"
)

// policyJSON sets every field of an events.RemotePolicy.
const policyJSON = `{"include":["a.example/**"],"exclude":["b.example"],"list_ttl":"1s","query_ttl":"2s","absent_ttl":"3s",
"stale_for":"4s","offline_for":"5s","timeout":"6s","offline":true,"min_age":"7d","no_min_age":["c.example/**@v1.*"],
"time_sites":["a"],"keep_nothing":true,"allow_targets":["d.example/**"],"allow_inside":["10.0.0.0/8"],
"plain_hosts":["e.example"],"proxy":"none","secrets":[{"host":"f.example","name":"f"}]}`

// TestEverySettingCanBeChanged holds that a change has each setting of a policy,
// by the same name, and that what it says comes to be.
func TestEverySettingCanBeChanged(t *testing.T) {
	t.Parallel()
	var change node.RepoChange
	var want events.RemotePolicy
	for _, v := range []any{&change, &want} {
		if err := json.Unmarshal([]byte(policyJSON), v); err != nil {
			t.Fatal(err)
		}
	}
	for field, v := range reflect.ValueOf(want).Fields() {
		if v.IsZero() {
			t.Errorf("the test does not set %s", field.Name)
		}
	}
	change = between(t, change)
	got := change.Apply(events.RepoSettings{Description: "kept"})
	if !reflect.DeepEqual(got, events.RepoSettings{Description: "kept", RemotePolicy: want}) {
		t.Errorf("changed to %+v\nwant %+v", got, want)
	}
	if got := (node.RepoChange{}).Apply(got); !reflect.DeepEqual(got.RemotePolicy, want) {
		t.Errorf("no change makes %+v of it", got)
	}
	var back node.RepoChange
	reset := `{"list_ttl":"","offline":false,"include":[],"proxy":""}`
	if err := json.Unmarshal([]byte(reset), &back); err != nil {
		t.Fatal(err)
	}
	back = between(t, back)
	if p := back.Apply(got).RemotePolicy; !p.ListTTL.IsZero() || p.Offline || len(p.Include) > 0 || p.Proxy != "" || p.QueryTTL != want.QueryTTL {
		t.Errorf("reset to %+v", p)
	}
}

// between returns a change as it comes to another site, which decides about it.
func between(t testing.TB, c node.RepoChange) (there node.RepoChange) {
	t.Helper()
	text, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(text, &there)
	}
	if err != nil {
		t.Fatal(err)
	}
	return there
}

func TestMemberRulesChangeOneByOne(t *testing.T) {
	t.Parallel()
	type rules map[events.RepoName][]events.Pattern
	a, b := name("a"), name("b")
	s := node.RepoChange{MemberInclude: rules{b: {pattern("b.example")}, a: {pattern("a.example")}}}.Apply(events.RepoSettings{})
	s = node.RepoChange{MemberExclude: rules{a: {pattern("a.example/x")}}}.Apply(s)
	s = between(t, node.RepoChange{MemberInclude: rules{b: nil}}).Apply(s)
	want := []events.MemberRule{{Member: a, Include: []events.Pattern{pattern("a.example")}, Exclude: []events.Pattern{pattern("a.example/x")}}}
	if !reflect.DeepEqual(s.MemberRules, want) {
		t.Errorf("rules %+v, want %+v", s.MemberRules, want)
	}
}
