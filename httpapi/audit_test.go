package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"registry-node/httpapi"
)

func auditFile(dir string) string {
	return filepath.Join(dir, time.Now().UTC().Format(time.DateOnly)+".ndjson")
}

// auditLines returns the lines in today's file.
func auditLines(t testing.TB, dir string) (lines []httpapi.Audit) {
	t.Helper()
	text, err := os.ReadFile(auditFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		lines = append(lines, decode[httpapi.Audit](t, string(line)))
	}
	return lines
}

// auditDays returns a log that keeps files for some days, in a directory which has
// files of lines of more days than that, each cut at its end.
func auditDays(t *testing.T, dir string, days, more int) *httpapi.AuditLog {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for ago := range days + more {
		at := time.Now().UTC().AddDate(0, 0, -ago)
		line, err := json.Marshal(httpapi.Audit{Time: at.Add(-time.Second), Action: "publish", Outcome: "done", Name: fmt.Sprint(ago), Module: "corp.test/a"})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, at.Format(time.DateOnly)+".ndjson"), append(line, "\n{\"time\":\"2"...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := httpapi.NewAuditLog(httpapi.AuditConfig{Dir: dir, Days: days})
	if err := log.Open(nil); err != nil {
		t.Fatal(err)
	}
	return log
}

// tally counts lines by outcome, and those that are missing.
func tally(lines []httpapi.Audit) (done, refused int, dropped int64) {
	for _, a := range lines {
		switch {
		case a.Dropped > 0:
			dropped += a.Dropped
		case a.Outcome == "done":
			done++
		default:
			refused++
		}
	}
	return done, refused, dropped
}

func done(i int) httpapi.Audit {
	return httpapi.Audit{Action: "publish", Outcome: "done", Status: 201, Version: fmt.Sprintf("v1.0.%d", i)}
}

var refusedLine = httpapi.Audit{Action: "publish", Outcome: "refused", Status: 403}

// TestWhatWasDoneIsKept holds that a flood of refused requests costs their own
// lines, which are counted, and none of those that were done.
func TestWhatWasDoneIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	log := httpapi.NewAuditLog(httpapi.AuditConfig{Dir: dir})
	for i := range 10_000 {
		log.Note(refusedLine)
		if i%20 == 0 {
			log.Note(done(i))
		}
	}
	if err := log.Open(nil); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	n, refused, dropped := tally(auditLines(t, dir))
	if n != 500 || refused == 0 || int64(refused)+dropped != 10_000 || dropped < 5000 {
		t.Errorf("%d done, %d refused, %d dropped", n, refused, dropped)
	}
	for path, mode := range map[string]os.FileMode{dir: os.ModeDir | 0o700, auditFile(dir): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// TestFullDiskKeepsWhatWasDone holds that lines of what was done are written into
// the last of the room, wait where nothing can be written at all, and are told to
// the node's log if that goes on to the end.
func TestFullDiskKeepsWhatWasDone(t *testing.T) {
	for _, mended := range []bool{true, false} {
		t.Run(fmt.Sprint("mended ", mended), func(t *testing.T) {
			dir := t.TempDir()
			var told lockedBuffer
			synctest.Test(t, func(t *testing.T) {
				var full atomic.Bool
				log := httpapi.NewAuditLog(httpapi.AuditConfig{Dir: dir, Logger: slog.New(slog.NewTextHandler(&told, nil))})
				err := log.Open(func() error {
					if full.Load() {
						return errors.New("no room")
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				second := func() {
					time.Sleep(time.Second + time.Millisecond) // by the clock of the bubble
					synctest.Wait()
				}
				full.Store(true)
				log.Note(done(1))
				second()
				log.Note(refusedLine)
				log.Note(done(2))
				second()
				if n, refused, _ := tally(auditLines(t, dir)); n != 2 || refused != 0 {
					t.Errorf("on a full disk: %d done, %d refused", n, refused)
				}
				full.Store(false)
				time.Sleep(24 * time.Hour)
				if err := os.Mkdir(auditFile(dir), 0o700); err != nil { // the day's file can't be written
					t.Fatal(err)
				}
				log.Note(done(3))
				log.Note(refusedLine)
				second()
				log.Note(done(4))
				second()
				if mended {
					if err := os.Remove(auditFile(dir)); err != nil {
						t.Fatal(err)
					}
					second()
					n, refused, dropped := tally(auditLines(t, dir))
					if n != 2 || refused != 0 {
						t.Errorf("afterwards: %d done, %d refused, %d dropped", n, refused, dropped)
					}
				}
				if err := log.Close(); err != nil {
					t.Error(err)
				}
			})
			logged := told.String()
			if !strings.Contains(logged, "no room") || !strings.Contains(logged, "is a directory") {
				t.Errorf("the node's log does not tell what is wrong:\n%s", logged)
			}
			if got := strings.Count(logged, `\"version\":\"v1.0.`); mended && got != 0 || !mended && got != 2 {
				t.Errorf("the node's log has %d lines:\n%s", got, logged)
			}
		})
	}
}

// TestFailedLoginsAreSummedUp: a burst of them from one address is two lines.
func TestFailedLoginsAreSummedUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		log := httpapi.NewAuditLog(httpapi.AuditConfig{Dir: dir})
		if err := log.Open(nil); err != nil {
			t.Fatal(err)
		}
		fail := func(client string, n int) {
			for range n {
				log.FailedLogin(httpapi.Audit{Outcome: "refused", Status: 401, Client: client})
			}
		}
		fail("192.0.2.1", 100)
		fail("192.0.2.2", 1)
		fail("192.0.2.3", 4)
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		fail("192.0.2.1", 10)
		time.Sleep(time.Minute)
		fail("192.0.2.1", 1)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, a := range auditLines(t, dir) {
			got[a.Client] += fmt.Sprintf("%s %d, ", a.Action, a.Count)
		}
		for client, want := range map[string]string{
			"192.0.2.1": "login.failed 0, login.failed 99, login.failed 10, login.failed 0, ", "192.0.2.2": "login.failed 0, ", "192.0.2.3": "login.failed 0, login.failed 3, ",
		} {
			if got[client] != want {
				t.Errorf("%s: %s want %s", client, got[client], want)
			}
		}
		for i := range 3000 { // from everywhere
			log.FailedLogin(httpapi.Audit{Client: fmt.Sprint("2001:db8::", i), Outcome: "refused"})
		}
		if sums := log.Sums(); sums > 1025 {
			t.Errorf("%d addresses are remembered", sums)
		}
	})
}

// TestAuditTexts: whatever texts are, a line is short, printable, and holds nothing
// that looks like a secret.
func TestAuditTexts(t *testing.T) {
	dir := t.TempDir()
	log := httpapi.NewAuditLog(httpapi.AuditConfig{Dir: dir})
	if err := log.Open(nil); err != nil {
		t.Fatal(err)
	}
	const token = "rn_tabcdefghijk_abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz2"
	texts := []string{
		"a\nb\r\x1b[31mred\x00\x7f\u0085\u202e\u2028", strings.Repeat("é", 1000), strings.Repeat("\xff", 3), strings.Repeat("x", 500) + token,
		"see " + token, strings.ToUpper(token), "rnj1_abcDEF-_0", "https://ann:hunter2@git.test/x", "Bearer abc.def", "eyJhbGciOi.eyJzdWIi.c2ln", strings.Repeat("y", 1<<20),
	}
	for _, text := range texts {
		log.Note(httpapi.Audit{Action: "block", Outcome: "done", Reason: text, Name: text, Module: text, Actor: text})
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(auditFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n != len(texts) {
		t.Errorf("%d lines", n)
	}
	for _, secret := range []string{"abcdefghijklmnop", "ABCDEFGHIJKLMNOP", "abcDEF", "hunter2", "abc.def", "c2ln"} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s is in the log", secret)
		}
	}
	if !bytes.Contains(text, []byte("rn_tabcdefghijk_[redacted]")) {
		t.Error("the id of the token is not in the log")
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil || bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x202e || r == 0x2028 }) {
			t.Errorf("%v: line %q", err, line)
		}
		for key, v := range fields {
			if s, ok := v.(string); ok && len(s) > 512 {
				t.Errorf("%s has %d bytes", key, len(s))
			}
		}
	}
}
