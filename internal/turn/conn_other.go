//go:build !linux

package turn

import "errors"

const haveRaw = false

var errShort = errors.New("short write")

func (c *Conn) turn(uintptr) bool { return true }
