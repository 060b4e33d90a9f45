package loadtest

import (
	"net"
	"syscall"
)

// quickACK makes the kernel send the acknowledgements that it holds back, and
// some that follow. See SMTP.DelayedACK.
func quickACK(conn net.Conn) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	// If it fails the session is slower, and nothing else.
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
