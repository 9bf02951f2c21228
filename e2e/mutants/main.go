// Command mutants shows that the tests fail when what they protect is broken.
//
// Each *.patch beside this file breaks one rule of the code. Its header says
// which test must fail then, as "go test" takes it, and what is broken:
//
//	# kills: ./node/blob -run TestDurable
//	# breaks: a blob is not synced before it gets its name
//
// Each patch is applied to a copy of the tree and its test is run. A patch is
// killed if the test fails, and survives if it passes. A patch that does not
// apply or does not compile, or whose test does not exist or fails without it,
// shows nothing, and is as bad as a survivor. The exit code is 1 if there is any.
//
//	go run ./e2e/mutants [-run REGEXP] [-v]
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

func main() {
	pattern := flag.String("run", "", "only patches whose name matches this `regexp`")
	verbose := flag.Bool("v", false, "show what the tests print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, *pattern, *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1)
	}
}

// mutant is a patch that breaks something.
type mutant struct {
	name   string
	file   string // the patch
	pkg    string // of the test that must fail
	run    string // which one
	breaks string
}

// verdict is what became of a mutant.
type verdict struct {
	mutant
	killed bool
	why    string // it shows nothing, if so
	took   time.Duration
	output string
}

func run(ctx context.Context, pattern string, verbose bool) (ok bool, err error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return false, err
	}
	top, err := output(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return false, err
	}
	top = strings.TrimSpace(top)
	mutants, err := readMutants(filepath.Join(top, "e2e", "mutants"), re)
	if err != nil {
		return false, err
	}
	begin := time.Now()
	verdicts, err := judgeAll(ctx, top, mutants)
	if err != nil {
		return false, err
	}
	return report(verdicts, verbose, time.Since(begin)), nil
}

func readMutants(dir string, only *regexp.Regexp) (list []mutant, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		m := mutant{name: strings.TrimSuffix(filepath.Base(file), ".patch"), file: file}
		if !only.MatchString(m.name) {
			continue
		}
		if err := m.readHeader(); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("there is no such patch in %s", dir)
	}
	return list, nil
}

func (m *mutant) readHeader() error {
	f, err := os.Open(m.file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && strings.HasPrefix(lines.Text(), "#") {
		if test, ok := strings.CutPrefix(lines.Text(), "# kills: "); ok {
			m.pkg, m.run, _ = strings.Cut(test, " -run ")
		}
		if breaks, ok := strings.CutPrefix(lines.Text(), "# breaks: "); ok {
			m.breaks = breaks
		}
	}
	if m.run == "" || m.breaks == "" {
		return fmt.Errorf("%s: the header must say \"# kills: PACKAGE -run REGEXP\" and \"# breaks: …\"", m.file)
	}
	return lines.Err()
}

// judgeAll judges the mutants, as many at once as there are processors, each
// worker in a copy of the tree of its own.
func judgeAll(ctx context.Context, top string, mutants []mutant) ([]verdict, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	asIs := newUnbroken(ctx, top, dir)
	verdicts := make([]verdict, len(mutants))
	next := make(chan int)
	workers := min(runtime.NumCPU(), len(mutants))
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			c := checkout{filepath.Join(dir, fmt.Sprint(w))}
			errs[w] = c.fill(ctx, top)
			for i := range next {
				if errs[w] == nil {
					verdicts[i], errs[w] = c.judge(ctx, mutants[i], asIs)
				}
			}
		})
	}
	for i := range mutants {
		next <- i
	}
	close(next)
	wg.Wait()
	return verdicts, errors.Join(append(errs, ctx.Err())...)
}

// report prints what became of each, and reports whether all were killed.
func report(verdicts []verdict, verbose bool, took time.Duration) bool {
	slices.SortFunc(verdicts, func(a, b verdict) int { return strings.Compare(a.name, b.name) })
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	bad := 0
	for _, v := range verdicts {
		result := "killed"
		if !v.killed {
			result = "SURVIVES"
			bad++
		}
		if v.why != "" {
			result = "SHOWS NOTHING: " + v.why
		}
		fmt.Fprintf(w, "%s\t%.1fs\t%s\t%s\n", v.name, v.took.Seconds(), result, v.breaks)
	}
	w.Flush()
	for _, v := range verdicts {
		if verbose || v.why != "" {
			fmt.Printf("\n== %s: go test %s -run '%s'\n%s", v.name, v.pkg, v.run, v.output)
		}
	}
	fmt.Printf("%d of %d killed in %.0fs\n", len(verdicts)-bad, len(verdicts), took.Seconds())
	return bad == 0
}
