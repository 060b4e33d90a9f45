//go:build !linux

package peers_test

import "syscall"

func diesWithParent() *syscall.SysProcAttr { return nil }
