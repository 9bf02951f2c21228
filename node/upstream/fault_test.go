package upstream_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"registry-node/node/upstream"
)

// status answers with a status and a text.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Error(w, "says so", code) }
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }
}

// raw answers with bytes as they are, and then does with the connection what end
// says.
func raw(text string, end func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, text)
		end(conn)
	}
}

func cut(conn net.Conn) { conn.Close() }

func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

func endless(start string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, start)
		block := []byte(strings.Repeat("v1.0.0 aaaaaaaaa\n", 4096))
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
}

func stall(start string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if start != "" {
			io.WriteString(w, start)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
}

// drip sends without ever stalling and without end.
func drip(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		io.WriteString(w, "v1.0.0\n")
		w.(http.Flusher).Flush()
		select {
		case <-time.After(5 * time.Millisecond):
		case <-r.Context().Done():
		}
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

func gzipped(text string, cut int) http.HandlerFunc {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(b.Bytes()[:b.Len()-cut])
	}
}

// bomb is 64 MiB of a version in some KiB.
var bomb = gzipped(strings.Repeat("v1.0.0 aaaaaaaaa\n", 4<<20), 0)

const (
	html      = "<!DOCTYPE html>\n<html><body>Please log in\nmodule x\nv1.0.0\n"
	shortList = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nv1.0.0\nv1.1"
	openList  = "HTTP/1.0 200 OK\r\n\r\nv1.0.0\nv1.1" // ends with the connection
	chunked   = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nv1.0.0\n\r\n"
)

func TestFaults(t *testing.T) {
	// Short times only where the time is what is tested: the machine may be slow.
	var opts upstream.Options
	stalling := upstream.Options{HeaderTimeout: 100 * time.Millisecond, StallTimeout: 100 * time.Millisecond}
	fast := upstream.Options{TotalTimeout: 100 * time.Millisecond}

	type calls string // which methods: l list, i info, q query, m mod, z zip
	const all = calls("liqmz")
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		calls  calls
		want   error
		opts   upstream.Options
	}{
		{"404", status(404), all, upstream.ErrNotFound, opts},
		{"410", status(410), all, upstream.ErrNotFound, opts},
		{"401", status(401), all, upstream.ErrForbidden, opts},
		{"403", status(403), all, upstream.ErrForbidden, opts},
		{"451", status(451), all, upstream.ErrForbidden, opts},
		{"400", status(400), all, upstream.ErrBadAnswer, opts},
		{"429", status(429), all, upstream.ErrUnavailable, opts},
		{"500", status(500), all, upstream.ErrUnavailable, opts},
		{"503", status(503), all, upstream.ErrUnavailable, opts},
		{"204", raw("HTTP/1.1 204 No Content\r\n\r\n", cut), all, upstream.ErrBadAnswer, opts},
		{"206", status(206), all, upstream.ErrBadAnswer, opts},
		{"304", raw("HTTP/1.1 304 Not Modified\r\n\r\n", cut), all, upstream.ErrBadAnswer, opts},
		{"reset before the header", raw("", reset), all, upstream.ErrUnavailable, opts},
		{"closed before the header", raw("", cut), all, upstream.ErrUnavailable, opts},
		{"reset in the body", raw(shortList, reset), "limq", nil, opts},
		{"no HTTP", raw("SSH-2.0-OpenSSH\r\n", cut), all, upstream.ErrUnavailable, opts},
		{"shorter than Content-Length", raw(shortList, cut), "liqm", upstream.ErrBadAnswer, opts},
		{"shorter zip than Content-Length", raw("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nPK..", cut), "z", upstream.ErrBadAnswer, opts},
		{"longer zip than Content-Length", raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nPK..", cut), "z", upstream.ErrBadAnswer, opts},
		{"truncated chunks", raw(chunked, cut), "liqm", upstream.ErrBadAnswer, opts},
		{"truncated HTTP/1.0", raw(openList, cut), "liq", upstream.ErrBadAnswer, opts},
		{"empty HTTP/1.0", raw("HTTP/1.0 200 OK\r\n\r\n", cut), "liqz", upstream.ErrBadAnswer, opts},
		{"truncated gzip", gzipped("v1.0.0\nv1.1.0\n", 5), "liqmz", upstream.ErrBadAnswer, opts},
		{"no gzip", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "v1.0.0\n")
		}, all, upstream.ErrBadAnswer, opts},
		{"gzip bomb", bomb, all, upstream.ErrBadAnswer, opts},
		{"an encoding that was not asked for", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, "PK\nv1.0.0\n")
		}, "lz", upstream.ErrBadAnswer, opts},
		{"gzip that was not asked for", gzipped("PK...", 0), "z", upstream.ErrBadAnswer, opts},
		{"huge Content-Length", raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nPK", cut), all, upstream.ErrBadAnswer, opts},
		{"endless body", endless(""), "liqm", upstream.ErrBadAnswer, opts},
		{"slow header", stall(""), all, upstream.ErrTimeout, stalling},
		{"stalled body", stall("PK v1.0.0\n"), all, upstream.ErrTimeout, stalling},
		{"dripping body", drip, "liqm", upstream.ErrTimeout, fast},
		{"dripping text", drip, "liqm", upstream.ErrTimeout, stalling},
		{"HTML", body(html), all, upstream.ErrBadAnswer, opts},
		{"other text", body("not found\n"), all, upstream.ErrBadAnswer, opts},
		{"error JSON", body(`{"error":"not found"}`), all, upstream.ErrBadAnswer, opts},
		{"no UTF-8", body("v1.0.0\nv1.\xff\n"), "liq", upstream.ErrBadAnswer, opts},
		{"empty", body(""), "iqz", upstream.ErrBadAnswer, opts},
		{"another version", body(`{"Version":"v1.2.4"}`), "i", upstream.ErrBadAnswer, opts},
		{"not canonical", body(`{"Version":"v1.2"}`), "q", upstream.ErrBadAnswer, opts},
		{"wrong major", body(`{"Version":"v2.0.0"}`), "q", upstream.ErrBadAnswer, opts},
		{"wrong time", body(`{"Version":"v1.2.3","Time":"today"}`), "iq", upstream.ErrBadAnswer, opts},
		{"two answers", body(`{"Version":"v1.2.3"}{}`), "iq", upstream.ErrBadAnswer, opts},
		{"redirect loop", redirect("/loop"), all, upstream.ErrBadAnswer, opts},
		{"redirect to file", redirect("file:///etc/hostname"), all, upstream.ErrBadAnswer, opts},
		{"redirect to metadata", redirect("http://169.254.169.254/latest"), all, upstream.ErrBadAnswer, opts},
		{"redirect to metadata, IPv6", redirect("http://[fe80::1]/latest"), all, upstream.ErrBadAnswer, opts},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t, test.answer)
			c := newClient(t, srv.URL, test.opts)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for _, call := range test.calls {
				var err error
				var written bytes.Buffer
				switch call {
				case 'l':
					_, err = c.List(ctx, mv.Path)
				case 'i':
					_, err = c.Info(ctx, mv)
				case 'q':
					_, err = c.Query(ctx, mv.Path, "main")
				case 'm':
					_, err = c.Mod(ctx, mv)
				case 'z':
					_, err = c.Zip(ctx, mv, &written, nil)
				}
				if ctx.Err() != nil {
					t.Fatalf("%c: it has not ended by itself: %v", call, err)
				}
				if test.want == nil { // whichever, but an error that is no absence
					if err == nil || errors.Is(err, upstream.ErrNotFound) {
						t.Errorf("%c: %v, want an error other than %v", call, err, upstream.ErrNotFound)
					}
					continue
				}
				if !errors.Is(err, test.want) {
					t.Errorf("%c: %v, want %v", call, err, test.want)
				}
				var e *upstream.Error
				if !errors.As(err, &e) || !strings.Contains(e.Error(), srv.URL) {
					t.Errorf("%c: error %v does not name the upstream", call, err)
				}
			}
		})
	}
}

func TestRedirectFromHTTPSToHTTPIsRefused(t *testing.T) {
	plain := serve(t, body("v1.0.0\n"))
	srv, opts := tlsServer(t, redirect(plain.URL+"/list"))
	opts.Inside = loopback // so that it is the scheme that is refused
	if list, err := newClient(t, srv.URL, opts).List(t.Context(), mv.Path); !errors.Is(err, upstream.ErrBadAnswer) {
		t.Errorf("List = %q, %v; want %v", list, err, upstream.ErrBadAnswer)
	}
}

func TestDeadUpstream(t *testing.T) {
	srv := httptest.NewServer(status(200))
	srv.Close()
	if _, err := newClient(t, srv.URL, upstream.Options{}).List(t.Context(), mv.Path); !errors.Is(err, upstream.ErrUnavailable) {
		t.Errorf("%v, want %v", err, upstream.ErrUnavailable)
	}
}

func TestWalk(t *testing.T) {
	entries := map[byte]http.HandlerFunc{
		'4': status(404), '5': status(500), '3': status(403), 'h': body(html), 'g': body("v1.0.0\n"),
	}
	asked := make(chan byte, 10)
	urls := make(map[byte]string)
	for name, h := range entries {
		urls[name] = serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked <- name
			h(w, r)
		}).URL
	}
	for _, test := range []struct {
		list  string
		asked string
		want  error // nil: success
	}{
		{"g,5", "g", nil},
		{"4,g", "4g", nil},
		{"4|g", "4g", nil},
		{"5,g", "5", upstream.ErrUnavailable},
		{"5|g", "5g", nil},
		{"3,g", "3", upstream.ErrForbidden},
		{"3|g", "3g", nil},
		{"h,g", "h", upstream.ErrBadAnswer},
		{"h|g", "hg", nil},
		{"4,4", "44", upstream.ErrNotFound},
		{"4|4", "44", upstream.ErrNotFound},
		{"4,off", "4", upstream.ErrNotFound},
		{"4,direct", "4", upstream.ErrNotFound},
		// What failed may have it.
		{"5|4", "54", upstream.ErrUnavailable},
		{"4,5", "45", upstream.ErrUnavailable},
		{"3|4", "34", upstream.ErrForbidden},
		{"3|5|4", "354", upstream.ErrUnavailable},
		{"h|3", "h3", upstream.ErrBadAnswer},
		{"4,3|4,4", "4344", upstream.ErrForbidden},
		{"off", "", upstream.ErrForbidden},
	} {
		list := ""
		for i := range len(test.list) {
			if u, ok := urls[test.list[i]]; ok && !strings.HasPrefix(test.list[i:], "off") {
				list += u
			} else {
				list += test.list[i : i+1]
			}
		}
		_, err := newClient(t, list, upstream.Options{}).List(t.Context(), mv.Path)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.list, err, test.want)
		}
		if test.want != upstream.ErrNotFound && errors.Is(err, upstream.ErrNotFound) {
			t.Errorf("%s: %v is an absence", test.list, err)
		}
		got := ""
		for len(asked) > 0 {
			got += string(<-asked)
		}
		if got != test.asked {
			t.Errorf("%s: asked %q, want %q", test.list, got, test.asked)
		}
	}
}

func TestZipGoesOnAtTheNextUpstream(t *testing.T) {
	zip := "PK" + strings.Repeat("0123456789", 100_000)
	half := serve(t, raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(zip), zip[:len(zip)/2]), cut))
	whole := serve(t, body(zip))
	other := serve(t, body(strings.Replace(zip, "9", "8", 1)))
	html := serve(t, body(html))

	var got bytes.Buffer
	n, err := newClient(t, half.URL+"|"+html.URL+"|"+whole.URL, upstream.Options{}).Zip(t.Context(), mv, &got, nil)
	if err != nil || got.String() != zip || n != int64(len(zip)) {
		t.Errorf("Zip = %d, %v; equal: %v", n, err, got.String() == zip)
	}
	got.Reset()
	_, err = newClient(t, half.URL+"|"+other.URL, upstream.Options{}).Zip(t.Context(), mv, &got, nil)
	if !errors.Is(err, upstream.ErrBadAnswer) || !strings.HasPrefix(zip, got.String()) {
		t.Errorf("with another zip behind: %v; written is a prefix: %v", err, strings.HasPrefix(zip, got.String()))
	}
	got.Reset()
	_, err = newClient(t, html.URL, upstream.Options{}).Zip(t.Context(), mv, &got, nil)
	if !errors.Is(err, upstream.ErrBadAnswer) || got.Len() > 0 {
		t.Errorf("HTML: %v, %d bytes written; want none", err, got.Len())
	}
}

func TestZipIsTooLarge(t *testing.T) {
	const limit = 100_000
	for name, answer := range map[string]http.HandlerFunc{
		"announced": raw("HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\nPK", cut),
		"endless":   endless("PK"),
	} {
		c := newClient(t, serve(t, answer).URL, upstream.Options{})
		c.SetMaxZip(limit)
		n, err := c.Zip(t.Context(), mv, io.Discard, nil)
		if !errors.Is(err, upstream.ErrBadAnswer) || !strings.Contains(err.Error(), "larger than") || n > limit {
			t.Errorf("%s: %d, %v; want %v", name, n, err, upstream.ErrBadAnswer)
		}
	}
	whole := "PK" + strings.Repeat("x", limit-2)
	c := newClient(t, serve(t, body(whole)).URL, upstream.Options{})
	c.SetMaxZip(limit)
	if n, err := c.Zip(t.Context(), mv, io.Discard, nil); err != nil || n != limit {
		t.Errorf("just as large as allowed: %d, %v", n, err)
	}
}

func TestZipWriterFails(t *testing.T) {
	srv := serve(t, body("PK..."))
	full := errors.New("disk full")
	_, err := newClient(t, srv.URL+"|"+srv.URL, upstream.Options{}).Zip(t.Context(), mv, failingWriter{full}, nil)
	if err != full {
		t.Errorf("%v, want %v as it is", err, full)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
