//go:build !linux

package loadtest

import "net"

// quickACK: only Linux has TCP_QUICKACK.
func quickACK(net.Conn) {}
