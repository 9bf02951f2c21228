package replication_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"registry-node/events"
	"registry-node/replication"
)

// The environment of a child process: what it does, and where.
const (
	childTask = "REPLICATION_TEST_TASK"
	childDir  = "REPLICATION_TEST_DIR"
)

// TestMain runs the tests, or, in a child process, what a test wants killed.
func TestMain(m *testing.M) {
	task := os.Getenv(childTask)
	if task == "" {
		os.Exit(m.Run())
	}
	if err := child(task, os.Getenv(childDir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(task, dir string) error {
	site, err := events.ParseSite("a")
	if err != nil {
		return err
	}
	ctx := context.Background()
	l, err := replication.Open(ctx, replication.Config{Dir: dir, Site: site})
	if err != nil {
		return err
	}
	if step, ok := strings.CutPrefix(task, "rewrite until "); ok {
		l.SetHook(func(s string) {
			if s == step {
				die()
			}
		})
		return l.Rewrite(ctx, entries(1100), nil)
	}
	last, err := l.Last(ctx)
	if err != nil {
		return err
	}
	for n := last + 1; ; n++ { // until killed
		if err := l.Append(ctx, n, entry(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// die ends this process as kill -9 does.
func die() {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	panic(fmt.Sprint("survived: ", err))
}

func command(t *testing.T, task, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childTask+"="+task, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestKilledProcessLosesNothingAcknowledged kills a process while it appends and
// goes on in the same directory.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	total := uint64(0)
	for cycle := range 10 {
		cmd := command(t, "append", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked, lines := total, bufio.NewScanner(out)
		for lines.Scan() {
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			acked = n
			if acked >= total+uint64(20+17*cycle) {
				_ = cmd.Process.Kill() // what it printed before is still read
			}
		}
		_ = cmd.Wait()
		if acked == total {
			t.Fatalf("cycle %d: nothing was appended", cycle)
		}
		l := open(t, dir)
		last, err := l.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// One append may have been under way.
		if last != acked && last != acked+1 {
			t.Fatalf("cycle %d: the log ends at %d, but %d was acknowledged", cycle, last, acked)
		}
		checkWhole(t, l, last)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		total = last
	}
}

// TestKilledRewriteIsAllOrNothing kills a process at each step of a rewrite.
func TestKilledRewriteIsAllOrNothing(t *testing.T) {
	for _, tt := range []struct {
		step   string
		last   uint64
		stream string
	}{
		{"made", 7, "LOG_a_1"},
		{"batch", 7, "LOG_a_1"},
		{"filled", 7, "LOG_a_1"},
		{"named", 1100, "LOG_a_2"},
		{"removed", 1100, "LOG_a_2"},
	} {
		t.Run(tt.step, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			fill(t, l, 1, 7)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := command(t, "rewrite until "+tt.step, dir).Run(); err == nil {
				t.Fatal("the child was not killed")
			}
			l = open(t, dir)
			checkWhole(t, l, tt.last)
			if got := streams(t, dir); !slices.Equal(got, []string{tt.stream}) {
				t.Errorf("streams %v, want %s alone", got, tt.stream)
			}
			fill(t, l, tt.last+1, tt.last+2)
			rewrite(t, l, 30)
			checkWhole(t, l, 30)
		})
	}
}
