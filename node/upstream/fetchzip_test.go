package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"registry-node/node/upstream"
)

// TestZipTellsItsLength: once, before the first byte, and so that it is true.
func TestZipTellsItsLength(t *testing.T) {
	zip := "PK" + strings.Repeat("0123456789", 1000)
	header := func(size int) string { return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size) }
	const open = "HTTP/1.0 200 OK\r\n\r\n"
	sized := serve(t, raw(header(len(zip))+zip, cut)).URL
	unsized := serve(t, raw(open+zip, cut)).URL
	half := serve(t, raw(header(len(zip))+zip[:5000], cut)).URL
	halfUnsized := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, zip[:5000])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}).URL
	none := serve(t, raw(header(len(zip)), cut)).URL
	longer := serve(t, raw(header(len(zip)+1)+zip+"x", cut)).URL
	longerUnsized := serve(t, raw(open+zip+"x", cut)).URL
	for _, tt := range []struct {
		list string
		told []int64
		ok   bool
	}{
		{sized, []int64{int64(len(zip))}, true},
		{unsized, []int64{-1}, true},
		{half, []int64{int64(len(zip))}, false},
		{none, nil, false},
		{serve(t, status(404)).URL, nil, false},
		{serve(t, body(html)).URL, nil, false},
		{half + "|" + sized, []int64{int64(len(zip))}, true},
		{half + "|" + unsized, []int64{int64(len(zip))}, true},
		{half + "|" + longer, []int64{int64(len(zip))}, false},
		{half + "|" + longerUnsized, []int64{int64(len(zip))}, false},
		{half + "|" + longer + "|" + sized, []int64{int64(len(zip))}, true},
		{halfUnsized + "|" + sized, []int64{-1}, true},
		{none + "|" + longer, []int64{int64(len(zip) + 1)}, true},
	} {
		var got bytes.Buffer
		var told []int64
		_, err := newClient(t, tt.list, upstream.Options{}).Zip(t.Context(), mv, &got, func(size int64) {
			told = append(told, size)
			if got.Len() > 0 {
				t.Errorf("%s: told after %d bytes", tt.list, got.Len())
			}
		})
		if !slices.Equal(told, tt.told) || (err == nil) != tt.ok {
			t.Errorf("%s: told %v, %v; want %v, success %v", tt.list, told, err, tt.told, tt.ok)
		}
		if err != nil && !errors.Is(err, upstream.ErrBadAnswer) && !errors.Is(err, upstream.ErrNotFound) {
			t.Errorf("%s: %v", tt.list, err)
		}
	}
}

// TestModsDoNotWaitForZips: however many zips there are, a go.mod gets through.
func TestModsDoNotWaitForZips(t *testing.T) {
	const most = 4
	entered, rest := make(chan struct{}, 2*most), make(chan struct{})
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".mod") {
			io.WriteString(w, "module example.com/M\n")
			return
		}
		entered <- struct{}{}
		<-rest
		io.WriteString(w, "PK...")
	})
	c := newClient(t, srv.URL, upstream.Options{MaxRequests: most, HeaderTimeout: time.Minute})
	done := make(chan error, 2*most)
	for range 2 * most {
		go func() {
			_, err := c.Zip(t.Context(), mv, io.Discard, nil)
			done <- err
		}()
	}
	for range most * 3 / 4 {
		<-entered
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.Mod(ctx, mv); err != nil {
		t.Error(err)
	}
	close(rest)
	for range 2 * most {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
