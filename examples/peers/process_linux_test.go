package peers_test

import "syscall"

// diesWithParent makes the kernel end a child when this process is killed, as
// cmd/go does at -timeout: cleanups do not run then.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
