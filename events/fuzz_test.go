package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"strings"
	"testing"

	"registry-node/events"
)

// What is taken as an entry is read the same by any reader of JSON: by one that
// takes the last of several keys and by one that takes the first, by one whose
// numbers are floating point, and by this package again.
func FuzzDecodeEntry(f *testing.F) {
	f.Add(sealed(f, "1/5", samples()...).Raw)
	for _, b := range samples() {
		f.Add(sealed(f, "1/5", b).Raw)
	}
	f.Add(entryWith(oneEvent))
	f.Add(entryWith(`[{"type":"x","data":{"a":[true,-7,"\u2028\n😀",{"b":{}}]},"later":null}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := events.DecodeEntry(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Raw, raw) || e.Position.Hash != events.DigestOf(raw) {
			t.Fatalf("keeps %q", e.Raw)
		}
		if again, err := events.DecodeEntry(bytes.Clone(raw)); err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("decodes to %+v, then to %+v, %v", e, again, err)
		}
		checkPlainJSON(t, raw)
		var generic map[string]any
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(&generic); err != nil {
			t.Fatal(err)
		}
		for field, got := range map[string]string{
			"registry": e.Registry.String(), "site": e.Position.Site.String(), "epoch": fmt.Sprint(e.Position.Mark.Epoch),
			"seq": fmt.Sprint(e.Position.Mark.Seq), "prev": e.Prev.String(), "time": e.Time.Format("2006-01-02T15:04:05.000Z07:00"),
		} {
			if fmt.Sprint(generic[field]) != got {
				t.Errorf("%s is %s, in JSON it is %v", field, got, generic[field])
			}
		}
		for i, ev := range e.Events {
			checkEvent(t, ev, generic["events"].([]any)[i].(map[string]any))
		}
		e.CloudEvents()
	})
}

func checkEvent(t *testing.T, ev events.Event, generic map[string]any) {
	if generic["type"] != string(ev.Type) {
		t.Errorf("type is %q, in JSON it is %v", ev.Type, generic["type"])
	}
	if ev.Body == nil {
		return
	}
	data, err := events.EncodeBody(ev.Body)
	if err != nil {
		t.Fatalf("%s decodes to what can't be encoded: %v", ev.Data, err)
	}
	if got := decodeData(t, ev.Type, data); !sameBody(got, ev.Body) {
		t.Errorf("%s is read as\n%#v, written as %s and then read as\n%#v", ev.Data, ev.Body, data, got)
	}
	want := reflect.New(reflect.TypeOf(ev.Body))
	if err := json.Unmarshal(ev.Data, want.Interface()); err != nil {
		t.Fatalf("%s: %v", ev.Data, err)
	}
	if !sameBody(want.Elem().Interface().(events.Body), ev.Body) {
		t.Errorf("%s is read as\n%#v, by encoding/json as\n%#v", ev.Data, ev.Body, want.Elem())
	}
	c, changed, err := events.Apply(nil, ev)
	if err != nil || !changed {
		t.Fatalf("changed %t, %v", changed, err)
	}
	if back, err := events.DecodeContribution(c.Encode()); err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%s\nis read back as\n%+v, %v, want\n%+v", c.Encode(), back, err, c)
	}
	k := ev.Body.Key(ev.ID)
	if back, err := events.ParseKey(k.Bytes()); err != nil || back != k {
		t.Errorf("key %q is read back as %q, %v", k, back, err)
	}
}

// sameBody compares bodies, where an empty list is as good as none.
func sameBody(a, b events.Body) bool {
	return reflect.DeepEqual(a, b) || bytes.Equal(must(events.EncodeBody(a)), must(events.EncodeBody(b)))
}

// checkPlainJSON walks the tokens of raw: no repeated key, no null, and numbers
// that floating point holds.
func checkPlainJSON(t *testing.T, raw []byte) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var walk func()
	next := func() json.Token {
		tok, err := dec.Token()
		if err != nil {
			t.Fatalf("%v in %q", err, raw)
		}
		return tok
	}
	walk = func() {
		switch tok := next(); v := tok.(type) {
		case nil:
			t.Fatalf("null in %q", raw)
		case json.Number:
			if n, err := v.Float64(); err != nil || fmt.Sprintf("%.0f", n) != v.String() {
				t.Fatalf("number %v in %q", v, raw)
			}
		case json.Delim:
			seen := map[string]bool{}
			for dec.More() {
				if v == '{' {
					key := next().(string)
					if seen[key] || key != strings.ToLower(key) {
						t.Fatalf("key %q in %q", key, raw)
					}
					seen[key] = true
				}
				walk()
			}
			next()
		}
	}
	walk()
	if int(dec.InputOffset()) != len(raw) {
		t.Fatalf("%d bytes behind the value in %q", len(raw)-int(dec.InputOffset()), raw)
	}
}

func FuzzDecodeContribution(f *testing.F) {
	h := newHistory(7)
	for _, cs := range must(fold(h.delivery(h.rng))) {
		f.Add(cs[0].Facts.Encode())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := events.DecodeContribution(b)
		if err != nil || len(b) == 0 {
			return
		}
		if back := c.Encode(); !bytes.Equal(back, b) {
			t.Errorf("%q is written as %q", b, back)
		}
	})
}

func FuzzPatternMatch(f *testing.F) {
	for _, p := range []string{"corp.test/**", "*/b", "**/x/**/y", "a?c/*", "a/**/b/**/c/**"} {
		f.Add(p, "corp.test/a/b/x/y")
		f.Add(p, "a/b/c")
	}
	f.Fuzz(func(t *testing.T, text, modulePath string) {
		p, err := events.ParsePattern(text)
		if err != nil {
			return
		}
		if p.String() != text {
			t.Fatalf("%q is written as %q", text, p)
		}
		elems := strings.Split(modulePath, "/")
		if strings.Contains("/"+modulePath+"/", "//") || len(elems) > 12 {
			return // no module path
		}
		want := false
		for n := range len(elems) + 1 {
			want = want || matchWhole(strings.Split(text, "/"), elems[:n])
		}
		if p.Match(modulePath) != want {
			t.Errorf("%s matches %s: %t, want %t", p, modulePath, !want, want)
		}
	})
}

// matchWhole is the reference: whether the pattern's elements match all elements.
func matchWhole(pattern, elems []string) bool {
	if len(pattern) == 0 {
		return len(elems) == 0
	}
	if pattern[0] == "**" {
		return matchWhole(pattern[1:], elems) || len(elems) > 0 && matchWhole(pattern, elems[1:])
	}
	if len(elems) == 0 {
		return false
	}
	ok, _ := path.Match(pattern[0], elems[0])
	return ok && matchWhole(pattern[1:], elems[1:])
}

// Every text that a parser takes is the text of what it returns.
func FuzzTextForms(f *testing.F) {
	for _, s := range []string{"a/1/2/0", "1/2", "0/0", events.DigestOf(nil).String(), events.HashMod(nil).String(), "oslo-2", "1/2/", "+1/2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var m events.Mark
		markErr := m.UnmarshalText([]byte(s))
		id, idErr := events.ParseEventID(s)
		digest, digestErr := events.ParseDigest(s)
		h1, h1Err := events.ParseH1(s)
		name, nameErr := events.ParseSite(s)
		for what, v := range map[string]struct {
			err  error
			back string
		}{
			"mark": {markErr, m.String()}, "event id": {idErr, id.String()}, "digest": {digestErr, digest.String()},
			"h1": {h1Err, h1.String()}, "site": {nameErr, name.String()},
		} {
			if v.err == nil && v.back != s {
				t.Errorf("%s %q is written as %q", what, s, v.back)
			}
		}
		if idErr == nil && (id.IsZero() || id.Site.IsZero() || id.Mark.IsZero()) {
			t.Errorf("%q is no event: %+v", s, id)
		}
	})
}
