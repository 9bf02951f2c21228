package main

import (
	"encoding/json"
	"strings"
	"testing"

	"registry-node/events"
)

func TestLog(t *testing.T) {
	fresh(t)
	all := ok(t, "log")
	if again := ok(t, "log", "--site", "main", "--from", "1"); again != all {
		t.Errorf("log --site main --from 1 differs from log:\n%s", again)
	}
	var types []string
	for line := range strings.Lines(all) {
		var e events.CloudEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.SpecVersion != "1.0" {
			t.Fatalf("%q: %v", line, err)
		}
		types = append(types, e.Type)
	}
	if want := "site.joined repo.created repo.created repo.created group.changed permission.changed permission.changed permission.changed permission.changed"; strings.Join(types, " ") != want {
		t.Errorf("events: %v, want %s", types, want)
	}
	if _, tail, _ := strings.Cut(all, "\n"); ok(t, "log", "--from", "2") != tail {
		t.Error("log --from 2 is not log without its first line")
	}
	if out := ok(t, "log", "--from", "99"); out != "" {
		t.Errorf("after the end: %q", out)
	}
	refused(t, exitNo, []string{"log", "--site", "nowhere"}, `no log of a site called "nowhere"`)
}
