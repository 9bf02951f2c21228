package events_test

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/events"
)

// Who may state each type: the registry's home is a, that of the repositories b;
// c is a member and no home, x none.
func TestRightOfEachType(t *testing.T) {
	w := newWorld(t)
	local, remote := w.repo(events.Local, "b"), w.repo(events.Remote, "b")
	about := events.Of(local, v1)
	registry, home, any := "a", "b", "abc"
	tests := map[events.Type]struct {
		body events.Body
		may  string // the sites that may state it
	}{
		"repo.created":       {events.RepoCreated{Name: repoName("new"), Kind: events.Local, Home: site("c")}, registry},
		"repo.changed":       {events.RepoChanged{Repo: local, Kind: events.Local}, registry},
		"repo.deleted":       {events.RepoDeleted{Repo: local}, registry},
		"repo.restored":      {events.RepoRestored{Repo: local}, registry},
		"version.published":  {events.VersionPublished{ModuleVersion: about, Content: content(1)}, home},
		"version.hidden":     {events.VersionHidden{ModuleVersion: about}, home},
		"version.filled":     {events.VersionFilled{ModuleVersion: events.Of(remote, v1), Content: content(1)}, any},
		"version.seen":       {events.VersionSeen{Repo: remote, Module: v1.Path, Versions: []string{"v1.0.0"}}, any},
		"version.blocked":    {events.VersionBlocked{Module: v1.Path, Reason: "malware"}, any},
		"version.unblocked":  {events.VersionUnblocked{Module: v1.Path, Clears: []events.Cleared{{Site: site("b"), At: mark("1/1")}}}, registry},
		"version.settled":    {events.VersionSettled{ModuleVersion: events.Of(remote, v1), ModH1: content(1).ModH1}, registry},
		"version.purged":     {events.VersionPurged{ModuleVersion: events.Of(remote, v1), Reason: "leak"}, registry},
		"version.dated":      {events.VersionDated{Repo: remote, Module: v1.Path, Versions: []string{"v1.0.0"}, Times: []time.Time{at(1)}}, registry},
		"user.created":       {events.UserCreated{Name: "ann"}, registry},
		"user.changed":       {events.UserChanged{Name: "ann"}, registry},
		"user.deleted":       {events.UserDeleted{Name: "ann"}, registry},
		"group.changed":      {events.GroupChanged{Name: "devs"}, registry},
		"group.deleted":      {events.GroupDeleted{Name: "devs"}, registry},
		"permission.changed": {events.PermissionChanged{Name: "rule"}, registry},
		"permission.deleted": {events.PermissionDeleted{Name: "rule"}, registry},
		"issuer.changed":     {login("sso"), registry},
		"issuer.deleted":     {events.IssuerDeleted{Name: "sso"}, registry},
		"webhook.changed":    {hook("chat"), registry},
		"webhook.deleted":    {events.WebhookDeleted{Name: "chat"}, registry},
		"properties.changed": {events.PropertiesChanged{ModuleVersion: about, File: events.ZipFile, Remove: []string{"qa"}}, home},
		"build.recorded":     {events.BuildRecorded{BuildName: build("7"), Started: at(1)}, any},
		"build.deleted":      {events.BuildDeleted{BuildName: build("7")}, registry},
		"token.issued":       {events.TokenIssued{ID: "t", User: "ann", Hash: events.DigestOf(nil)}, registry},
		"token.revoked":      {events.TokenRevoked{ID: "t"}, any},
		"site.invited":       {events.SiteInvited{Name: site("x"), Secret: events.DigestOf(nil), Expires: at(9)}, registry},
		"site.joined":        {events.SiteJoined{Name: site("x"), PublicKey: public(4)}, registry},
		"site.changed":       {events.SiteChanged{Name: site("c")}, registry},
		"site.key":           {events.SiteKey{Name: site("c"), PublicKey: public(5)}, registry},
		"site.left":          {events.SiteLeft{Name: site("c"), CutOff: mark("1/1")}, registry},
		"feature.raised":     {events.FeatureRaised{Level: 2}, registry},
		"home.ceded":         {events.HomeCeded{Repo: local, To: site("c")}, home},
		"home.forced":        {events.HomeForced{Repo: local, At: mark("1/1"), To: site("c")}, registry},
		"log.continued":      {events.LogContinued{Site: site("c"), Base: mark("1/1")}, "c"},
	}
	if got := slices.Sorted(maps.Keys(tests)); !slices.Equal(got, events.Types()) {
		t.Fatalf("types %v, want %v", got, events.Types())
	}
	d := w.directory()
	for typ, tt := range tests {
		if tt.body.Type() != typ {
			t.Fatalf("%s: the body is of type %s", typ, tt.body.Type())
		}
		for _, s := range []string{"a", "b", "c", "x"} {
			err := d.Right(next(w, s), tt.body)
			if may := strings.Contains(tt.may, s); (err == nil) != may {
				t.Errorf("%s by %s: %v, want it to have the right: %t", typ, s, err, may)
			}
			if err != nil && (!strings.Contains(err.Error(), string(typ)) || !strings.Contains(err.Error(), next(w, s).String())) {
				t.Errorf("%s by %s: %v names neither which nor what", typ, s, err)
			}
		}
	}
}

// next returns the id of what a site would state next.
func next(w *world, s string) events.EventID {
	return events.EventID{Site: site(s), Mark: events.Mark{Epoch: 1, Seq: w.ends[s].Seq + 1}}
}

func TestRight(t *testing.T) {
	w := newWorld(t)
	local, remote := w.repo(events.Local, "b"), w.repo(events.Remote, "b")
	missing := repoID("c/1/1/0")
	published := w.publish("b", local, 1)
	w.say("b", events.HomeCeded{Repo: local, To: site("c"), After: w.ends["c"]})
	w.say("a", events.HomeCeded{To: site("b"), After: w.ends["b"]})
	afterMove := next(w, "a")
	inTenure := next(w, "b")
	w.say("b", events.SiteLeft{Name: site("a"), CutOff: w.ends["a"]})
	d := w.directory()
	move := events.HomeForced{Tenure: 1, At: mark("1/9"), To: site("c")}
	move.Signature = ed25519.Sign(signer(operator), events.ForcedText(w.h.registry, move))
	forged := move
	forged.At = mark("1/8")
	first := events.EventID{Site: site("a"), Mark: mark("1/1")}
	publish := func(repo events.RepoID) events.Body {
		return events.VersionPublished{ModuleVersion: events.Of(repo, v1), Content: content(2)}
	}
	tests := map[string]struct {
		id   events.EventID
		body events.Body
		want string // in the error; empty: it has the right
	}{
		"publish in the tenure":               {published, publish(local), ""},
		"publish after the tenure":            {next(w, "b"), publish(local), "not the home of repository r"},
		"publish in the next tenure":          {next(w, "c"), publish(local), ""},
		"hide after the tenure":               {next(w, "b"), events.VersionHidden{ModuleVersion: events.Of(local, v1)}, "not the home"},
		"publish where there is nothing":      {next(w, "b"), publish(missing), "no repository c/1/1/0"},
		"publish into a remote repository":    {next(w, "b"), publish(remote), "is remote"},
		"fill a local repository":             {next(w, "b"), events.VersionFilled{ModuleVersion: events.Of(local, v1), Content: content(1)}, "is local"},
		"fill what there is not":              {next(w, "b"), events.VersionFilled{ModuleVersion: events.Of(missing, v1), Content: content(1)}, "no repository"},
		"see what there is not":               {next(w, "b"), events.VersionSeen{Repo: missing, Module: v1.Path, Versions: []string{"v1.0.0"}}, "no repository"},
		"hide in what there is not":           {next(w, "b"), events.VersionHidden{ModuleVersion: events.Of(missing, v1)}, "no repository"},
		"change what there is not":            {inTenure, events.RepoChanged{Repo: missing, Kind: events.Local}, "no repository"},
		"delete what there is not":            {inTenure, events.RepoDeleted{Repo: missing}, "no repository"},
		"restore what there is not":           {inTenure, events.RepoRestored{Repo: missing}, "no repository"},
		"settle in what there is not":         {inTenure, events.VersionSettled{ModuleVersion: events.Of(missing, v1)}, "no repository"},
		"purge in what there is not":          {inTenure, events.VersionPurged{ModuleVersion: events.Of(missing, v1)}, "no repository"},
		"date in what there is not":           {inTenure, events.VersionDated{Repo: missing, Module: v1.Path}, "no repository"},
		"force what there is not":             {inTenure, events.HomeForced{Repo: missing, At: mark("1/1"), To: site("c")}, "no repository"},
		"cede what there is not":              {next(w, "b"), events.HomeCeded{Repo: missing, To: site("c")}, "no repository"},
		"cede again":                          {next(w, "b"), events.HomeCeded{Repo: local, To: site("a")}, "not the home"},
		"cede another's tenure":               {next(w, "b"), events.HomeCeded{Repo: local, Tenure: 1, To: site("a")}, "not the home"},
		"cede one's own tenure":               {next(w, "c"), events.HomeCeded{Repo: local, Tenure: 1, To: site("a")}, ""},
		"cede a tenure too far":               {next(w, "c"), events.HomeCeded{Repo: local, Tenure: 2, To: site("a")}, "not yet tenure 2"},
		"cede the registry":                   {next(w, "b"), events.HomeCeded{Tenure: 1, To: site("c")}, ""},
		"cede the registry by another":        {next(w, "c"), events.HomeCeded{Tenure: 1, To: site("c")}, "not the home of the registry"},
		"registry's home then":                {first, events.UserCreated{Name: "ann"}, ""},
		"registry's home now":                 {inTenure, events.UserCreated{Name: "ann"}, ""},
		"registry's home before its tenure":   {published, events.UserCreated{Name: "ann"}, "not the home of the registry"},
		"block up to the cut-off":             {first, events.VersionBlocked{Module: v1.Path, Reason: "malware"}, ""},
		"block behind the cut-off":            {afterMove, events.VersionBlocked{Module: v1.Path, Reason: "malware"}, "counts up to " + w.ends["a"].String()},
		"forced with the recovery key":        {next(w, "c"), move, ""},
		"forced behind the cut-off":           {afterMove, move, ""},
		"forced with a wrong signature":       {next(w, "c"), forged, "recovery key"},
		"forced by the home, not signed":      {inTenure, events.HomeForced{Tenure: 1, At: mark("1/9"), To: site("c")}, "recovery key"},
		"a type that is not known here":       {next(w, "c"), nil, ""},
		"a type that everybody may, stranger": {next(w, "x"), events.TokenRevoked{ID: "t"}, "site x is no member"},
	}
	for name, tt := range tests {
		err := d.Right(tt.id, tt.body)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if err := (state{}).directory(w.h).Right(next(w, "c"), move); err == nil {
		t.Error("a directory of nothing knows a recovery key")
	}
}

// What has no right has no effect: without the events of the directory that
// Right refuses, readers see the same.
func TestWhatHasNoRightHasNoEffect(t *testing.T) {
	refused := 0
	eachHistory(t, func(seed uint64, h *history) error {
		all, err := fold(h.delivery(h.rng))
		if err != nil {
			return err
		}
		d := all.directory(h)
		kept := state{}
		for _, s := range h.sites {
			for _, ev := range h.logs[s] {
				if events.InDirectory(ev.Body.Key(ev.ID).Kind()) && d.Right(ev.ID, ev.Body) != nil {
					refused++
					continue
				}
				if err := kept.apply(ev); err != nil {
					return err
				}
			}
		}
		for k := range all {
			if _, ok := kept[k]; !ok {
				kept[k] = nil // the same reads
			}
		}
		if got, want := kept.answers(h), all.answers(h); got != want {
			return fmt.Errorf("got\n%s, want\n%s", got, want)
		}
		return nil
	})
	if refused == 0 {
		t.Error("every event had the right")
	}
}
