package httpapi_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// script answers instead of a scripted upstream, which would answer honest.
type script func(w http.ResponseWriter, r *http.Request, honest []byte)

func says(code int, header ...string) script {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		http.Error(w, "the upstream says so", code)
	}
}

func text(body string) script {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { io.WriteString(w, body) }
}

// changed answers with what f makes of the honest body.
func changed(f func(honest []byte) []byte) script {
	return func(w http.ResponseWriter, _ *http.Request, honest []byte) { w.Write(f(bytes.Clone(honest))) }
}

// wire writes what write does on the connection as it is, and ends it.
func wire(write func(c net.Conn, honest []byte), end func(net.Conn)) script {
	return func(w http.ResponseWriter, _ *http.Request, honest []byte) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		write(c, honest)
		end(c)
	}
}

func closed(c net.Conn) { c.Close() }

func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// gone waits until the client has given up.
func gone(c net.Conn) {
	io.Copy(io.Discard, c)
	c.Close()
}

func nothing(net.Conn, []byte) {}

// half writes the first half of an answer whose length is announced by
// header, where LENGTH stands for that of the whole.
func half(header string) func(net.Conn, []byte) {
	return func(c net.Conn, honest []byte) {
		io.WriteString(c, strings.ReplaceAll(header, "LENGTH", strconv.Itoa(len(honest))))
		c.Write(honest[:len(honest)/2])
	}
}

// trickle sends header bytes one by one, without end.
func trickle(c net.Conn, _ []byte) {
	io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Slow: ")
	for {
		if _, err := io.WriteString(c, "a"); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond) // the fault is to be slow
	}
}

// endlessly sends a block again and again.
func endlessly(start, block string) script {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		io.WriteString(w, start)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}
}

// drips sends lines slowly, without end.
func drips(w http.ResponseWriter, r *http.Request, _ []byte) {
	for r.Context().Err() == nil {
		io.WriteString(w, "v1.0.0\n")
		w.(http.Flusher).Flush()
		time.Sleep(50 * time.Millisecond) // the fault is to be slow
	}
}

func moved(to string) script {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

// movedWithin leads to the honest answer on the same host and port.
func movedWithin(w http.ResponseWriter, r *http.Request, _ []byte) {
	name, rest, _ := strings.Cut(r.URL.Path[1:], "/")
	http.Redirect(w, r, "/"+name+"/honest/"+rest, http.StatusFound)
}

// encoded labels what f makes of the honest body as of an encoding.
func encoded(encoding string, f func([]byte) []byte) script {
	return func(w http.ResponseWriter, _ *http.Request, honest []byte) {
		w.Header().Set("Content-Encoding", encoding)
		w.Write(f(honest))
	}
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// zipped answers with a zip of files whose names and texts are given in turn.
func zipped(t *testing.T, files ...string) script {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := z.Create(files[i])
		if err == nil {
			_, err = io.WriteString(f, files[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return changed(func([]byte) []byte { return b.Bytes() })
}
