package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// What is looked through with every request is bounded, and whoever has a project
// can't use it up for others.
func TestRulesAndGroupsAreBounded(t *testing.T) {
	t.Parallel()
	i := newIdentities(t)
	i.user("lead")
	i.rule("lead", "user:lead", "a-*", "manage")
	lead := i.token(op, node.NewToken{User: "lead"})
	many := func(n int, pattern string) string { return strings.Repeat(pattern+",", n-1) + pattern }
	put := func(who *access.Caller, name string, g events.Grant) error {
		_, _, err := i.PutPermission(t.Context(), who, name, g)
		return err
	}
	wantErr(t, "all that a rule may have", put(lead, "a-full", grantOf(many(256, "user:lead"), many(64, "a-*"), "read")), nil)
	wantErr(t, "too many principals", put(lead, "a-full", grantOf(many(257, "user:lead"), "a-*", "read")), node.ErrInvalid)
	wantErr(t, "too many repositories", put(lead, "a-full", grantOf("user:lead", many(65, "a-*"), "read")), node.ErrInvalid)
	patterns := slices.Repeat([]events.Pattern{must(events.ParsePattern("corp.example"))}, 65)
	for _, g := range []events.Grant{{Include: patterns}, {Exclude: patterns}} {
		g.Principals, g.Repos, g.Actions = []string{"user:lead"}, []string{"a-*"}, []string{"read"}
		wantErr(t, "too many patterns", put(lead, "a-full", g), node.ErrInvalid)
	}
	fill := func(from, to int) {
		t.Helper()
		var bodies []events.Body
		for n := from; n < to; n++ {
			name := fmt.Sprintf("a-%d", n)
			bodies = append(bodies, events.GroupChanged{Name: name}, events.PermissionChanged{Name: name, Grant: grantOf("user:lead", "a-*", "read")})
		}
		if err := i.Record(t.Context(), bodies...); err != nil {
			t.Fatal(err)
		}
	}
	group := func(who *access.Caller, name string) error {
		_, _, err := i.PutGroup(t.Context(), who, name, node.GroupChange{Members: &[]string{}})
		return err
	}
	another := grantOf("user:lead", "a-lib", "read")
	fill(0, 512)
	wantErr(t, "another's rule", put(lead, "a-more", another), node.ErrTooLarge)
	wantErr(t, "another's group", group(lead, "a-more"), node.ErrTooLarge)
	wantErr(t, "a change of a rule", put(lead, "a-1", another), nil)
	wantErr(t, "an administrator's rule", put(op, "a-more", another), nil)
	wantErr(t, "an administrator's group", group(op, "a-more"), nil)
	fill(512, 1024)
	wantErr(t, "a rule too many", put(op, "x", another), node.ErrTooLarge)
	wantErr(t, "a group too many", group(op, "x"), node.ErrTooLarge)
}

// A group that was changed too often takes no removals for their own sake, and does
// not keep its members from being deleted; nor is the name used again while it is
// in there.
func TestFullGroupsKeepNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("a full group is read many times, which takes minutes and gigabytes under the race detector")
	}
	t.Parallel()
	i := newIdentities(t)
	i.group("team")
	i.user("alice", "team")
	// fill adds facts of so many bytes to the record of the group, as long as it takes any.
	fill := func(size int) {
		const name = 128
		for size > 0 {
			b := events.GroupChanged{Name: "team", Members: []string{"alice"}}
			for n := range min(4000, size/name+1) {
				b.Members = append(b.Members, fmt.Sprintf("u%0*d", name-1, n))
			}
			if i.Record(t.Context(), b) != nil {
				return // it is full
			}
			size -= len(b.Members) * name
		}
	}
	fill(8<<20 - 64<<10) // of 8 MiB, the last 64th is for deletions
	_, _, err := i.PutGroup(t.Context(), op, "team", node.GroupChange{Remove: []string{"alice"}})
	wantErr(t, "a removal", err, node.ErrTooLarge)
	_, _, err = i.PutUser(t.Context(), op, "alice", node.UserChange{Groups: &[]string{}})
	wantErr(t, "a removal by the user", err, node.ErrTooLarge)
	fill(256 << 10)
	wantErr(t, "deletion", i.DeleteUser(t.Context(), op, "alice"), nil)
	_, _, err = i.PutUser(t.Context(), op, "alice", node.UserChange{})
	wantErr(t, "another of that name", err, node.ErrExists)
}
