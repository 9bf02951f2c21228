// Command bench measures a node as its users meet it and prints one table, each
// figure beside its reference: nginx serving the same bytes as static files, the
// upstream asked directly. Ratios are what to look at; absolute figures are the
// machine's. With nginx and wrk (Debian packages) missing it says so and leaves
// those rows out.
//
//	go run ./e2e/bench            all of it, some minutes
//	go run ./e2e/bench -only read,publish
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// bench is what the measurements share.
type bench struct {
	bin      string // the built registry-node
	dir      string // for everything made here; removed at the end
	duration time.Duration
	rows     []row
}

// row is one line of the table. ratio is what the goal speaks of.
type row struct{ what, got, reference, ratio, goal string }

func (b *bench) add(what, got, reference, ratio, goal string) {
	b.rows = append(b.rows, row{what, got, reference, ratio, goal})
	fmt.Fprintf(os.Stderr, "%s: %s (reference %s, ratio %s, goal %s)\n", what, got, reference, ratio, goal)
}

func main() {
	only := flag.String("only", "read,cold,stream,publish,scale,sites", "which measurements to make")
	duration := flag.Duration("duration", 4*time.Second, "how long each load lasts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, strings.Split(*only, ","), *duration); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only []string, duration time.Duration) error {
	dir, err := os.MkdirTemp("", "registry-node-bench-")
	if err != nil {
		return err
	}
	defer removeAll(dir)
	b := &bench{bin: filepath.Join(dir, "registry-node"), dir: dir, duration: duration}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.bin, "./cmd/registry-node")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build (run this from the repository's top): %w", err)
	}
	measurements := map[string]func(context.Context) error{
		"read": b.read, "cold": b.cold, "stream": b.stream, "publish": b.publish, "scale": b.scale, "sites": b.sites,
	}
	for _, name := range only {
		m, ok := measurements[name]
		if !ok {
			return fmt.Errorf("no measurement is called %q", name)
		}
		if err := m(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	b.print()
	return nil
}

func (b *bench) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tnode\treference\tratio\tgoal")
	for _, r := range b.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.what, r.got, r.reference, r.ratio, r.goal)
	}
	w.Flush()
}

// removeAll removes a tree that may hold a module cache, whose directories are
// read-only.
func removeAll(dir string) {
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	os.RemoveAll(dir)
}
