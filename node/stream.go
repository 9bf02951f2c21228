package node

import (
	"context"
	"errors"
	"io"
)

// Stream reads a zip that is on its way here. Read waits for bytes; it fails if
// the zip turns out to be wrong, so that the answer is cut and nobody takes it
// for complete. It belongs to one goroutine.
type Stream struct {
	ctx     context.Context
	arrival *arrival
	off     int64
	closed  bool
}

// Size returns how many bytes there will be, -1 if that isn't known yet.
func (s *Stream) Size() int64 { return s.arrival.whether().size }

// Whole waits until all bytes are here and verified. Its errors are those of
// Read, as if all had been read.
func (s *Stream) Whole() error {
	for {
		ch := s.arrival.more.wait()
		if s.arrival.whether().passed {
			return nil
		}
		if err := s.wait(ch); err != nil {
			return err
		}
	}
}

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	for {
		ch := s.arrival.more.wait()
		now := s.arrival.whether()
		switch {
		case s.off < now.passable:
			n, err := s.arrival.stage.ReadAt(p[:min(int64(len(p)), now.passable-s.off)], s.off)
			s.off += int64(n)
			if n > 0 {
				err = nil
			}
			return n, err
		case now.passed:
			return 0, io.EOF
		}
		if err := s.wait(ch); err != nil {
			return 0, err
		}
	}
}

// wait waits for more to come, and fails if it does not.
func (s *Stream) wait(more <-chan struct{}) error {
	select {
	case <-s.arrival.ended:
		return s.arrival.err // nil if it was passed meanwhile
	case <-more:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// Seek implements io.Seeker. It fails if the end is asked for and isn't known
// yet.
func (s *Stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.off
	case io.SeekEnd:
		size := s.Size()
		if size < 0 {
			return 0, errors.New("seek: the size is not known yet")
		}
		offset += size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	s.off = offset
	return offset, nil
}

// Close ends the reading.
func (s *Stream) Close() error {
	if !s.closed {
		s.closed = true
		s.arrival.leave()
	}
	return nil
}
