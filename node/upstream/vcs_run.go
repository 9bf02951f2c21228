package upstream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"
)

var (
	errCommandTime = errors.New("the command took too long and was ended")
	errOutput      = errors.New("the command wrote more than it may")
)

// waitDelay is how long after the end of a command its output may still be held
// open by others, in spite of the end of its process group.
const waitDelay = 5 * time.Second

// outcome is how a command ended.
type outcome struct {
	stdout, stderr []byte
	err            error // of the process
	ended          error // why this node ended it, or nil
	killed         bool  // by this node or somebody else: what it was writing is not to be trusted
}

// run runs a command in a sandbox. All processes of its group are gone when run
// returns. The error is that of a command that did not start.
func (v *VCS) run(ctx context.Context, s sandbox, args ...string) (outcome, error) {
	timed, cancelTimed := context.WithTimeoutCause(ctx, v.cfg.Timeout, errCommandTime)
	defer cancelTimed()
	during, stop := context.WithCancelCause(timed)
	defer stop(nil)

	full := func() { stop(errOutput) }
	out := &boundedBuffer{max: v.cfg.MaxOutput, full: full}
	text := &boundedBuffer{max: v.cfg.MaxOutput, full: full}
	cmd := exec.CommandContext(during, s.tools.golang, args...)
	cmd.Dir, cmd.Env = s.book.path("work"), s.environ()
	cmd.Stdout, cmd.Stderr = out, text
	cmd.WaitDelay = waitDelay
	groupOf(cmd)
	if err := cmd.Start(); err != nil {
		return outcome{}, fmt.Errorf("start the go command: %w", err)
	}
	var watching sync.WaitGroup
	group := cmd.Process.Pid
	watching.Go(func() { watch(during, 200*time.Millisecond, func() error { return v.checkDisk(s.book) }, stop) })
	watching.Go(func() { watch(during, 100*time.Millisecond, func() error { return v.checkMemory(group) }, stop) })
	err := cmd.Wait()
	killGroup(cmd) // whatever the command has left running
	cause := context.Cause(during)
	stop(nil)
	watching.Wait()
	if cause = cmp.Or(cause, v.checkDisk(s.book)); cause != nil {
		return outcome{err: err, ended: cause, killed: true}, nil
	}
	// The go command tells by its text of a git that was killed.
	o := outcome{stdout: out.kept.Bytes(), stderr: text.kept.Bytes(), err: err}
	o.killed = signaled(cmd.ProcessState) || o.says("signal: ")
	return o, nil
}

func (o outcome) says(text string) bool {
	return bytes.Contains(o.stdout, []byte(text)) || bytes.Contains(o.stderr, []byte(text))
}

// boundedBuffer keeps what is written up to max bytes, then calls full.
type boundedBuffer struct {
	kept bytes.Buffer // not embedded: its ReadFrom knows no bound
	max  int64
	full func()
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if int64(b.kept.Len()+len(p)) > b.max {
		b.full()
		return 0, errOutput
	}
	return b.kept.Write(p)
}

// inSandbox runs a go command for s, and then use with what it wrote to stdout,
// while nobody else works on the repository. Errors other than use's are *Error.
func (v *VCS) inSandbox(ctx context.Context, s source, r *refs, use func(*book, []byte) error, args []string) error {
	ctx, leave, err := v.enter(ctx, s)
	if err != nil {
		return err
	}
	defer leave()
	b, err := v.shelf.borrow(ctx, s.tag.target)
	if err != nil {
		return s.ended(ctx, err)
	}
	defer v.shelf.giveBack(b)
	stdout, err := v.command(ctx, s, r, b, args)
	if errors.Is(err, errDamaged) {
		if err := errors.Join(b.wipe(), b.prepare()); err != nil {
			return fmt.Errorf("%s %s: cache directory: %w", s.op, s.path, err)
		}
		stdout, err = v.command(ctx, s, r, b, args)
	}
	if err != nil {
		return err
	}
	return use(b, stdout)
}

// enter joins ctx with the life of v. The caller leaves.
func (v *VCS) enter(ctx context.Context, s source) (context.Context, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	v.life.Lock()
	defer v.life.Unlock()
	if v.ctx.Err() != nil {
		cancel()
		return nil, nil, s.fail(ErrUnavailable, errClosed)
	}
	v.runs.Add(1)
	stop := context.AfterFunc(v.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		v.runs.Done()
	}, nil
}

// command runs a go command in b.
func (v *VCS) command(ctx context.Context, s source, r *refs, b *book, args []string) ([]byte, error) {
	leave, err := v.slots.enter(ctx, hostPort(r.base))
	if err != nil {
		return nil, s.ended(ctx, err)
	}
	defer leave()
	if err := v.full(); err != nil {
		return nil, s.fail(ErrUnavailable, err)
	}
	found, err := v.tools.find(ctx)
	if err != nil {
		return nil, s.fail(ErrUnavailable, err)
	}
	user, err := v.reach.login(r.base)
	if err != nil {
		return nil, s.fail(classOfLogin(err), err)
	}
	permit := v.gate.admit(ctx, s, r.base)
	defer v.gate.dismiss(permit)
	box := sandbox{book: b, tools: found, src: s, base: r.base, user: user, ca: v.cfg.CAFile, permit: permit}
	if err := errors.Join(box.prepare(), b.begin()); err != nil {
		return nil, fmt.Errorf("%s %s: cache directory: %w", s.op, s.path, err)
	}
	cloned := b.cloned()
	o, err := v.run(ctx, box, args...)
	if err != nil {
		return nil, errors.Join(s.fail(ErrUnavailable, err), b.end(false))
	}
	if endErr := b.end(o.killed); endErr != nil && !errors.Is(endErr, os.ErrNotExist) {
		return nil, fmt.Errorf("%s %s: cache directory: %w", s.op, s.path, endErr)
	}
	if refusal := permit.refused(); refusal != nil {
		return nil, s.fail(ErrForbidden, refusal)
	}
	if o.ended != nil {
		return nil, s.ended(ctx, o.ended)
	}
	stdout, err := box.judge(r, o.stdout, o.stderr, o.err)
	if cloned && errors.Is(err, ErrUnavailable) && o.isLocal() {
		return nil, errors.Join(errDamaged, err)
	}
	return stdout, err
}

// ended is the *Error of a command, or of waiting for one, that was ended.
func (s source) ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && !errors.Is(err, errCommandTime):
		return s.fail(classOfContext(ctx.Err()), ctx.Err())
	case errors.Is(err, errCommandTime):
		return s.fail(ErrTimeout, err)
	case errors.Is(err, errOutput):
		return s.fail(ErrBadAnswer, err)
	case errors.Is(err, errDisk), errors.Is(err, errMemory), errors.Is(err, errNode), errors.Is(err, errBusy):
		return s.fail(ErrUnavailable, err)
	}
	return fmt.Errorf("%s %s: %w", s.op, s.path, err)
}
