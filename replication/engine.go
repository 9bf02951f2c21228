package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// startTimeout bounds the wait for a server that has replayed its streams.
	startTimeout = 30 * time.Second
	// quiet is how long an answer may take before engine.ask asks whether one will
	// come at all. A synced append takes about a millisecond.
	quiet = 250 * time.Millisecond
)

// errWriteDead: the stream does not answer writes any more, and will not until
// the server is started anew.
var errWriteDead = errors.New("the stream answers no writes")

// An engine is a running nats-server with JetStream, reached in process only.
type engine struct {
	srv *server.Server
	js  jetstream.JetStream // over r
	// The server answers direct gets inside the loop that reads a connection, so
	// that reading has its own and never holds up a write.
	r, w *nats.Conn

	// The rest belongs to the holder of the writer's token.
	inbox   string             // replies to w come to subjects below it
	replies *nats.Subscription // to all of them
	asked   uint64             // questions so far
}

// startEngine starts a server on cfg.Dir. Its streams are replayed when it
// returns. The caller ends it with stop.
func startEngine(cfg Config) (*engine, error) {
	log := &serverLog{log: cfg.Logger}
	srv, err := server.NewServer(&server.Options{
		ServerName:             "registry-node-" + cfg.Site.String(),
		DontListen:             true,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               cfg.Dir,
		SyncAlways:             true,
		JetStreamMaxStore:      1 << 50, // explicit: the default is 75 % of the disk, and an error beyond it
		JetStreamMaxMemory:     64 << 20,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	srv.SetLoggerV2(log, cfg.Logger.Enabled(context.Background(), slog.LevelDebug), false, false)
	e := &engine{srv: srv, inbox: nats.NewInbox()}
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) || !srv.JetStreamEnabled() {
		e.stop()
		return nil, fmt.Errorf("embedded server: %w", log.failure())
	}
	if err := e.connect(cfg); err != nil {
		e.stop()
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	return e, nil
}

// connect makes the two connections.
func (e *engine) connect(cfg Config) (err error) {
	opts := []nats.Option{
		nats.InProcessServer(e.srv),
		nats.NoReconnect(),                   // a server started anew is another engine
		nats.FlusherTimeout(cfg.ReadTimeout), // no write into a stuck server waits longer
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			cfg.Logger.Warn("connection to the embedded server", "error", err)
		}),
	}
	if e.r, err = nats.Connect("", opts...); err != nil {
		return err
	}
	if e.w, err = nats.Connect("", opts...); err != nil {
		return err
	}
	if e.js, err = jetstream.New(e.r); err != nil {
		return err
	}
	e.replies, err = e.w.SubscribeSync(e.inbox + ".>")
	return err
}

// stop ends the server and returns when all of it has ended.
func (e *engine) stop() {
	if e.r != nil {
		e.r.Close()
	}
	if e.w != nil {
		e.w.Close()
	}
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

// ask sends m to a stream and returns its answer.
//
// After a failed write a stream answers nothing at all (nats-server 2.15.2,
// stream.go, processJetStreamMsg: "We don't want to respond back to the user").
// It still answers what it refuses before it writes, and it handles messages in
// order. So when an answer is late, ask sends a message that must be refused: if
// that is answered and m is not, the answer to m never comes, and ask returns
// errWriteDead. If neither is answered the disk is slow, and ask waits until ctx
// ends.
func (e *engine) ask(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	e.asked++
	m.Reply = e.inbox + "." + strconv.FormatUint(e.asked, 10)
	if err := e.w.PublishMsg(m); err != nil {
		return nil, err
	}
	soon, cancel := context.WithTimeout(ctx, quiet)
	answer, err := e.await(soon, m.Reply)
	cancel()
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return answer, err
	}
	second := refused(m.Subject)
	second.Reply = m.Reply + ".second"
	if err := e.w.PublishMsg(second); err != nil {
		return nil, err
	}
	answer, err = e.await(ctx, m.Reply, second.Reply)
	if err == nil && answer.Subject == second.Reply {
		return nil, errWriteDead
	}
	return answer, err
}

// refused returns a message that a stream with this subject always refuses and
// never stores.
func refused(subject string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Header.Set(jetstream.ExpectedStreamHeader, "none")
	return m
}

// await returns the next message to one of subjects. Answers to earlier
// questions, which nobody waits for any more, are dropped.
func (e *engine) await(ctx context.Context, subjects ...string) (*nats.Msg, error) {
	for {
		m, err := e.replies.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrNoResponders) || err == nil && m.Header.Get("Status") == "503" {
			return nil, fmt.Errorf("%w: there is no stream", errWriteDead)
		}
		if err != nil {
			return nil, err
		}
		if slices.Contains(subjects, m.Subject) {
			return m, nil
		}
	}
}

// serverLog passes on what the server logs: warnings and errors as such, the
// rest at debug level.
type serverLog struct {
	log *slog.Logger

	mu   sync.Mutex
	last string // guarded by mu; the last error
}

func (s *serverLog) Noticef(format string, v ...any) { s.say(slog.LevelDebug, format, v) }
func (s *serverLog) Debugf(format string, v ...any)  { s.say(slog.LevelDebug, format, v) }
func (s *serverLog) Tracef(format string, v ...any)  { s.say(slog.LevelDebug, format, v) }
func (s *serverLog) Warnf(format string, v ...any)   { s.say(slog.LevelWarn, format, v) }
func (s *serverLog) Errorf(format string, v ...any)  { s.say(slog.LevelError, format, v) }

// Fatalf does not end the process: startEngine sees that the server did not come
// up.
func (s *serverLog) Fatalf(format string, v ...any) { s.say(slog.LevelError, format, v) }

func (s *serverLog) say(level slog.Level, format string, v []any) {
	text := fmt.Sprintf(format, v...)
	if level == slog.LevelError {
		s.mu.Lock()
		s.last = text
		s.mu.Unlock()
	}
	s.log.Log(context.Background(), level, "nats-server", "text", text)
}

// failure returns the last error that the server logged.
func (s *serverLog) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == "" {
		return fmt.Errorf("not ready within %s", startTimeout)
	}
	return errors.New(s.last)
}
