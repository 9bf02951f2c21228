package main

import (
	"strings"
	"testing"
)

// TestAudit holds that serve writes down who changed what, also over a restart,
// and that the command tells it without speaking to the terminal.
func TestAudit(t *testing.T) {
	s := startedClosed(t, "serve", t.TempDir()+"/data", "--init")
	ok(t, "repo", "set", "local", "--owns", "corp.example/**", "--data", s.data)
	s.end(t)
	s = serving(t, s.data)
	out := squeezed(ok(t, "audit", "--action", "repo.*", "--data", s.data))
	if !strings.Contains(out, "admin.sock repo.change done local") {
		t.Errorf("audit:\n%s", out)
	}
	if out := ok(t, "audit", "--export", "--data", s.data); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"action":"repo.change"`) {
		t.Errorf("export:\n%s", out)
	}
	if got := oneLine("a\x1b[2J\tb\u202e"); got != "a?[2J b?" {
		t.Errorf("a hostile text is shown as %q", got)
	}
}
