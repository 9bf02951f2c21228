package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// owner returns which of the processes has the socket that is bound to an
// address of this machine. The kernel's tables tell (proc(5), /proc/net/tcp);
// 0 says that it is none of them.
func owner(addr net.Addr, processes []int64) int64 {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return 0
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	ip := tcp.IP.To4()
	local := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip), tcp.Port)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[1] == local && fields[9] != "0" {
			return holder("socket:["+fields[9]+"]", processes)
		}
	}
	return 0
}

// holder returns which of the processes has a file open.
func holder(file string, processes []int64) int64 {
	for _, pid := range processes {
		open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // a process may have ended
		for _, name := range open {
			if to, err := os.Readlink(name); err == nil && to == file {
				return pid
			}
		}
	}
	return 0
}

func TestOwnerOfASocket(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	me := int64(os.Getpid())
	if pid := owner(conn.LocalAddr(), []int64{1, me}); pid != me {
		t.Errorf("the socket is of process %d, want %d", pid, me)
	}
	if pid := owner(conn.LocalAddr(), []int64{1}); pid != 0 {
		t.Errorf("the socket is of process %d, want none", pid)
	}
}
