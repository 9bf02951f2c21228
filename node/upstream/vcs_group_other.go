//go:build !unix

package upstream

import (
	"os"
	"os/exec"
)

// groupOf leaves cmd as it is: this system has no process groups. What git has
// left running ends when the gate closes its connections.
func groupOf(cmd *exec.Cmd) {}

// killGroup does nothing; the context of cmd ends cmd itself.
func killGroup(cmd *exec.Cmd) {}

// signaled is false: this system has no signals.
func signaled(*os.ProcessState) bool { return false }
