package events_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	. "registry-node/events"
)

// Bodies that read their own fields read what encoding/json would.
func TestHotBodiesReadLikeJSON(t *testing.T) {
	mv := Of(repoID("a/1/2/0"), modVersion("m.test/a", "v1.0.0"))
	vouched := content(3)
	vouched.Sumdb = "sum.test"
	blob := content(3)
	blob.Mod, blob.ModBlob = nil, Blob{Digest: DigestOf(nil), Size: 1 << 40}
	escaped := "a \"quoted\\\" text\n\u2028<é>😀"
	for _, b := range []Body{
		VersionPublished{ModuleVersion: mv, Content: content(1), Actor: escaped},
		VersionPublished{ModuleVersion: mv, Content: blob},
		VersionFilled{ModuleVersion: mv, Content: vouched, Upstream: "https://p.test"},
		VersionFilled{ModuleVersion: mv, Content: modOnly(content(2)), Upstream: escaped},
		VersionFilled{ModuleVersion: mv, Content: zipOnly(content(2))},
	} {
		data, err := EncodeBody(b)
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
	mv := Of(repo, modVersion("m.test/a", "v1.0.0"))
	with := func(change func(*Content)) VersionFilled {
		c := content(1)
		change(&c)
		return VersionFilled{ModuleVersion: mv, Content: c}
	}
	remote := func(upstream, sumdb string) RepoCreated {
		return RepoCreated{Name: repoName("r"), Kind: Remote, Home: site("a"), Settings: RepoSettings{Upstream: upstream, Sumdb: sumdb}}
	}
	virtual := func(members ...string) RepoCreated {
		b := RepoCreated{Name: repoName("r"), Kind: Virtual, Home: site("a")}
		for _, m := range members {
			b.Settings.Members = append(b.Settings.Members, repoName(m))
		}
		return b
	}
	deploy := virtual("a", "b")
	deploy.Settings.Deploy = repoName("c")
	long := strings.Repeat("x", 1025)
	for name, tt := range map[string]struct {
		body Body
		want string
	}{
		"path":                     {VersionHidden{ModuleVersion: Of(repo, modVersion("m.test/../a", "v1.0.0"))}, "malformed module path"},
		"major version":            {VersionHidden{ModuleVersion: Of(repo, modVersion("m.test/a", "v2.0.0"))}, "v2.0.0"},
		"short version":            {VersionHidden{ModuleVersion: Of(repo, modVersion("m.test/a", "v1"))}, "v1"},
		"build metadata":           {VersionHidden{ModuleVersion: Of(repo, modVersion("m.test/a", "v1.0.0+x"))}, "canonical"},
		"no repository":            {VersionHidden{ModuleVersion: Of(RepoID{}, modVersion("m.test/a", "v1.0.0"))}, "no repository"},
		"no hash of go.mod":        {with(func(c *Content) { c.ModH1 = H1{} }), "no go.mod hash"},
		"wrong hash of go.mod":     {with(func(c *Content) { c.ModH1 = content(2).ModH1 }), "mod_h1"},
		"go.mod twice":             {with(func(c *Content) { c.ModBlob = c.Zip }), "both"},
		"go.mod without info":      {with(func(c *Content) { c.Info = nil }), "without info"},
		"info without go.mod":      {with(func(c *Content) { c.Mod = nil }), "without go.mod"},
		"zip without hash":         {with(func(c *Content) { c.ZipH1 = H1{} }), "zip needs"},
		"hash without zip":         {with(func(c *Content) { c.Zip = Blob{} }), "zip needs"},
		"zip without digest":       {with(func(c *Content) { c.Zip.Digest = Digest{} }), "digest"},
		"size no reader holds":     {with(func(c *Content) { c.Zip.Size = 1 << 53 }), "size"},
		"nothing":                  {VersionFilled{ModuleVersion: mv, Content: Content{ModH1: content(1).ModH1}}, "neither"},
		"large info":               {with(func(c *Content) { c.Info = make([]byte, MaxInline+1) }), "larger than"},
		"half a publish":           {VersionPublished{ModuleVersion: mv, Content: modOnly(content(1))}, "needs info"},
		"versions unsorted":        {VersionSeen{Repo: repo, Module: "m.test/a", Versions: []string{"v1.1.0", "v1.0.0"}}, "sorted"},
		"version twice":            {VersionSeen{Repo: repo, Module: "m.test/a", Versions: []string{"v1.0.0", "v1.0.0"}}, "sorted"},
		"no versions":              {VersionSeen{Repo: repo, Module: "m.test/a"}, "0 versions"},
		"block without reason":     {VersionBlocked{Module: "m.test/a"}, "reason"},
		"unblock of nothing":       {VersionUnblocked{Module: "m.test/a"}, "clears"},
		"unblock up to nowhere":    {VersionUnblocked{Module: "m.test/a", Clears: []Cleared{{Site: site("a")}}}, "place"},
		"long text":                {RepoDeleted{Repo: repo, Reason: long}, "longer than"},
		"terminal escape":          {RepoDeleted{Repo: repo, Reason: "\x1b[2J"}, "control character"},
		"C1 control character":     {RepoDeleted{Repo: repo, Reason: "\u009b2J"}, "control character"},
		"broken text":              {RepoDeleted{Repo: repo, Reason: "\xff"}, "UTF-8"},
		"owns of a remote":         {RepoChanged{Repo: repo, Kind: Remote, Settings: RepoSettings{Upstream: "x", Sumdb: "off", Owns: []Pattern{pattern("a")}}}, "owns"},
		"upstream of a local":      {RepoChanged{Repo: repo, Kind: Local, Settings: RepoSettings{Upstream: "x"}}, "upstream"},
		"members of a local":       {RepoChanged{Repo: repo, Kind: Local, Settings: RepoSettings{Members: []RepoName{repoName("a")}}}, "members"},
		"no kind":                  {RepoChanged{Repo: repo}, "kind"},
		"no upstream":              {remote("", "off"), "upstream"},
		"no checksum database":     {remote("https://p.test", ""), "checksum database"},
		"password in the upstream": {remote("https://a.test|https://me:hunter2@p.test,direct", "off"), "upstream holds credentials"},
		"user in the sumdb":        {remote("https://p.test", "sum.test https://me@s.test"), "sumdb holds credentials"},
		"password in a fill":       {VersionFilled{ModuleVersion: mv, Content: content(1), Upstream: "https://me:hunter2@p.test"}, "upstream holds credentials"},
		"no members":               {virtual(), "1 to 64"},
		"member twice":             {virtual("a", "a"), "twice"},
		"deploy elsewhere":         {deploy, "not a member"},
		"user name":                {UserCreated{Name: "Ann"}, "may only"},
		"user name with a NUL":     {UserCreated{Name: "a\x00b"}, "may only"},
		"principal":                {PermissionChanged{Name: "p", Grant: Grant{Principals: []string{"ann"}}}, "none of"},
		"action":                   {PermissionChanged{Name: "p", Grant: Grant{Actions: []string{"fly"}}}, "none of"},
		"repository glob":          {PermissionChanged{Name: "p", Grant: Grant{Repos: []string{"a/b"}}}, "repository name"},
		"token without hash":       {TokenIssued{ID: "t", User: "ann"}, "hash"},
		"token in local time":      {TokenIssued{ID: "t", User: "ann", Hash: DigestOf(nil), Expires: time.Now().In(time.FixedZone("", 3600))}, "UTC"},
		"endless invitation":       {SiteInvited{Name: site("b"), Secret: DigestOf(nil)}, "end"},
		"invitation to all":        {SiteInvited{Name: site("b"), Expires: at(0)}, "secret"},
		"short key":                {SiteJoined{Name: site("b"), PublicKey: public(1)[:31]}, "32"},
		"short nonce":              {SiteJoined{Name: site("b"), PublicKey: public(1), Genesis: Genesis{Nonce: []byte{1}, Recovery: public(9)}}, "nonce"},
		"genesis without nonce":    {SiteJoined{Name: site("b"), PublicKey: public(1), Genesis: Genesis{Recovery: public(9)}}, "nonce"},
		"genesis without key":      {SiteJoined{Name: site("b"), PublicKey: public(1), Genesis: Genesis{Nonce: make([]byte, 32)}}, "recovery"},
		"forced from nowhere":      {HomeForced{To: site("b")}, "lost home"},
		"ceded to nobody":          {HomeCeded{}, "no site"},
		"tenure too far":           {HomeCeded{To: site("b"), Tenure: 255}, "tenure"},
		"tenure before the first":  {HomeCeded{To: site("b"), Tenure: -1}, "tenure"},
		"level":                    {FeatureRaised{}, "level"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := EncodeBody(tt.body)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want one with %q; data %s", err, tt.want, data)
			}
		})
	}
}
