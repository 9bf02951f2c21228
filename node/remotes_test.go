package node_test

import (
	"strings"
	"testing"
	"time"

	"registry-node/node"
)

// TestUpstreamTroubleNeedsAPersonIfItLasts: what fails once, or was last asked long
// ago, is not worth an alarm.
func TestUpstreamTroubleNeedsAPersonIfItLasts(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	failing := func(lasts time.Duration) node.RemoteStatus {
		return node.RemoteStatus{Name: name("public"), Upstream: "https://up.example", FailingSince: at, LastFailure: at.Add(lasts), LastError: "502"}
	}
	off := failing(time.Hour)
	off.Offline = true
	for _, c := range []struct {
		remote           node.RemoteStatus
		reasons, remarks int
	}{
		{node.RemoteStatus{Name: name("public")}, 0, 0}, {failing(0), 0, 1}, {failing(14 * time.Minute), 0, 1}, {failing(15 * time.Minute), 1, 0}, {off, 0, 0},
	} {
		var s node.Status
		s.AddUpstreams([]node.RemoteStatus{c.remote})
		if len(s.Reasons) != c.reasons || len(s.Remarks) != c.remarks {
			t.Errorf("%+v: reasons %q, remarks %q", c.remote, s.Reasons, s.Remarks)
		}
		for _, text := range append(s.Reasons, s.Remarks...) {
			if !strings.Contains(text, "public") || !strings.Contains(text, "2024-01-02T03:04:05Z") || !strings.Contains(text, "502") {
				t.Errorf("text %q", text)
			}
		}
	}
}
