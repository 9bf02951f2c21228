//go:build unix

package index_test

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime returns what the process has used of all cores: a measure that other
// processes on the machine disturb less than the time of day.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
