package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A stream is one generation of the log in one running server. Its values stay
// good for reading while another takes its place; then they fail.
type stream struct {
	eng  *engine
	name string
	subj string
	gen  uint64
	wait time.Duration // for an answer to a read
	blks blocks        // belongs to the holder of the writer's token
}

// errWrongLast: the stream does not end just before the sequence asked for.
var errWrongLast = errors.New("wrong last sequence")

// openStream opens generation gen, and makes it if it is missing. It also
// returns the stream's last sequence.
func openStream(ctx context.Context, eng *engine, cfg Config, gen uint64) (*stream, uint64, error) {
	s := &stream{
		eng:  eng,
		name: streamName(cfg.Site, gen),
		subj: fmt.Sprintf("log.%s.%d", cfg.Site, gen),
		gen:  gen,
		wait: cfg.ReadTimeout,
	}
	st, err := s.state(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := s.create(ctx, cfg.Dir); err != nil {
			return nil, 0, fmt.Errorf("create stream %s: %w", s.name, err)
		}
		st, err = s.state(ctx)
	}
	if err != nil {
		return nil, 0, err
	}
	s.blks, err = openBlocks(filepath.Join(cfg.Dir, streamsDir, s.name, "msgs"))
	return s, st.Last, err
}

// create makes the stream in a server that runs in dir. Where the server did not
// recognise one that is there, because the files that describe it are damaged,
// it takes over its messages.
func (s *stream) create(ctx context.Context, dir string) error {
	_, err := s.eng.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:               s.name,
		Subjects:           []string{s.subj},
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		MaxMsgSize:         MaxEntry + 4<<10, // headers count
		Duplicates:         100 * time.Millisecond,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	})
	if err != nil {
		return err
	}
	return syncStream(dir, s.name)
}

// state returns what the stream says about itself.
func (s *stream) state(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	js, err := s.eng.js.Stream(ctx, s.name)
	if err != nil {
		return State{}, unavailable("state of "+s.name, err)
	}
	st := js.CachedInfo().State
	return State{Generation: s.gen, Stream: s.name, Entries: st.Msgs, First: st.FirstSeq, Last: st.LastSeq}, nil
}

// append sends entry and returns nil once it is durable as sequence seq, or
// errWrongLast, errWriteDead, or another error when there was no answer.
// The caller holds the writer's token.
func (s *stream) append(ctx context.Context, seq uint64, entry []byte) error {
	m := nats.NewMsg(s.subj)
	m.Data = entry
	m.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(seq-1, 10))
	return s.publish(ctx, m, seq)
}

// appendBatch appends entries after sequence after as one atomic batch, which is
// one sync for all. The errors are those of append.
func (s *stream) appendBatch(ctx context.Context, after uint64, entries [][]byte) error {
	id := nats.NewInbox()[len(nats.InboxPrefix):] // unique, and all that it must be
	for i, entry := range entries {
		m := nats.NewMsg(s.subj)
		m.Data = entry
		m.Header.Set("Nats-Batch-Id", id)
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i == 0 {
			m.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(after, 10))
		}
		if i == len(entries)-1 {
			m.Header.Set("Nats-Batch-Commit", "1")
			return s.publish(ctx, m, after+uint64(len(entries)))
		}
		if err := s.eng.w.PublishMsg(m); err != nil {
			return err
		}
	}
	return nil
}

// publish sends m, whose acknowledgement must name sequence seq.
func (s *stream) publish(ctx context.Context, m *nats.Msg, seq uint64) error {
	reply, err := s.eng.ask(ctx, m)
	if err != nil {
		return err
	}
	var ack struct {
		Seq   uint64
		Error *jetstream.APIError
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return fmt.Errorf("acknowledgement %q: %w", reply.Data, err)
	}
	switch {
	case ack.Error != nil && ack.Error.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return errWrongLast
	case ack.Error != nil:
		return ack.Error
	case ack.Seq != seq:
		return fmt.Errorf("stored as %d, not %d", ack.Seq, seq)
	}
	// The bytes are durable; this makes the file that holds them durable, too.
	if err := s.blks.settle(); err != nil {
		return fmt.Errorf("%w: %w", errWriteDead, err)
	}
	return nil
}

// barrier returns nil once the stream has handled everything sent before. The
// caller holds the writer's token.
func (s *stream) barrier(ctx context.Context) error {
	_, err := s.eng.ask(ctx, refused(s.subj))
	return err
}

// get returns the entry with sequence seq, and false when the stream does not
// hold it or cannot read it.
func (s *stream) get(ctx context.Context, seq uint64) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	m, err := s.eng.r.RequestWithContext(ctx, s.direct(), fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		return nil, false, unavailable(fmt.Sprintf("get %d", seq), err)
	}
	switch status := m.Header.Get("Status"); {
	case status == "404":
		return nil, false, nil
	case status != "" || m.Header.Get(jetstream.SequenceHeader) != strconv.FormatUint(seq, 10):
		return nil, false, unavailable(fmt.Sprintf("get %d", seq), fmt.Errorf("answer %v", m.Header))
	}
	return m.Data, true, nil
}

// direct is the subject that answers reads of this stream.
func (s *stream) direct() string { return "$JS.API.DIRECT.GET." + s.name }

const (
	readCount = 2000    // messages in one batch of a read
	readBytes = 4 << 20 // and bytes
)

// read yields the entries from next to the last one known now. While the caller
// works on one batch, the server already sends the next.
func (s *stream) read(ctx context.Context, next uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		st, err := s.state(ctx)
		if err != nil {
			yield(Record{}, err)
			return
		}
		sub, err := s.eng.r.SubscribeSync(nats.NewInbox())
		if err != nil {
			yield(Record{}, unavailable("read", err))
			return
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
		err = s.request(sub, next, st.Last)
		for err == nil && next <= st.Last {
			var batch []Record
			batch, err = s.collect(ctx, sub, next, st.Last)
			next += uint64(len(batch))
			if err == nil {
				err = s.request(sub, next, st.Last)
			}
			for _, r := range batch {
				if !yield(r, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(Record{}, err)
		}
	}
}

// request asks for a batch from next on, to be sent to sub, unless that lies
// behind last.
func (s *stream) request(sub *nats.Subscription, next, last uint64) error {
	if next > last {
		return nil
	}
	req := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, next, min(readCount, last-next+1), readBytes)
	if err := s.eng.r.PublishRequest(s.direct(), sub.Subject, req); err != nil {
		return unavailable("read", err)
	}
	return nil
}

// collect receives one batch, which must begin with next. It returns what came
// before an error together with it.
func (s *stream) collect(ctx context.Context, sub *nats.Subscription, next, last uint64) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	var batch []Record
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return batch, unavailable(fmt.Sprintf("read %d", next), err)
		}
		switch status := m.Header.Get("Status"); {
		case status == "204" && len(batch) > 0:
			return batch, nil
		case status == "204" || status == "404":
			return batch, &GapError{Seq: next, Last: last}
		case status != "":
			return batch, unavailable(fmt.Sprintf("read %d", next), fmt.Errorf("answer %v", m.Header))
		case m.Header.Get(jetstream.SequenceHeader) != strconv.FormatUint(next, 10):
			return batch, &GapError{Seq: next, Last: last}
		}
		batch = append(batch, Record{Seq: next, Data: m.Data})
		next++
	}
}
