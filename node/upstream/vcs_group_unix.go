//go:build unix

package upstream

import (
	"os"
	"os/exec"
	"syscall"
)

// groupOf puts the processes of cmd into a group of their own, which ends as a
// whole with cmd's context.
func groupOf(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		killGroup(cmd)
		return nil
	}
}

// killGroup ends whatever is left of cmd's group.
func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// signaled reports whether a process did not end by itself.
func signaled(s *os.ProcessState) bool {
	status, ok := s.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}
