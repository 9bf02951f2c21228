package upstream_test

import (
	"strings"
	"testing"

	"registry-node/node/upstream"
)

func TestParseList(t *testing.T) {
	for _, test := range []struct {
		in, want    string // want: String
		direct, off bool
	}{
		{in: "https://a.test", want: "https://a.test"},
		{in: "a.test", want: "https://a.test"},
		{in: "a.test/go/all/", want: "https://a.test/go/all/"},
		{in: "localhost:3000", want: "https://localhost:3000"},
		{in: "http://a.test:81/x,https://b.test|c.test", want: "http://a.test:81/x,https://b.test|https://c.test"},
		{in: " http://a.test , ,| http://b.test ,", want: "http://a.test,http://b.test"},
		{in: "file:///srv/mod", want: "file:///srv/mod"},
		{in: "http://a.test,direct", want: "http://a.test,direct", direct: true},
		{in: "http://a.test|direct,::not an url", want: "http://a.test|direct", direct: true},
		{in: "http://a.test,off,http://b.test", want: "http://a.test,off", off: true},
		{in: "off", want: "off", off: true},
		{in: "https://u:secret@a.test/x", want: "https://xxxxx@a.test/x"},
		{in: "https://secret@a.test", want: "https://xxxxx@a.test"},
		{in: ""},
		{in: " , | "},
		{in: "direct"},
		{in: "direct,https://a.test"},
		{in: "proxy"},
		{in: "/srv/mod"},
		{in: "ftp://a.test"},
		{in: "https://"},
		{in: "https:a.test"},
		{in: "file://host/srv"},
		{in: "file:srv"},
		{in: "http://u:secret@a.test"},
		{in: "https://u:secret@a.test:port"},
		{in: "https://u:secret@a.test/%zz"},
		{in: "https://a.test?token=secret"},
		{in: "https://a.test#secret"},
	} {
		l, err := upstream.ParseList(test.in)
		if test.want == "" {
			if err == nil {
				t.Errorf("ParseList(%q) = %s, want an error", test.in, l)
			} else if strings.Contains(err.Error(), "secret") {
				t.Errorf("ParseList(%q): the error shows a secret: %v", test.in, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseList(%q): %v", test.in, err)
			continue
		}
		if l.String() != test.want || l.EndsInDirect() != test.direct || l.EndsInOff() != test.off {
			t.Errorf("ParseList(%q) = %s, direct %v, off %v; want %s, %v, %v",
				test.in, l, l.EndsInDirect(), l.EndsInOff(), test.want, test.direct, test.off)
		}
	}
}

func TestListWithCredentialsIsNotRecorded(t *testing.T) {
	l := parseList(t, "https://a.test,https://user:secret@b.test")
	text, err := l.MarshalText()
	if err == nil || !l.HasCredentials() || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "user") {
		t.Errorf("MarshalText = %q, %v; want an error without the secret", text, err)
	}
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{"a.test,b.test|direct", "file:///x|off", "https://u:p@a.test", " ,|", "http://[::1]:80/a%2fb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := upstream.ParseList(s)
		if err != nil {
			return
		}
		if l.HasCredentials() {
			return
		}
		text, err := l.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var same upstream.List
		if err := same.UnmarshalText(text); err != nil || same.String() != l.String() {
			t.Fatalf("%q: text %q gives %s, %v; want %s", s, text, same, err, l)
		}
		// The normal form is one of its own.
		if norm, err := upstream.ParseList(l.String()); err != nil || norm.String() != l.String() {
			t.Fatalf("%q: normal form %q gives %s, %v", s, l, norm, err)
		}
	})
}

func parseList(t testing.TB, s string) upstream.List {
	t.Helper()
	l, err := upstream.ParseList(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
