package events_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"registry-node/events"
)

// Bodies that read their own fields read what encoding/json would.
func TestHotBodiesReadLikeJSON(t *testing.T) {
	mv := events.Of(repoID("a/1/2/0"), modVersion("m.test/a", "v1.0.0"))
	vouched := content(3)
	vouched.Sumdb = "sum.test"
	blob := content(3)
	blob.Mod, blob.ModBlob = nil, events.Blob{Digest: events.DigestOf(nil), Size: 1 << 40}
	escaped := "a \"quoted\\\" text\n\u2028<é>😀"
	for _, b := range []events.Body{
		events.VersionPublished{ModuleVersion: mv, Content: content(1), Actor: escaped},
		events.VersionPublished{ModuleVersion: mv, Content: blob},
		events.VersionFilled{ModuleVersion: mv, Content: vouched, Upstream: "https://p.test"},
		events.VersionFilled{ModuleVersion: mv, Content: modOnly(content(2)), Upstream: escaped},
		events.VersionFilled{ModuleVersion: mv, Content: zipOnly(content(2))},
	} {
		data, err := events.EncodeBody(b)
		if err != nil {
			t.Fatal(err)
		}
		want := reflect.New(reflect.TypeOf(b))
		if err := json.Unmarshal(data, want.Interface()); err != nil {
			t.Fatal(err)
		}
		got := decodeData(t, b.Type(), data)
		if !reflect.DeepEqual(got, want.Elem().Interface()) || !reflect.DeepEqual(got, b) {
			t.Errorf("%s decodes to\n%#v, want\n%#v", data, got, b)
		}
	}
}

// What may not stand in a log is refused before it gets there.
func TestEncodeBodyRefuses(t *testing.T) {
	repo := repoID("a/1/2/0")
	mv := events.Of(repo, modVersion("m.test/a", "v1.0.0"))
	with := func(change func(*events.Content)) events.VersionFilled {
		c := content(1)
		change(&c)
		return events.VersionFilled{ModuleVersion: mv, Content: c}
	}
	remote := func(upstream, sumdb string) events.RepoCreated {
		return events.RepoCreated{Name: repoName("r"), Kind: events.Remote, Home: site("a"), Settings: events.RepoSettings{Upstream: upstream, Sumdb: sumdb}}
	}
	virtual := func(members ...string) events.RepoCreated {
		b := events.RepoCreated{Name: repoName("r"), Kind: events.Virtual, Home: site("a")}
		for _, m := range members {
			b.Settings.Members = append(b.Settings.Members, repoName(m))
		}
		return b
	}
	deploy := virtual("a", "b")
	deploy.Settings.Deploy = repoName("c")
	long := strings.Repeat("x", 1025)
	for name, tt := range map[string]struct {
		body events.Body
		want string
	}{
		"path":                      {events.VersionHidden{ModuleVersion: events.Of(repo, modVersion("m.test/../a", "v1.0.0"))}, "malformed module path"},
		"major version":             {events.VersionHidden{ModuleVersion: events.Of(repo, modVersion("m.test/a", "v2.0.0"))}, "v2.0.0"},
		"short version":             {events.VersionHidden{ModuleVersion: events.Of(repo, modVersion("m.test/a", "v1"))}, "v1"},
		"build metadata":            {events.VersionHidden{ModuleVersion: events.Of(repo, modVersion("m.test/a", "v1.0.0+x"))}, "canonical"},
		"no repository":             {events.VersionHidden{ModuleVersion: events.Of(events.RepoID{}, modVersion("m.test/a", "v1.0.0"))}, "no repository"},
		"no hash of go.mod":         {with(func(c *events.Content) { c.ModH1 = events.H1{} }), "no go.mod hash"},
		"wrong hash of go.mod":      {with(func(c *events.Content) { c.ModH1 = content(2).ModH1 }), "mod_h1"},
		"go.mod twice":              {with(func(c *events.Content) { c.ModBlob = c.Zip }), "both"},
		"go.mod without info":       {with(func(c *events.Content) { c.Info = nil }), "without info"},
		"info without go.mod":       {with(func(c *events.Content) { c.Mod = nil }), "without go.mod"},
		"zip without hash":          {with(func(c *events.Content) { c.ZipH1 = events.H1{} }), "zip needs"},
		"hash without zip":          {with(func(c *events.Content) { c.Zip = events.Blob{} }), "zip needs"},
		"zip without digest":        {with(func(c *events.Content) { c.Zip.Digest = events.Digest{} }), "digest"},
		"size no reader holds":      {with(func(c *events.Content) { c.Zip.Size = 1 << 53 }), "size"},
		"nothing":                   {events.VersionFilled{ModuleVersion: mv, Content: events.Content{ModH1: content(1).ModH1}}, "neither"},
		"large info":                {with(func(c *events.Content) { c.Info = make([]byte, events.MaxInline+1) }), "larger than"},
		"half a publish":            {events.VersionPublished{ModuleVersion: mv, Content: modOnly(content(1))}, "needs info"},
		"versions unsorted":         {events.VersionSeen{Repo: repo, Module: "m.test/a", Versions: []string{"v1.1.0", "v1.0.0"}}, "sorted"},
		"version twice":             {events.VersionSeen{Repo: repo, Module: "m.test/a", Versions: []string{"v1.0.0", "v1.0.0"}}, "sorted"},
		"no versions":               {events.VersionSeen{Repo: repo, Module: "m.test/a"}, "0 versions"},
		"purge without reason":      {events.VersionPurged{ModuleVersion: mv}, "reason"},
		"dates and versions":        {events.VersionDated{Repo: repo, Module: "m.test/a", Versions: []string{"v1.0.0"}}, "0 times"},
		"no date":                   {events.VersionDated{Repo: repo, Module: "m.test/a", Versions: []string{"v1.0.0"}, Times: []time.Time{{}}}, "without a time"},
		"date elsewhere":            {events.VersionDated{Repo: repo, Module: "m.test/a", Versions: []string{"v1.0.0"}, Times: []time.Time{at(0).In(time.FixedZone("x", 60))}}, "UTC"},
		"block of a broken pattern": {events.VersionBlocked{Module: "m.test//**", Reason: "x"}, "empty element"},
		"block without reason":      {events.VersionBlocked{Module: "m.test/a"}, "reason"},
		"unblock of nothing":        {events.VersionUnblocked{Module: "m.test/a"}, "cleared"},
		"unblock up to nowhere":     {events.VersionUnblocked{Module: "m.test/a", Clears: []events.Cleared{{Site: site("a")}}}, "place"},
		"long text":                 {events.RepoDeleted{Repo: repo, Reason: long}, "longer than"},
		"terminal escape":           {events.RepoDeleted{Repo: repo, Reason: "\x1b[2J"}, "control character"},
		"C1 control character":      {events.RepoDeleted{Repo: repo, Reason: "\u009b2J"}, "control character"},
		"broken text":               {events.RepoDeleted{Repo: repo, Reason: "\xff"}, "UTF-8"},
		"owns of a remote":          {events.RepoChanged{Repo: repo, Kind: events.Remote, Settings: events.RepoSettings{Upstream: "x", Sumdb: "off", Owns: []events.Pattern{pattern("a")}}}, "owns"},
		"upstream of a local":       {events.RepoChanged{Repo: repo, Kind: events.Local, Settings: events.RepoSettings{Upstream: "x"}}, "upstream"},
		"members of a local":        {events.RepoChanged{Repo: repo, Kind: events.Local, Settings: events.RepoSettings{Members: []events.RepoName{repoName("a")}}}, "members"},
		"no kind":                   {events.RepoChanged{Repo: repo}, "kind"},
		"no upstream":               {remote("", "off"), "upstream"},
		"no checksum database":      {remote("https://p.test", ""), "checksum database"},
		"password in the upstream":  {remote("https://a.test|https://me:hunter2@p.test,direct", "off"), "upstream holds credentials"},
		"user in the sumdb":         {remote("https://p.test", "sum.test https://me@s.test"), "sumdb holds credentials"},
		"password in a fill":        {events.VersionFilled{ModuleVersion: mv, Content: content(1), Upstream: "https://me:hunter2@p.test"}, "upstream holds credentials"},
		"no members":                {virtual(), "1 to 64"},
		"member twice":              {virtual("a", "a"), "twice"},
		"deploy elsewhere":          {deploy, "not a member"},
		"user name":                 {events.UserCreated{Name: "Ann"}, "may only"},
		"user name with a NUL":      {events.UserCreated{Name: "a\x00b"}, "may only"},
		"principal":                 {events.PermissionChanged{Name: "p", Grant: events.Grant{Principals: []string{"ann"}}}, "none of"},
		"action":                    {events.PermissionChanged{Name: "p", Grant: events.Grant{Actions: []string{"fly"}}}, "none of"},
		"repository glob":           {events.PermissionChanged{Name: "p", Grant: events.Grant{Repos: []string{"a/b"}}}, "repository name"},
		"token without hash":        {events.TokenIssued{ID: "t", User: "ann"}, "hash"},
		"token in local time":       {events.TokenIssued{ID: "t", User: "ann", Hash: events.DigestOf(nil), Expires: time.Now().In(time.FixedZone("", 3600))}, "UTC"},
		"endless invitation":        {events.SiteInvited{Name: site("b"), Secret: events.DigestOf(nil)}, "end"},
		"invitation to all":         {events.SiteInvited{Name: site("b"), Expires: at(0)}, "secret"},
		"short key":                 {events.SiteJoined{Name: site("b"), PublicKey: public(1)[:31]}, "32"},
		"short nonce":               {events.SiteJoined{Name: site("b"), PublicKey: public(1), Genesis: events.Genesis{Nonce: []byte{1}, Recovery: public(9)}}, "nonce"},
		"genesis without nonce":     {events.SiteJoined{Name: site("b"), PublicKey: public(1), Genesis: events.Genesis{Recovery: public(9)}}, "nonce"},
		"genesis without key":       {events.SiteJoined{Name: site("b"), PublicKey: public(1), Genesis: events.Genesis{Nonce: make([]byte, 32)}}, "recovery"},
		"forced from nowhere":       {events.HomeForced{To: site("b")}, "lost home"},
		"ceded to nobody":           {events.HomeCeded{}, "no site"},
		"tenure too far":            {events.HomeCeded{To: site("b"), Tenure: 255}, "tenure"},
		"tenure before the first":   {events.HomeCeded{To: site("b"), Tenure: -1}, "tenure"},
		"no base":                   {events.LogContinued{Site: site("a")}, "goes on from"},
		"level":                     {events.FeatureRaised{}, "level"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := events.EncodeBody(tt.body)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want one with %q; data %s", err, tt.want, data)
			}
		})
	}
}

// Each type that this version knows has a level, and Level is the highest.
func TestLevels(t *testing.T) {
	highest := 0
	for _, typ := range events.Types() {
		l := events.LevelOf(typ)
		if l < 1 || l > events.Level {
			t.Errorf("%s is of level %d, not of 1 to %d", typ, l, events.Level)
		}
		highest = max(highest, l)
	}
	if highest != events.Level {
		t.Errorf("the highest level is %d, Level says %d", highest, events.Level)
	}
	if l := events.LevelOf("version.praised"); l <= events.Level {
		t.Errorf("an unknown type is of level %d", l)
	}
	if d := newWorld(t).directory(); d.Level != 1 {
		t.Errorf("a new registry is at level %d", d.Level)
	}
}
