//go:build !linux

package turn

import "errors"

// haveRaw is false: turn has been made sure of with epoll only. WriteRead is a
// Write and a Read.
const haveRaw = false

var errShort = errors.New("short write")

func (c *Conn) turn(uintptr) bool { return true }
func (c *Conn) lastLook()         {}
func (c *Conn) pending() bool     { return false }
