package replication_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"registry-node/events"
	"registry-node/replication"
)

// A spoken message, and how to read and write one of its type.
type spoken struct {
	name   string // of its file
	value  any
	encode func() ([]byte, error)
	decode func([]byte) (any, error)
}

func speak[M replication.Message](name string, m M) spoken {
	return spoken{name, m,
		func() ([]byte, error) { return replication.Encode(m) },
		func(b []byte) (any, error) { return replication.Decode[M](b) },
	}
}

func logKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func mark(t testing.TB, s string) (m events.Mark) {
	t.Helper()
	if err := m.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return m
}

// conversation returns one message of each type, as sites a and b exchange them.
func conversation(t testing.TB) []spoken {
	t.Helper()
	a, b := siteNamed(t, "a"), siteNamed(t, "b")
	at := time.Date(2026, 11, 22, 13, 37, 6, 123e6, time.UTC)
	pos := events.Position{Site: a, Mark: mark(t, "1/12"), Hash: events.DigestOf([]byte("entry"))}
	repo, err := events.ParseRepoID("a/1/2/0")
	if err != nil {
		t.Fatal(err)
	}
	entries := [][]byte{[]byte(`{"v":1,"an":"entry"}`), []byte("line\nfeed"), bytes.Repeat([]byte("x"), 300)}
	head := replication.SignedHead{Registry: registryID, Position: pos, StateHash: replication.Sum{1, 2, 3}, Time: at}.Sign(logKey())
	return []spoken{
		speak("01-announcement", replication.Announcement{
			Site: b, Version: "v1.2.0", Level: 2, Time: at,
			Logs: []replication.LogState{
				{Position: pos, StateHash: replication.Sum{1, 2, 3}, Blobs: mark(t, "1/11")},
				{Position: events.Position{Site: b}},
			},
			Origin: []replication.SignedHead{head}, Peers: []events.Site{a},
			BlobsMissing: 3, BytesMissing: 4096, Conflicts: 1, Writable: true, FreeBytes: 1 << 40, TotalBytes: 1 << 41,
			Reasons: []string{"3 blobs of site a are missing <&>"},
		}),
		speak("02-log-request", replication.LogRequest{Site: a, After: mark(t, "1/9"), MaxBytes: 1 << 20}),
		speak("03-log-answer", replication.LogAnswer{Head: mark(t, "1/12"), Entries: entries}),
		speak("04-log-answer-empty", replication.LogAnswer{Head: mark(t, "1/12")}),
		speak("05-decide-request", replication.DecideRequest{ID: "r4nd0m", Op: "publish", Actor: "user:ann", Deadline: at, Body: json.RawMessage(`{"repo":"local"}`)}),
		speak("06-pulling", replication.Pulling{Done: 1 << 20, Total: 1 << 30}),
		speak("07-decide-answer", replication.DecideAnswer{Position: pos, Result: json.RawMessage(`{"h1":"x"}`)}),
		speak("08-decide-answer-refused", replication.DecideAnswer{Code: "exists", Text: "v1.0.0 is there with other content"}),
		speak("09-push-request", replication.PushRequest{Digest: events.DigestOf([]byte("blob")), Size: 4}),
		speak("10-push-answer", replication.PushAnswer{Held: true}),
		speak("11-sum-request", replication.SumRequest{Site: a, At: mark(t, "1/12"), Prefix: events.Bytes("v/")}),
		speak("12-sum-answer-children", replication.SumAnswer{OK: true, Children: []replication.SumChild{{Next: 'a', Rows: 70, Hash: replication.Sum{4}}, {Next: 'b', Rows: 1}}}),
		speak("13-sum-answer-rows", replication.SumAnswer{OK: true, Rows: []replication.SumRow{{Key: events.Bytes("v/a\x00"), Hash: replication.Sum{5}}}}),
		speak("14-version-request", replication.VersionRequest{Repo: repo, Module: "corp.example/x", Version: "v1.0.0"}),
		speak("15-version-answer", replication.VersionAnswer{Entries: entries[:1]}),
		speak("16-decide-request-seen", replication.DecideRequest{ID: "r4nd0m", Op: "unblock", Actor: "site:b", Deadline: at, Body: json.RawMessage(`{"module":"m.test/a"}`), Seen: []events.Position{pos}}),
	}
}

// The files in testdata are what sites say to each other. They are added to,
// never edited: a site that is upgraded talks to one that is not.
func TestConversation(t *testing.T) {
	for _, s := range conversation(t) {
		got, err := s.encode()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		file := filepath.Join("testdata", "wire", s.name)
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", s.name, got, want)
		}
		if back, err := s.decode(want); err != nil || !reflect.DeepEqual(back, s.value) {
			t.Errorf("%s: decodes to %+v, %v, want %+v", s.name, back, err, s.value)
		}
	}
}

func TestMessagesOfOtherVersions(t *testing.T) {
	for body, want := range map[string]string{
		`{"v":2,"held":true}`:          "upgrade this site",
		`{"v":0,"held":true}`:          "upgrade the site that sent it",
		`{"held":true}`:                "upgrade the site that sent it",
		`{"v":2,"held":"in new form"}`: "upgrade this site",
	} {
		_, err := replication.Decode[replication.PushAnswer]([]byte(body))
		if verr := (*replication.VersionError)(nil); !errors.As(err, &verr) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	m, err := replication.Decode[replication.PushAnswer]([]byte(`{"v":1,"held":true,"later":[1]}`))
	if err != nil || !m.Held {
		t.Errorf("field that is not known: %+v, %v", m, err)
	}
}

// What is out of bounds is neither sent nor taken.
func TestBoundsOfMessages(t *testing.T) {
	a := siteNamed(t, "a")
	for name, s := range map[string]spoken{
		"log without site":      speak("", replication.LogRequest{MaxBytes: 1}),
		"log of nothing":        speak("", replication.LogRequest{Site: a}),
		"log of too much":       speak("", replication.LogRequest{Site: a, MaxBytes: replication.MaxAnswer + 1}),
		"entry of nothing":      speak("", replication.LogAnswer{Entries: [][]byte{{}}}),
		"entry too large":       speak("", replication.LogAnswer{Entries: [][]byte{make([]byte, replication.MaxEntry+1)}}),
		"too many entries":      speak("", replication.VersionAnswer{Entries: make([][]byte, replication.MaxList+1)}),
		"answer too large":      speak("", replication.LogAnswer{Entries: slicesOf(make([]byte, replication.MaxEntry), 11)}),
		"decide without id":     speak("", replication.DecideRequest{Op: "x"}),
		"decide too large":      speak("", replication.DecideRequest{ID: "x", Op: "x", Body: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}),
		"too much was seen":     speak("", replication.DecideRequest{ID: "x", Op: "x", Seen: make([]events.Position, replication.MaxList+1)}),
		"invalid text":          speak("", replication.DecideAnswer{Text: "\xff"}),
		"push of nothing":       speak("", replication.PushRequest{}),
		"negative size":         speak("", replication.Pulling{Done: -1}),
		"too many rows":         speak("", replication.SumAnswer{Rows: make([]replication.SumRow, replication.MaxList+1)}),
		"children out of order": speak("", replication.SumAnswer{Children: make([]replication.SumChild, 2)}),
		"version of nothing":    speak("", replication.VersionRequest{}),
		"too many reasons":      speak("", replication.Announcement{Site: a, Reasons: make([]string, 17)}),
		"reason too long":       speak("", replication.Announcement{Site: a, Reasons: []string{strings.Repeat("x", 513)}}),
		"too many logs":         speak("", replication.Announcement{Site: a, Logs: make([]replication.LogState, replication.MaxList+1)}),
		"log twice":             speak("", replication.Announcement{Site: a, Logs: slicesOf(replication.LogState{Position: events.Position{Site: a}}, 2)}),
		"head without sig":      speak("", replication.Announcement{Site: a, Origin: []replication.SignedHead{{Registry: registryID, Position: events.Position{Site: a}}}}),
		"position without hash": speak("", replication.Announcement{Site: a, Logs: []replication.LogState{{Position: events.Position{Site: a, Mark: mark(t, "1/1")}}}}),
		"peer of no name":       speak("", replication.Announcement{Site: a, Peers: make([]events.Site, 1)}),
	} {
		if b, err := s.encode(); err == nil {
			t.Errorf("%s: encodes to %.200q", name, b)
		}
		if strings.HasPrefix(name, "entry") || strings.HasPrefix(name, "too many entries") || strings.HasPrefix(name, "answer") {
			continue // not JSON
		}
		body, err := json.Marshal(s.value)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.decode(append([]byte(`{"v":1,`), body[1:]...)); err == nil && name != "invalid text" {
			t.Errorf("%s: decodes to %+v", name, got)
		}
	}
	for name, tail := range map[string]string{"no line": "", "cut": "\n\x05ab", "empty": "\n\x00", "huge": "\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "varint": "\n\xff"} {
		if got, err := replication.Decode[replication.LogAnswer]([]byte(`{"v":1,"head":"1/1"}` + tail)); err == nil {
			t.Errorf("%s: decodes to %+v", name, got)
		}
	}
	if _, err := replication.Decode[replication.PushAnswer](bytes.Repeat([]byte(" "), replication.MaxMessage+1)); err == nil {
		t.Error("a message above the limit is read")
	}
}

func slicesOf[T any](v T, n int) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestSignedHead(t *testing.T) {
	key := logKey()
	pub := key.Public().(ed25519.PublicKey)
	h := replication.SignedHead{
		Registry: registryID, Position: events.Position{Site: siteNamed(t, "a"), Mark: mark(t, "1/12"), Hash: events.DigestOf([]byte("entry"))},
		StateHash: replication.Sum{1}, Time: time.Now().In(time.FixedZone("", 3600)),
	}.Sign(key)
	if err := h.Verify(pub); err != nil {
		t.Fatal(err)
	}
	b, err := replication.Encode(replication.Announcement{Site: siteNamed(t, "b"), Origin: []replication.SignedHead{h}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := replication.Decode[replication.Announcement](b)
	if err != nil || m.Origin[0].Verify(pub) != nil {
		t.Errorf("after a journey: %v, %v", err, m.Origin[0].Verify(pub))
	}
	for name, spoil := range map[string]func(*replication.SignedHead){
		"registry":   func(h *replication.SignedHead) { h.Registry[0]++ },
		"site":       func(h *replication.SignedHead) { h.Position.Site = siteNamed(t, "b") },
		"place":      func(h *replication.SignedHead) { h.Position.Mark.Seq++ },
		"epoch":      func(h *replication.SignedHead) { h.Position.Mark.Epoch++ },
		"hash":       func(h *replication.SignedHead) { h.Position.Hash[0]++ },
		"state hash": func(h *replication.SignedHead) { h.StateHash[31]++ },
		"time":       func(h *replication.SignedHead) { h.Time = h.Time.Add(time.Millisecond) },
		"signature":  func(h *replication.SignedHead) { h.Sig[0]++ },
		"none":       func(h *replication.SignedHead) { h.Sig = nil },
	} {
		bad := h
		bad.Sig = bytes.Clone(h.Sig)
		spoil(&bad)
		if bad.Verify(pub) == nil {
			t.Errorf("with another %s it verifies", name)
		}
	}
	if h.Verify(nil) == nil {
		t.Error("verifies with no key")
	}
}

// What is decoded is within bounds and says the same when it is sent on.
func FuzzDecode(f *testing.F) {
	all := conversation(f)
	for i, s := range all {
		b, err := s.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		kind := all[int(i)%len(all)]
		m, err := kind.decode(b)
		if err != nil {
			return
		}
		again, err := encodeAny(m)
		if err != nil {
			t.Fatalf("%+v can't be sent: %v", m, err)
		}
		back, err := kind.decode(again)
		if err != nil {
			t.Fatalf("%q can't be read: %v", again, err)
		}
		if third, err := encodeAny(back); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%q, then %q, %v", again, third, err)
		}
	})
}

func encodeAny(m any) ([]byte, error) {
	switch m := m.(type) {
	case replication.Announcement:
		return replication.Encode(m)
	case replication.LogRequest:
		return replication.Encode(m)
	case replication.LogAnswer:
		return replication.Encode(m)
	case replication.DecideRequest:
		return replication.Encode(m)
	case replication.DecideAnswer:
		return replication.Encode(m)
	case replication.Pulling:
		return replication.Encode(m)
	case replication.PushRequest:
		return replication.Encode(m)
	case replication.PushAnswer:
		return replication.Encode(m)
	case replication.SumRequest:
		return replication.Encode(m)
	case replication.SumAnswer:
		return replication.Encode(m)
	case replication.VersionRequest:
		return replication.Encode(m)
	case replication.VersionAnswer:
		return replication.Encode(m)
	}
	return nil, fmt.Errorf("%T is no message", m)
}
