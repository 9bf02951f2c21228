package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// owner returns which of the processes dialled a connection of this machine; 0
// says that it is none of them.
func owner(dialled net.Conn, processes []int64) int64 {
	socket := socketOf(dialled.RemoteAddr(), dialled.LocalAddr())
	if socket == "" {
		return 0
	}
	return holder(socket, processes)
}

// socketOf returns the socket with these ends as the kernel's tables have it
// (proc(5), /proc/net/tcp), or "". One end does not tell: connections to different
// addresses may come from the same.
func socketOf(local, remote net.Addr) string {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[1] == inTable(local) && fields[2] == inTable(remote) && fields[9] != "0" {
			return "socket:[" + fields[9] + "]"
		}
	}
	return ""
}

// inTable returns an address as the kernel's tables write it.
func inTable(addr net.Addr) string {
	tcp := addr.(*net.TCPAddr)
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(tcp.IP.To4()), tcp.Port)
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
	// Both come from one address.
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
	}}
	me := int64(os.Getpid())
	var conns []net.Conn
	for range 2 {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		conn, err := dialer.Dial("tcp4", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		dialled, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer dialled.Close()
		if pid := owner(dialled, []int64{1, me}); pid != me {
			t.Errorf("the socket is of process %d, want %d", pid, me)
		}
		if pid := owner(dialled, []int64{1}); pid != 0 {
			t.Errorf("the socket is of process %d, want none", pid)
		}
		dialer.LocalAddr = conn.LocalAddr()
		conns = append(conns, conn)
	}
	one, other := socketOf(conns[0].LocalAddr(), conns[0].RemoteAddr()), socketOf(conns[1].LocalAddr(), conns[1].RemoteAddr())
	if one == "" || other == "" || one == other {
		t.Errorf("the sockets of two connections: %q, %q", one, other)
	}
}
