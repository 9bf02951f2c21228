package events_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"registry-node/events"
)

// Who reads a repository is written down by a setting of any kind of repository,
// which stands in logs as in the golden file.
func TestGoldenReads(t *testing.T) {
	want := events.RepoChanged{Repo: repoID("a/1/2/0"), Kind: events.Virtual, Settings: events.RepoSettings{
		Members: []events.RepoName{repoName("local")}, AccessLog: events.AllReads,
	}}
	data, err := events.EncodeBody(want)
	if err != nil {
		t.Fatal(err)
	}
	stored := golden(t, "repo.changed.access.json", data)
	if string(stored) != string(data) {
		t.Errorf("written now:\n%s\nin logs:\n%s", data, stored)
	}
	if got := decodeData(t, want.Type(), stored); !reflect.DeepEqual(got, want) {
		t.Errorf("decodes to\n%+v, want\n%+v", got, want)
	}
	for text, want := range map[string]events.Reads{"": {}, "off": events.NoReads, "zip": events.ZipReads, "all": events.AllReads} {
		if got, err := events.ParseReads(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{`{"access_log":"some"}`, `{"access_log":"OFF"}`, `{"access_log":1}`} {
		var s events.RepoSettings
		if err := json.Unmarshal([]byte(bad), &s); err == nil {
			t.Errorf("%s was taken, as %q", bad, s.AccessLog)
		}
	}
	if text, err := json.Marshal(events.RepoSettings{}); err != nil || string(text) != "{}" {
		t.Errorf("no settings are written %s, %v", text, err)
	}
}
