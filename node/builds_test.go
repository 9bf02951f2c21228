package node_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/node"
)

func buildInfo(number, started string) string {
	return fmt.Sprintf(`{"name":"app","number":%q,"started":%q,"modules":[]}`, number, started)
}

func recordBuild(t *testing.T, n *node.Node, info string) {
	t.Helper()
	if _, err := n.RecordBuild(t.Context(), op, "", strings.NewReader(info)); err != nil {
		t.Fatal(err)
	}
}

func buildOf(t *testing.T, n *node.Node, number string) (string, error) {
	t.Helper()
	_, info, err := n.Build(t.Context(), op, events.BuildName{Name: "app", Number: number}, time.Time{})
	if err != nil {
		return "", err
	}
	defer info.Close()
	text, err := io.ReadAll(info)
	return string(text), err
}

// TestBuildsAcrossSites records builds at two sites and reads them at both, deletes
// them at one that is not the registry's home, and records them anew.
func TestBuildsAcrossSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	of := map[string]string{"a": buildInfo("1", "2026-01-01T00:00:00.000+0000"), "b": buildInfo("2", "2026-01-02T00:00:00.000+0000")}
	for site, info := range of {
		recordBuild(t, w.sites[site], info)
	}
	w.equal()
	for site, n := range w.sites {
		for number, want := range map[string]string{"1": of["a"], "2": of["b"], node.LatestBuild: of["b"]} {
			if got, err := buildOf(t, n, number); err != nil || got != want {
				t.Errorf("site %s: number %s: %q, %v", site, number, got, err)
			}
		}
	}
	// What site b has just recorded its home deletes for it, although it may not have
	// heard of it yet; what is recorded then stays.
	again := buildInfo("3", "2026-01-03T00:00:00.000+0000")
	recordBuild(t, w.sites["b"], again)
	if err := w.sites["b"].DeleteBuilds(t.Context(), op, "", "app", []string{"1", "3", "none"}); err != nil {
		t.Fatal(err)
	}
	for _, number := range []string{"1", "3"} {
		if _, err := buildOf(t, w.sites["b"], number); !errors.Is(err, node.ErrNotFound) {
			t.Errorf("number %s after its deletion: %v", number, err)
		}
	}
	recordBuild(t, w.sites["b"], again)
	w.equal()
	for site, n := range w.sites {
		if got, err := buildOf(t, n, "3"); err != nil || got != again {
			t.Errorf("site %s: recorded anew: %q, %v", site, got, err)
		}
	}
	if err := w.sites["b"].DeleteBuilds(t.Context(), op, "", "app", nil); err != nil {
		t.Fatal(err)
	}
	w.equal()
	for site, n := range w.sites {
		for b, err := range n.Builds(t.Context(), op, "", "") {
			t.Errorf("site %s has %v, %v", site, b, err)
		}
	}
}

// TestDeletedBuildIsNotMissed deletes a build whose info only the other site has,
// which is gone: it is missing nowhere then.
func TestDeletedBuildIsNotMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	info := buildInfo("1", "2026-01-01T00:00:00.000+0000")
	recordBuild(t, w.sites["b"], info)
	put := hide(t, blobFile(w.path("b"), []byte(info)))
	defer put()
	w.until("a", "missing it", func(r node.Replication) bool { return self(r).BlobsMissing == 1 })
	w.close("b")
	if err := w.sites["a"].DeleteBuilds(t.Context(), op, "", "app", []string{"1"}); err != nil {
		t.Fatal(err)
	}
	w.until("a", "missing nothing", func(r node.Replication) bool { return self(r).BlobsMissing == 0 })
	if v, err := w.sites["a"].Verify(t.Context(), op, func(string, uint64) {}); err != nil || !v.OK() {
		t.Errorf("verify: %v, %v", v, err)
	}
}

// TestBuildIsFetched reads a build info at a site whose copy is lost: from the other
// one, and not at all while that can't be reached.
func TestBuildIsFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, defaults(nil))
	w.join("b", "a", false)
	info := buildInfo("1", "2026-01-01T00:00:00.000+0000")
	recordBuild(t, w.sites["a"], info)
	w.equal()
	d := events.DigestOf([]byte(info))
	waitFor(t, "the build info to be at site b", func() bool { return w.sites["b"].HasBlob(d) })
	if err := w.sites["b"].LoseBlob(d); err != nil {
		t.Fatal(err)
	}
	if got, err := buildOf(t, w.sites["b"], "1"); err != nil || got != info {
		t.Errorf("%q, %v", got, err)
	}
	w.close("a")
	if err := w.sites["b"].LoseBlob(d); err != nil {
		t.Fatal(err)
	}
	if _, err := buildOf(t, w.sites["b"], "1"); !errors.Is(err, node.ErrUnavailable) {
		t.Errorf("while no site has it: %v", err)
	}
}

// TestBuildsOfAnotherProject has somebody who may read the builds of projects whose
// names match a pattern make up such a name, of which the beginning is the name of
// another project.
func TestBuildsOfAnotherProject(t *testing.T) {
	t.Parallel()
	n := newTeams(t, newProxy(t))
	record(t, n, grant("builds", "user:ann", "a*z-build-info", "read publish delete"))
	ann := login(t, n, "ann")
	const started = "2026-01-01T00:00:00.000+0000"
	if _, err := n.RecordBuild(t.Context(), op, "a", strings.NewReader(`{"name":"z","number":"1","started":"`+started+`"}`)); err != nil {
		t.Fatal(err)
	}
	for _, project := range []string{"a\x00z", "a/z", "A-Z"} {
		for b, err := range n.Builds(t.Context(), ann, project, "") {
			isKind(t, err, node.ErrInvalid, "project")
			if b.Name != "" {
				t.Errorf("project %q has the build %s", project, b.Name)
			}
		}
		_, _, err := n.Build(t.Context(), ann, events.BuildName{Project: project, Name: "1", Number: node.LatestBuild}, time.Time{})
		isKind(t, err, node.ErrInvalid, "project")
	}
}

// TestBuildOfOneWhoMayNoMore takes the right from somebody who is uploading a build.
func TestBuildOfOneWhoMayNoMore(t *testing.T) {
	n := newTeams(t, newProxy(t))
	record(t, n, grant("builds", "user:ann", "artifactory-build-info", "read publish"))
	ann := login(t, n, "ann")
	info := &during{strings.NewReader(buildInfo("1", "2026-01-01T00:00:00.000+0000")), func() {
		record(t, n, events.PermissionDeleted{Name: "builds"})
	}}
	_, err := n.RecordBuild(t.Context(), ann, "", info)
	isKind(t, err, node.ErrForbidden)
	if got, err := buildOf(t, n, "1"); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("it is recorded: %q, %v", got, err)
	}
}
