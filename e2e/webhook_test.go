package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestKilledNodeTellsWebhooksEverything kills a node while a receiver has an event
// and has not answered, and again while it is down: it is told of all that happened,
// in order, and what it is told twice it is told under one id.
func TestKilledNodeTellsWebhooksEverything(t *testing.T) {
	var mu sync.Mutex
	var told []string // modules, but repetitions
	ids := map[string]string{}
	hold := make(chan string, 1) // the module whose event is not answered
	held := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var e struct{ ID, Module string }
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("%v: %s", err, body)
		}
		mu.Lock()
		if id, again := ids[e.Module]; again && id != e.ID {
			t.Errorf("%s is told as %s and as %s", e.Module, id, e.ID)
		} else if !again {
			ids[e.Module] = e.ID
			told = append(told, e.Module)
		}
		mu.Unlock()
		select {
		case m := <-hold:
			if m != e.Module {
				hold <- m
				return
			}
			close(held)
			<-r.Context().Done()
		default:
		}
	}))
	defer srv.Close()

	s := serve(t, "GOPROXY=off")
	s.must("secret", "set", "hook", "--kind", "webhook", "--generate", "--data", s.dir)
	s.must("webhook", "set", "ci", "--url", srv.URL, "--secret", "hook", "--types", "version.blocked")
	var want []string
	state := func(n int) {
		for range n {
			m := fmt.Sprintf("evil.example/m%d", len(want))
			if a, err := send(http.MethodPost, s.URL+"/api/v1/blocks", fmt.Appendf(nil, `{"module":%q,"reason":"a test"}`, m)); err != nil || a.status/100 != 2 {
				t.Fatalf("block: %v %v", a, err)
			}
			want = append(want, m)
		}
	}
	hold <- "evil.example/m7"
	state(20)
	<-held
	s.kill()
	s.start()
	state(20)
	s.kill() // wherever it is
	s.start()
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(5 * time.Millisecond) {
		mu.Lock()
		done := slices.Equal(told, want)
		mu.Unlock()
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("told of %s\nwant %s", strings.Join(told, " "), strings.Join(want, " "))
		}
	}
}
