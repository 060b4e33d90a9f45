//go:build !linux

package turn

import (
	"errors"
	"net"
	"syscall"
)

var errShort = errors.New("short write")

// socketOf returns nil: turn has been made sure of with epoll only. WriteRead is
// a Write and a Read.
func socketOf(net.Conn) syscall.Conn { return nil }

func (c *Conn) turn(uintptr) bool { return true }
func (c *Conn) lastLook()         {}
func (c *Conn) pending() bool     { return false }
