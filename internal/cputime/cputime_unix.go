//go:build unix

// Package cputime reads the CPU time of this process.
package cputime

import (
	"syscall"
	"time"
)

// Process returns the user and system time that this process has used, of all its
// threads, and 0 if it is not known.
func Process() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
