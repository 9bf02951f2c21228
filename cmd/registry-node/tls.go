package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificateEvery is how often a handshake looks whether there is a new pair.
const certificateEvery = time.Second

// certificate is a pair of PEM files that may be replaced while they are in use.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger
	now               atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // held by the handshake that looks; guards what follows
	looked  time.Time
	loaded  pairState // of which now is, or which was no good
	waiting pairState // a new one, as it was a moment ago
}

// pairState tells one state of the two files from others.
type pairState [2]fs.FileInfo

// loadCertificate reads a pair.
func loadCertificate(certFile, keyFile string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger, looked: time.Now()}
	state, err := c.state()
	if err == nil {
		err = c.load()
	}
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	c.loaded = state
	return c, nil
}

// config returns the settings of a listener that shows the pair that is current.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.look(time.Now())
			return c.now.Load(), nil
		},
	}
}

// look takes a new pair up, if there is one. Its files must have stood as they are
// for a while, so that none is taken of which part is yet to be written. A pair
// that is no good is logged once, and the old one stays.
func (c *certificate) look(now time.Time) {
	if !c.mu.TryLock() { // another handshake looks
		return
	}
	defer c.mu.Unlock()
	if now.Sub(c.looked) < certificateEvery {
		return
	}
	c.looked = now
	state, err := c.state()
	switch {
	case err != nil: // it is being replaced, or gone
		if c.waiting != (pairState{}) || c.loaded != (pairState{}) {
			c.logger.Error("the TLS certificate can't be read; the last one stays", "error", err)
		}
		c.loaded, c.waiting = pairState{}, pairState{}
	case state.same(c.loaded):
		c.waiting = pairState{}
	case !state.same(c.waiting):
		c.waiting = state
	default:
		c.loaded, c.waiting = state, pairState{}
		if err := c.load(); err != nil {
			c.logger.Error("the new TLS certificate is no good; the old one stays", "certificate", c.certFile, "key", c.keyFile, "error", err)
			return
		}
		c.logger.Info("new TLS certificate", "certificate", c.certFile, "until", c.now.Load().Leaf.NotAfter)
	}
}

func (c *certificate) state() (s pairState, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		var e error
		s[i], e = os.Stat(file)
		err = errors.Join(err, e)
	}
	return s, err
}

// same reports whether both files are what they were.
func (s pairState) same(as pairState) bool {
	for i, f := range s {
		if as[i] == nil || !os.SameFile(f, as[i]) || !f.ModTime().Equal(as[i].ModTime()) || f.Size() != as[i].Size() {
			return false
		}
	}
	return true
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	if c.now.Load() != nil && time.Now().After(pair.Leaf.NotAfter) {
		return fmt.Errorf("it has expired at %s", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c.now.Store(&pair)
	return nil
}
