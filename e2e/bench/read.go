package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rounds is how often each pair of loads is repeated; the median ratio counts.
const rounds = 3

// read compares hot reads with nginx serving the same bytes as static files.
func (b *bench) read(ctx context.Context) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		fmt.Fprintln(os.Stderr, "read: wrk (a Debian package) is not installed, so reads are not measured")
		return nil
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		fmt.Fprintln(os.Stderr, "read: nginx (a Debian package) is not installed, so there is nothing to compare reads with")
		return nil
	}
	s, err := b.serve(ctx, filepath.Join(b.dir, "read"))
	if err != nil {
		return err
	}
	defer s.stop()
	if err := b.command(ctx, s.data, "repo", "set", "local", "--owns", "corp.example/**"); err != nil {
		return err
	}
	for path, size := range map[string]int{"corp.example/small": 1 << 10, "corp.example/medium": 100 << 10, "corp.example/large": 10 << 20} {
		for i := range 20 {
			version := fmt.Sprintf("v1.%d.0", i)
			z, err := moduleZip(path, version, size)
			if err != nil {
				return err
			}
			if _, err := put(ctx, http.DefaultClient, s.addr, path, version, z); err != nil {
				return err
			}
			if size > 1<<20 {
				break
			}
		}
	}
	loads := []struct {
		what, path  string
		connections int
		goal        float64
	}{
		{".info, hot", "/corp.example/small/@v/v1.0.0.info", 32, 0.45},
		{".mod, hot", "/corp.example/small/@v/v1.0.0.mod", 32, 0.45},
		{"list of 20, hot", "/corp.example/small/@v/list", 32, 0.45},
		{"zip of 100 KB, hot", "/corp.example/medium/@v/v1.0.0.zip", 32, 0.6},
		{"zip of 10 MB, hot", "/corp.example/large/@v/v1.0.0.zip", 8, 0.9},
	}
	root := filepath.Join(b.dir, "static")
	for _, l := range loads {
		body, err := get(ctx, s.addr+"/go/all"+l.path)
		if err != nil {
			return err
		}
		file := filepath.Join(root, filepath.FromSlash(l.path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, body, 0o644)); err != nil {
			return err
		}
	}
	static, stop, err := b.nginx(ctx, root)
	if err != nil {
		return err
	}
	defer stop()
	for _, l := range loads {
		ours, theirs, ratio, err := b.pair(ctx, s.addr+"/go/all"+l.path, static+l.path, l.connections)
		if err != nil {
			return err
		}
		b.add(l.what, fmt.Sprintf("%.0f/s", ours), fmt.Sprintf("nginx %.0f/s", theirs), fmt.Sprintf("%.2f", ratio), fmt.Sprintf("≥ %.2f", l.goal))
	}
	return nil
}

// nginx serves root and returns its URL and how to stop it.
func (b *bench) nginx(ctx context.Context, root string) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr := l.Addr().String()
	l.Close()
	conf := filepath.Join(b.dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/nginx.pid; error_log %[1]s/nginx.log;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; open_file_cache max=1000;
 default_type application/octet-stream; client_body_temp_path %[1]s; proxy_temp_path %[1]s;
 fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
 server { listen %[2]s; root %[3]s; } }
`, b.dir, addr, root)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	os.Chmod(b.dir, 0o755) // nginx's workers run as another user
	cmd := exec.CommandContext(ctx, "nginx", "-c", conf)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() }
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return "http://" + addr, stop, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	return "", nil, errors.New("nginx does not come up")
}

// pair loads two URLs in turn and returns the median rates, and the median of
// the ratios of each turn.
func (b *bench) pair(ctx context.Context, ours, theirs string, connections int) (a, z, ratio float64, err error) {
	var as, zs, ratios []float64
	for range rounds {
		a, err := b.wrk(ctx, ours, connections)
		if err != nil {
			return 0, 0, 0, err
		}
		z, err := b.wrk(ctx, theirs, connections)
		if err != nil {
			return 0, 0, 0, err
		}
		as, zs, ratios = append(as, a), append(zs, z), append(ratios, a/z)
	}
	return median(as), median(zs), median(ratios), nil
}

var requestsPerSecond = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

func (b *bench) wrk(ctx context.Context, url string, connections int) (float64, error) {
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+b.duration.String(), url).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	m := requestsPerSecond.FindSubmatch(out)
	if m == nil || strings.Contains(string(out), "Non-2xx") {
		return 0, fmt.Errorf("wrk %s: %s", url, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
