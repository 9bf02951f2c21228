package httpapi_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"registry-node/httpapi"
	"registry-node/node"
)

// arrival is a zip of which more comes when the test says so.
type arrival struct {
	*bytes.Reader
	here  int64           // how much of it is here from the start
	rest  <-chan struct{} // closed when the rest is here
	fails error           // the rest never comes
	waits chan<- struct{} // told when a Read waits
}

func (a *arrival) Read(p []byte) (int, error) {
	at := a.Size() - int64(a.Len())
	if at < a.here {
		return a.Reader.Read(p[:min(int64(len(p)), a.here-at)])
	}
	if a.fails != nil {
		return 0, a.fails
	}
	select {
	case a.waits <- struct{}{}:
	default:
	}
	<-a.rest
	return a.Reader.Read(p)
}

// serveArrival serves one, over HTTP/1.1 or HTTP/2, and returns a client for it.
// What the handler returned is sent to ended.
func serveArrival(t *testing.T, a *arrival, h2 bool, configure ...func(*httpapi.Server)) (c *http.Client, url string, ended <-chan error) {
	t.Helper()
	g := newRegistry(t, configure...)
	results := make(chan error, 10)
	s := httptest.NewUnstartedServer(g.server.ServeArriving(a, func(err error) { results <- err }))
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Client(), s.URL + "/arriving", results
}

func content(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n/16) }

// TestArrivingIsPassedOnAtOnce reads the first part before the rest is here.
func TestArrivingIsPassedOnAtOnce(t *testing.T) {
	text := content(1 << 20)
	rest := make(chan struct{})
	a := &arrival{Reader: bytes.NewReader(text), here: 300_000, rest: rest}
	c, url, _ := serveArrival(t, a, false)
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 256<<10)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	close(rest)
	last, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(append(first, last...), text) {
		t.Errorf("%d bytes, %v, want %d", len(first)+len(last), err, len(text))
	}
}

// TestArrivingThatFailsIsCut never lets a client take a part for the whole.
func TestArrivingThatFailsIsCut(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, here := range []int64{0, 1000, 300_000} {
			fails := &node.Error{Kind: node.ErrUpstream, Text: "the peer gave other bytes"}
			a := &arrival{Reader: bytes.NewReader(content(1 << 20)), here: here, fails: fails}
			c, url, ended := serveArrival(t, a, h2)
			resp, err := c.Get(url)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Errorf("HTTP/2 %v, %d bytes here: the body ends as if it were whole", h2, here)
			}
			if err := <-ended; !errors.Is(err, node.ErrUpstream) {
				t.Errorf("HTTP/2 %v, %d bytes here: the handler returned %v", h2, here, err)
			}
		}
	}
}

func TestArrivingRanges(t *testing.T) {
	text := content(100_000)
	a := &arrival{Reader: bytes.NewReader(text), here: int64(len(text))}
	c, url, _ := serveArrival(t, a, false)
	for _, tt := range []struct {
		header string
		status int
		want   []byte
	}{
		{"bytes=10-19", http.StatusPartialContent, text[10:20]},
		{"bytes=-16", http.StatusPartialContent, text[len(text)-16:]},
		{"bytes=0-0,5-6", http.StatusOK, text}, // one read at a time
		{"bytes=100000-", http.StatusRequestedRangeNotSatisfiable, nil},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", tt.header)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || tt.want != nil && !bytes.Equal(got, tt.want) {
			t.Errorf("Range %s: %d, %d bytes, %v", tt.header, resp.StatusCode, len(got), err)
		}
	}
}

// TestArrivingMayTakeLongerThanAClient waits for the rest longer than a client
// may take to read.
func TestArrivingMayTakeLongerThanAClient(t *testing.T) {
	const pace = 500 * time.Millisecond // a process may stand still for a good part of that
	text := content(1 << 20)
	rest, waits := make(chan struct{}), make(chan struct{}, 1)
	a := &arrival{Reader: bytes.NewReader(text), here: 300_000, rest: rest, waits: waits}
	c, url, _ := serveArrival(t, a, false, func(s *httpapi.Server) { s.SetPace(pace) })
	time.AfterFunc(0, func() {
		<-waits
		time.Sleep(2 * pace) // what the test is about
		close(rest)
	})
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v, want %d", len(got), err, len(text))
	}
}

// TestArrivingForAClientThatDoesNotRead ends by the pace.
func TestArrivingForAClientThatDoesNotRead(t *testing.T) {
	text := content(64 << 20) // more than sockets buffer
	a := &arrival{Reader: bytes.NewReader(text), here: int64(len(text))}
	g := newRegistry(t, func(s *httpapi.Server) { s.SetPace(100 * time.Millisecond) })
	ended := make(chan error, 1)
	s := httptest.NewServer(g.server.ServeArriving(a, func(err error) { ended <- err }))
	t.Cleanup(s.Close)
	resp, err := s.Client().Get(s.URL + "/arriving")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-ended
	if got, err := io.Copy(io.Discard, resp.Body); err == nil || got == int64(len(text)) {
		t.Errorf("%d bytes, %v", got, err)
	}
}
