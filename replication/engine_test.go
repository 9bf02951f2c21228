package replication

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"registry-node/events"
)

// TestAskTellsDeadFromSlow plays a stream that behaves as JetStream does after a
// failed write, or on a disk that is stuck.
func TestAskTellsDeadFromSlow(t *testing.T) {
	eng, err := startEngine(Config{Dir: t.TempDir(), Site: site(t), Logger: slog.New(slog.DiscardHandler), ReadTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.stop()
	var held *nats.Msg // of "slow": what it has not answered yet
	for subject, answers := range map[string]func(m *nats.Msg) bool{
		"dead": func(m *nats.Msg) bool { return m.Header.Get("Nats-Expected-Stream") != "" },
		"slow": func(m *nats.Msg) bool {
			if held == nil {
				held = m
				return false
			}
			return held.Respond(nil) == nil // in order: first the first
		},
		"stuck": func(*nats.Msg) bool { return false },
	} {
		_, err := eng.r.Subscribe(subject, func(m *nats.Msg) {
			if answers(m) {
				_ = m.Respond(nil)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := eng.r.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		subject string
		want    error
	}{
		{"dead", errWriteDead},
		{"slow", nil},
		{"stuck", context.DeadlineExceeded},
		{"nobody", errWriteDead},
	} {
		patience := time.Minute // which only a fault needs, and a stuck disk
		if tt.subject == "stuck" {
			patience = 2 * quiet
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := eng.ask(ctx, nats.NewMsg(tt.subject))
		cancel()
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: ask = %v, want %v", tt.subject, err, tt.want)
		}
	}
}

func TestEngineSyncsEveryWriteAndListensNowhere(t *testing.T) {
	l, err := Open(t.Context(), Config{Dir: t.TempDir(), Site: site(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	srv := l.stream.Load().eng.srv
	if js := srv.JetStreamConfig(); !js.SyncAlways || js.MaxStore < 1<<50 {
		t.Errorf("JetStream runs with %+v, want SyncAlways and no limit", js)
	}
	if srv.Addr() != nil || srv.MonitorAddr() != nil {
		t.Errorf("the server listens on %v, %v", srv.Addr(), srv.MonitorAddr())
	}
}

// TestNewBlocksAreNoticed: the name of each new block file must be synced.
func TestNewBlocksAreNoticed(t *testing.T) {
	l, err := Open(t.Context(), Config{Dir: t.TempDir(), Site: site(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for n := uint64(1); n <= 30; n++ {
		if err := l.Append(t.Context(), n, make([]byte, MaxEntry)); err != nil {
			t.Fatal(err)
		}
		b := l.stream.Load().blks
		if newest, err := newestBlock(b.dir); err != nil || b.newest != newest {
			t.Fatalf("after entry %d: block %d is known, the newest is %d, %v", n, b.newest, newest, err)
		}
	}
	if l.stream.Load().blks.newest < 3 {
		t.Error("the entries did not fill two blocks")
	}
}

func site(t *testing.T) events.Site {
	t.Helper()
	s, err := events.ParseSite("a")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
