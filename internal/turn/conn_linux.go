package turn

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"
)

const haveRaw = true

// errShort says that write(2) took less than there was.
var errShort = errors.New("short write")

// turn is called by RawConn.Read: once when the poller is armed, and then each
// time that it fired. The write is made in the first of these calls, so that no
// answer to it can come before the poller is armed and be missed.
func (c *Conn) turn(fd uintptr) bool {
	if !c.armed {
		c.armed = true
		if !c.send(int(fd)) {
			return true
		}
		if c.drained {
			return false
		}
	}
	for {
		n, err := syscall.Read(int(fd), c.in)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			c.err = os.NewSyscallError("read", err)
		case n == 0:
			c.err = io.EOF
		default:
			c.n = n
		}
		return true
	}
}

// send writes c.out; false means that c.err is set.
func (c *Conn) send(fd int) bool {
	for len(c.out[0])+len(c.out[1]) > 0 {
		n, err := writev(fd, c.out[0], c.out[1])
		if err == syscall.EINTR {
			continue
		}
		if n > 0 {
			c.wrote += n
			k := min(n, len(c.out[0]))
			c.out[0] = c.out[0][k:]
			c.out[1] = c.out[1][n-k:]
		}
		if err == syscall.EAGAIN {
			c.err = errShort
			return false
		}
		if err != nil {
			c.err = os.NewSyscallError("write", err)
			return false
		}
	}
	return true
}

func writev(fd int, head, tail []byte) (int, error) {
	if len(tail) == 0 {
		return syscall.Write(fd, head)
	}
	if len(head) == 0 {
		return syscall.Write(fd, tail)
	}
	iov := [2]syscall.Iovec{{Base: &head[0]}, {Base: &tail[0]}}
	iov[0].SetLen(len(head))
	iov[1].SetLen(len(tail))
	n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 2)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
