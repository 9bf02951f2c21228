package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const smartRefs = "application/x-git-upload-pack-advertisement"

// parse reads the refs in an answer, of a smart or of a dumb server.
func (r *refs) parse(resp *http.Response) error {
	limited := &io.LimitedReader{R: resp.Body, N: maxRefsBody}
	var err error
	body := bufio.NewReaderSize(limited, 64<<10)
	if resp.Header.Get("Content-Type") == smartRefs {
		err = r.parseSmart(body)
	} else {
		err = r.parseDumb(body)
	}
	if err != nil && limited.N == 0 {
		return fmt.Errorf("the refs are more than %d bytes", int64(maxRefsBody))
	}
	return err
}

var errNoRefs = errors.New("the answer is no list of refs")

// parseSmart reads the first answer of a smart server (gitprotocol-http,
// smart_reply; gitprotocol-pack, reference discovery): lines in packets, the
// first one naming the service, then a flush, then the refs, then a flush.
func (r *refs) parseSmart(body *bufio.Reader) error {
	if line, flush, err := readPacket(body); err != nil || flush || string(line) != "# service=git-upload-pack" {
		return errors.Join(errNoRefs, err)
	}
	if _, flush, err := readPacket(body); err != nil || !flush {
		return errors.Join(errNoRefs, err)
	}
	for first := true; ; first = false {
		line, flush, err := readPacket(body)
		if err != nil || flush {
			return err
		}
		line, _, _ = bytes.Cut(line, []byte{0}) // capabilities follow
		object, name, ok := strings.Cut(string(line), " ")
		switch {
		case first && name == "capabilities^{}": // an empty repository
			continue
		case strings.HasPrefix(object, "ERR"):
			return fmt.Errorf("the host says %s", shown(name))
		case object == "shallow":
			continue
		case !ok:
			return errNoRefs
		}
		if err := r.add(object, name); err != nil {
			return err
		}
	}
}

// readPacket reads a packet and returns its line without a final newline, or
// that it is a flush. The line is valid until the next read.
func readPacket(body *bufio.Reader) (line []byte, flush bool, err error) {
	var size [4]byte
	if _, err := io.ReadFull(body, size[:]); err != nil {
		return nil, false, truncated(err)
	}
	n, err := strconv.ParseUint(string(size[:]), 16, 16)
	if err != nil || n > 0 && n < 4 {
		return nil, false, errNoRefs
	}
	if n == 0 {
		return nil, true, nil
	}
	line = make([]byte, n-4)
	if _, err := io.ReadFull(body, line); err != nil {
		return nil, false, truncated(err)
	}
	return bytes.TrimSuffix(line, []byte("\n")), false, nil
}

// truncated is err, where an end is too early.
func truncated(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseDumb reads the refs file of a dumb server: object, tab, name. It is never
// empty, so that a host that answers nothing is not taken for an empty
// repository.
func (r *refs) parseDumb(body *bufio.Reader) error {
	for n := 0; ; n++ {
		line, err := body.ReadSlice('\n') // no longer than the buffer
		switch {
		case err == io.EOF && len(line) == 0 && n > 0:
			return nil
		case err == bufio.ErrBufferFull:
			return errNoRefs
		case err == io.EOF && len(line) > 0:
			return errTruncated
		case err == io.EOF:
			return errNoRefs
		case err != nil:
			return err
		}
		object, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\t")
		if !ok {
			return errNoRefs
		}
		if err := r.add(object, name); err != nil {
			return errors.Join(errNoRefs, err)
		}
	}
}
