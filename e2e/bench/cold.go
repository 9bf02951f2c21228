package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"
)

const (
	coldModules = 250
	coldSize    = 40 << 10
	// coldLatency is what the upstream takes for each answer, as one that is not
	// on this machine would.
	coldLatency = 15 * time.Millisecond
)

// cold compares the first download of many modules through a node with the same
// download from the upstream itself. The go command and the node verify against
// the checksum database both.
func (b *bench) cold(ctx context.Context) error {
	up, err := newUpstream(coldLatency)
	if err != nil {
		return err
	}
	defer up.Close()
	for i := range coldModules {
		if err := up.add(b.dir, module.Version{Path: fmt.Sprintf("cold.example/m%d", i), Version: "v1.0.0"}, coldSize); err != nil {
			return err
		}
	}
	var ratios, ours, theirs []float64
	for i := range rounds {
		direct, err := up.download(ctx, filepath.Join(b.dir, fmt.Sprint("cold-direct", i)), up.URL)
		if err != nil {
			return err
		}
		s, err := b.serve(ctx, filepath.Join(b.dir, fmt.Sprint("cold-node", i)), "GOPROXY="+up.URL, "GOSUMDB="+up.key, "GONOSUMDB=", "GOPRIVATE=")
		if err != nil {
			return err
		}
		through, err := up.download(ctx, filepath.Join(b.dir, fmt.Sprint("cold-through", i)), s.addr+"/go/all")
		s.stop()
		if err != nil {
			return err
		}
		ours, theirs = append(ours, through.Seconds()), append(theirs, direct.Seconds())
		ratios = append(ratios, through.Seconds()/direct.Seconds())
	}
	b.add(fmt.Sprintf("cold download of %d modules", coldModules), fmt.Sprintf("%.2fs", median(ours)),
		fmt.Sprintf("direct %.2fs", median(theirs)), fmt.Sprintf("%.2f", median(ratios)), "≤ 1.15")
	return nil
}

// upstream is a GOPROXY with a checksum database that takes its time.
type upstream struct {
	*httptest.Server
	key   string
	files map[string][]byte // by path below the GOPROXY
	sums  map[module.Version][]byte
	rate  int // bytes per second of each answer; 0: as fast as may be
}

// newUpstream returns one that takes so long for each answer. What is added to it
// is added before it is asked.
func newUpstream(latency time.Duration) (*upstream, error) {
	up := &upstream{files: map[string][]byte{}, sums: map[module.Version][]byte{}}
	skey, vkey, err := note.GenerateKey(rand.Reader, "sums.example")
	if err != nil {
		return nil, err
	}
	up.key = vkey
	db := sumdb.NewServer(sumdb.NewTestServer(skey, func(path, version string) ([]byte, error) {
		if text, ok := up.sums[module.Version{Path: path, Version: version}]; ok {
			return text, nil
		}
		return nil, os.ErrNotExist
	}))
	mux := http.NewServeMux()
	mux.Handle("/sumdb/sums.example/", http.StripPrefix("/sumdb/sums.example", db))
	mux.HandleFunc("/sumdb/sums.example/supported", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if body, ok := up.files[strings.TrimPrefix(r.URL.Path, "/")]; ok {
			up.send(w, r, body)
			return
		}
		http.Error(w, "not found", http.StatusNotFound)
	})
	up.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(latency)
		mux.ServeHTTP(w, r)
	}))
	return up, nil
}

// send writes a body at the upstream's rate.
func (up *upstream) send(w http.ResponseWriter, r *http.Request, body []byte) {
	if up.rate == 0 {
		w.Write(body) // fails only if the client is gone
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	const part = 32 << 10
	for begin, sent := time.Now(), 0; sent < len(body) && r.Context().Err() == nil; {
		n, err := w.Write(body[sent:min(len(body), sent+part)])
		if err != nil {
			return
		}
		sent += n
		time.Sleep(time.Until(begin.Add(time.Duration(float64(sent) / float64(up.rate) * float64(time.Second)))))
	}
}

func (up *upstream) add(dir string, mv module.Version, size int) error {
	z, err := moduleZip(mv.Path, mv.Version, size)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "hash.zip")
	if err := os.WriteFile(file, z, 0o600); err != nil {
		return err
	}
	zipH1, err := dirhash.HashZip(file, dirhash.Hash1)
	if err != nil {
		return err
	}
	modH1, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(goMod(mv.Path)))), nil
	})
	base := mv.Path + "/@v/" + mv.Version
	up.files[base+".info"] = fmt.Appendf(nil, `{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, mv.Version)
	up.files[base+".mod"] = goMod(mv.Path)
	up.files[base+".zip"] = z
	up.sums[mv] = fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", mv.Path, mv.Version, zipH1, mv.Path, mv.Version, modH1)
	return err
}

// download has the go command download all modules into an empty cache below
// dir, and returns how long that took.
func (up *upstream) download(ctx context.Context, dir, goproxy string) (time.Duration, error) {
	var mod strings.Builder
	mod.WriteString("module bench.example\n\ngo 1.21\n\nrequire (\n")
	for i := range coldModules {
		fmt.Fprintf(&mod, "\tcold.example/m%d v1.0.0\n", i)
	}
	mod.WriteString(")\n")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod.String()), 0o644)); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "all")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY="+goproxy, "GOSUMDB="+up.key, "GONOSUMDB=", "GOPRIVATE=", "GONOPROXY=none",
		"GOPATH="+filepath.Join(dir, "gopath"), "GOMODCACHE="+filepath.Join(dir, "cache"), "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local")
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go mod download: %w: %s", err, out)
	}
	return time.Since(begin), nil
}
