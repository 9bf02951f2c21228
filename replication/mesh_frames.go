package replication

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// maxLine bounds a line of the NATS protocol from a server, in bytes. The longest
// is INFO.
const maxLine = 16 << 10

// A framedConn reads from the server of another site and refuses what the NATS
// client must not see: that allocates as many bytes as a MSG line claims, or
// panics when the number is absurd (nats.go 1.55, parser.go), so one hostile
// member could end this process. It reads the protocol more strictly than the
// client does, lest the two take different bytes for the start of a line.
type framedConn struct {
	net.Conn
	line    []byte // of an unfinished line
	payload int    // bytes of a message that are still to come
	ending  string // what must follow the payload
}

func (c *framedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if ferr := c.check(b[:n]); ferr != nil {
		return 0, fmt.Errorf("from the peer's server: %w", ferr)
	}
	return n, err
}

func (c *framedConn) check(b []byte) error {
	for len(b) > 0 {
		switch {
		case c.payload > 0:
			n := min(c.payload, len(b))
			c.payload, b = c.payload-n, b[n:]
		case c.ending != "":
			if b[0] != c.ending[0] {
				return errors.New("a message does not end where its line says")
			}
			c.ending, b = c.ending[1:], b[1:]
		default:
			part, rest, whole := bytes.Cut(b, []byte("\n"))
			if c.line = append(c.line, part...); len(c.line) > maxLine {
				return fmt.Errorf("a line is longer than %d bytes", maxLine)
			}
			if b = rest; !whole {
				return nil
			}
			if err := c.endLine(); err != nil {
				return err
			}
		}
	}
	return nil
}

// endLine takes the line that has come to its end.
func (c *framedConn) endLine() error {
	line, found := bytes.CutSuffix(c.line, []byte("\r"))
	c.line = c.line[:0]
	if !found {
		return errors.New("a line does not end in CR LF")
	}
	op, args, _ := bytes.Cut(line, []byte(" "))
	switch string(op) {
	case "INFO", "PING", "PONG", "+OK", "-ERR":
		return nil
	case "MSG", "HMSG":
	default:
		return fmt.Errorf("a line starts with %.20q", op)
	}
	for _, ch := range args {
		if ch < ' ' {
			return errors.New("a line has control characters")
		}
	}
	size := args[bytes.LastIndexByte(args, ' ')+1:]
	n, err := strconv.ParseUint(string(size), 10, 31)
	if err != nil || n > MaxMessage+maxHeader {
		return fmt.Errorf("a message claims %.20q bytes", size)
	}
	c.payload, c.ending = int(n), "\r\n"
	return nil
}
