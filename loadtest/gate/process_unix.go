//go:build unix

package gate

import (
	"errors"
	"syscall"
)

// isRunning reports whether there is such a process.
func isRunning(pid int) bool {
	return pid <= 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
