package blob_test

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"registry-node/node/blob"
)

// TestNoSpaceOnFullDisk runs itself again in a mount namespace of its own, where
// it may mount a file system of 1 MiB that is gone when the process is.
func TestNoSpaceOnFullDisk(t *testing.T) {
	const inside, cannotMount = "BLOB_TEST_MOUNT", 77
	if os.Getenv(inside) != "" {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Logf("mount: %v", err)
			os.Exit(cannotMount)
		}
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
		if err := blob.Create(dir); err != nil {
			t.Fatal(err)
		}
		fillDisk(t, dir)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoSpaceOnFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case !errors.As(err, &exit) || exit.ExitCode() == cannotMount:
		if os.Getenv("CI") == "true" {
			t.Fatalf("cannot mount a small file system, which CI must allow: %v\n%s", err, out)
		}
		t.Skipf("cannot mount a small file system here: %v\n%s", err, out)
	default:
		t.Fatalf("%v\n%s", err, out)
	}
}
