package replication

import (
	"context"
	"time"
)

// SetHook has step called at the crash points of Rewrite and of a new start.
func (l *Log) SetHook(hook func(step string)) { l.hook = hook }

// PublishRaw appends entry as another node of the site would: behind l's back.
func (l *Log) PublishRaw(ctx context.Context, seq uint64, entry []byte) error {
	ctx, cancel := l.bound(ctx, time.Minute)
	defer cancel()
	if err := l.acquire(ctx); err != nil {
		return err
	}
	defer l.release()
	return l.stream.Load().append(ctx, seq, entry)
}

// Fail makes l believe that its server must be started anew.
func (l *Log) Fail(ctx context.Context) error {
	ctx, cancel := l.bound(ctx, time.Minute)
	defer cancel()
	if err := l.acquire(ctx); err != nil {
		return err
	}
	defer l.release()
	l.dead, l.restarted = errWriteDead, time.Time{}
	return nil
}

// Intrude stores a message in the stream with subject, whoever is writing.
func (l *Log) Intrude(ctx context.Context, subject string) error {
	_, err := l.stream.Load().eng.js.Publish(ctx, subject, []byte("intruder"))
	return err
}
