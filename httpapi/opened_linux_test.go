package httpapi_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"syscall"
	"testing"
)

// watchOpens returns what tells which files of these directories were opened since
// it told last, by whomever. The data directory and the directories themselves
// don't count.
func watchOpens(t *testing.T, dirs ...string) func() []string {
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	for _, dir := range dirs {
		if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_OPEN); err != nil {
			t.Fatal(err)
		}
	}
	return func() (files []string) {
		buf := make([]byte, 64<<10)
		n, err := syscall.Read(fd, buf)
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
		for at := 0; at+syscall.SizeofInotifyEvent <= n; {
			end := at + syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[at+12:]))
			name := string(bytes.TrimRight(buf[at+syscall.SizeofInotifyEvent:end], "\x00"))
			if name != "" && name != "data" && name != "outside" {
				files = append(files, name)
			}
			at = end
		}
		return files
	}
}
