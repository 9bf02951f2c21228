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

// run runs a command in a sandbox and returns what it wrote. All processes of
// its group are gone when run returns; killed says that they did not end by
// themselves, so that what they were writing is not to be trusted.
func (v *VCS) run(ctx context.Context, s sandbox, args ...string) (stdout, stderr []byte, killed bool, err error) {
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
		return nil, nil, false, fmt.Errorf("start the go command: %w", err)
	}
	var watch sync.WaitGroup
	watch.Go(func() { v.watchDisk(during, s.book, stop) })
	err = cmd.Wait()
	killGroup(cmd) // whatever the command has left running
	cause := context.Cause(during)
	stop(nil)
	watch.Wait()
	if cause = cmp.Or(cause, v.checkDisk(s.book)); cause != nil {
		return nil, nil, true, cause
	}
	return out.kept.Bytes(), text.kept.Bytes(), false, err
}

// watchDisk ends a command that fills its directory beyond the limit. It looks
// seldom where looking takes long.
func (v *VCS) watchDisk(ctx context.Context, b *book, stop context.CancelCauseFunc) {
	const seldom = 20 // times as long as looking takes
	wait := 200 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		start := time.Now()
		if err := v.checkDisk(b); err != nil {
			stop(err)
			return
		}
		wait = max(wait, seldom*time.Since(start))
	}
}

// checkDisk is an error if b is larger than the limit.
func (v *VCS) checkDisk(b *book) error {
	if diskUse(b.dir) > v.cfg.MaxDisk {
		return fmt.Errorf("%w: the repository needs more than %d bytes", errDisk, v.cfg.MaxDisk)
	}
	return nil
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
	stdout, stderr, killed, err := v.run(ctx, box, args...)
	if endErr := b.end(killed); endErr != nil && !errors.Is(endErr, os.ErrNotExist) {
		return nil, fmt.Errorf("%s %s: cache directory: %w", s.op, s.path, endErr)
	}
	if refusal := permit.refused(); refusal != nil {
		return nil, s.fail(ErrForbidden, refusal)
	}
	if killed {
		return nil, s.ended(ctx, err)
	}
	return box.judge(r, stdout, stderr, err)
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
	case errors.Is(err, errDisk), errors.Is(err, errBusy):
		return s.fail(ErrUnavailable, err)
	}
	return fmt.Errorf("%s %s: %w", s.op, s.path, err)
}
