package httpapi_test

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"registry-node/httpapi"
)

func TestParsePath(t *testing.T) {
	tests := []struct {
		path string
		want httpapi.Request
	}{
		{"m.test/a/@v/list", httpapi.Request{Ask: httpapi.List{Module: "m.test/a"}}},
		{"m.test/a/@latest", httpapi.Request{Ask: httpapi.Latest{Module: "m.test/a"}}},
		{"m.test/!a!b/@v/v1.0.0-!r!c.info", httpapi.Request{Ask: httpapi.Info{Module: "m.test/AB", Query: "v1.0.0-RC"}}},
		{"m.test/a/@v/main.info", httpapi.Request{Ask: httpapi.Info{Module: "m.test/a", Query: "main"}}},
		{"m.test/a/@v/list.info", httpapi.Request{Ask: httpapi.Info{Module: "m.test/a", Query: "list"}}},
		{"m.test/a/@v/v1.0.0.zip.info", httpapi.Request{Ask: httpapi.Info{Module: "m.test/a", Query: "v1.0.0.zip"}}},
		{"m.test/a/@v/v2.0.0+incompatible.mod", httpapi.Request{Ask: httpapi.Mod{Version: module.Version{Path: "m.test/a", Version: "v2.0.0+incompatible"}}}},
		{"m.test/a/@v/v1.0.0.zip", httpapi.Request{Ask: httpapi.Zip{Version: module.Version{Path: "m.test/a", Version: "v1.0.0"}}}},
		{"cached-only/m.test/a/@v/list", httpapi.Request{HeldOnly: true, Ask: httpapi.List{Module: "m.test/a"}}},
		{"sumdb/sum.test/tile/8/0/x001/234.p/5", httpapi.Request{Ask: httpapi.Sumdb{Rest: "sum.test/tile/8/0/x001/234.p/5"}}},
		{"sumdb/sum.test/lookup/m.test/!a@v1.0.0", httpapi.Request{Ask: httpapi.Sumdb{Rest: "sum.test/lookup/m.test/!a@v1.0.0"}}},
	}
	for _, tt := range tests {
		got, err := httpapi.ParsePath(tt.path)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParsePath(%q) = %+v, %v; want %+v", tt.path, got, err, tt.want)
		}
		if back := got.Path(); back != tt.path {
			t.Errorf("ParsePath(%q).Path() = %q", tt.path, back)
		}
		encoded := strings.NewReplacer("!", "%21", "a", "%61", "@", "%40").Replace(tt.path)
		if got, err := httpapi.ParsePath(encoded); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParsePath(%q) = %+v, %v; want %+v", encoded, got, err, tt.want)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, p := range []string{
		"m.test/a/@v/list", "m.test/!a/@latest", "m.test/a/@v/v1.0.0-!r.info", "m.test/a/@v/v1.0.0.mod", "m.test/a/@v/v1.0.0.zip",
		"cached-only/m.test/a/@v/main.info", "sumdb/sum.test/supported", "m.test/%21a/@v/%6cist", "m.test/@v/x/@v/list", "a//b", "..", "%2e%2E/@v/list",
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		q, err := httpapi.ParsePath(p)
		if err != nil {
			return
		}
		path := q.Path()
		if !strings.Contains(p, "%") && path != p {
			t.Errorf("ParsePath(%q) = %+v, whose path is %q", p, q, path)
		}
		if back, err := httpapi.ParsePath(path); err != nil || !reflect.DeepEqual(back, q) {
			t.Errorf("ParsePath(%q) = %+v, whose path %q parses to %+v, %v", p, q, path, back, err)
		}
	})
}
