package main

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
)

// unbroken is the tree as it is. Each package's tests are built once, and each
// test is run once.
type unbroken struct {
	ctx      context.Context // of the whole run
	top, dir string

	mu    sync.Mutex // guards what follows
	built map[string]func() (binary string, err error)
	ran   map[string]func() trial
}

// trial is how a test went without a patch.
type trial struct {
	out string
	why string // it shows nothing, if so
	err error
}

func newUnbroken(ctx context.Context, top, dir string) *unbroken {
	return &unbroken{
		ctx: ctx, top: top, dir: dir,
		built: map[string]func() (string, error){}, ran: map[string]func() trial{},
	}
}

// test runs the test of a mutant without its patch.
func (u *unbroken) test(m mutant) trial {
	u.mu.Lock()
	run := u.ran[m.pkg+" "+m.run]
	if run == nil {
		run = sync.OnceValue(func() trial { return u.run(m.pkg, m.run) })
		u.ran[m.pkg+" "+m.run] = run
	}
	u.mu.Unlock()
	return run()
}

func (u *unbroken) run(pkg, test string) trial {
	binary, err := u.build(pkg)
	if err != nil {
		return trial{err: err}
	}
	out, err := output(u.ctx, filepath.Join(u.top, pkg), binary, "-test.v", "-test.timeout="+testTimeout, "-test.run="+test)
	switch {
	case u.ctx.Err() != nil:
		return trial{err: u.ctx.Err()}
	case err != nil:
		return trial{out: out, why: "the test fails without it"}
	case strings.Contains(out, "--- SKIP") || !strings.Contains(out, "--- PASS"):
		return trial{out: out, why: "the test does not run here"}
	}
	return trial{out: out}
}

// build returns the test binary of a package.
func (u *unbroken) build(pkg string) (string, error) {
	u.mu.Lock()
	build := u.built[pkg]
	if build == nil {
		build = sync.OnceValues(func() (string, error) {
			binary := filepath.Join(u.dir, strings.NewReplacer(".", "", "/", "_").Replace(pkg)+".test")
			_, err := output(u.ctx, u.top, "go", "test", "-c", "-vet=off", "-o", binary, pkg)
			return binary, err
		})
		u.built[pkg] = build
	}
	u.mu.Unlock()
	return build()
}
