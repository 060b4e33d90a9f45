package turn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"github.com/benchmail/benchmail/internal/loopback"
)

// socketOf returns conn if it is a stream socket, and no wrapper of one that
// would be passed by.
func socketOf(conn net.Conn) syscall.Conn {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return conn
	case *loopback.Conn:
		return conn
	case *net.UnixConn:
		// Of a unixgram socket a read takes a message, however short.
		if conn.LocalAddr().Network() == "unix" {
			return conn
		}
	}
	return nil
}

// errShort says that write(2) took less than there was.
var errShort = errors.New("short write")

// turn is called by RawConn.Read: once when the poller is armed, and then each
// time that it fired. The write is made in the first of these calls, so that no
// answer to it can come before the poller is armed and be missed. Neither write
// nor read blocks.
func (c *Conn) turn(fd uintptr) bool {
	if !c.begun {
		c.begun = true
		if !c.send(int(fd)) {
			return true
		}
		if c.Lockstep && c.drained {
			return false
		}
	}
	return c.receive(int(fd))
}

// receive reads once; false means that there was nothing.
func (c *Conn) receive(fd int) bool {
	for {
		n, err := read(fd, c.in)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			c.err = c.opError("read", os.NewSyscallError("read", err))
		case n == 0:
			c.err = io.EOF
		default:
			c.n = n
		}
		return true
	}
}

// lastLook reads what was overlooked in Lockstep, or came with the deadline.
func (c *Conn) lastLook() {
	_ = c.raw.Control(func(fd uintptr) { c.receive(int(fd)) }) // fails if closed: nothing to see
}

func (c *Conn) pending() bool {
	pending := true // closed: reading tells
	_ = c.raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		pending = err != syscall.EAGAIN && err != syscall.EINTR
	})
	return pending
}

// send writes c.out; false means that c.err is set.
func (c *Conn) send(fd int) bool {
	for len(c.out[0])+len(c.out[1]) > 0 {
		n, err := writev(fd, c.out[0], c.out[1])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			c.err = errShort
			return false
		case err != nil:
			c.err = c.opError("write", os.NewSyscallError("write", err))
			return false
		default:
			c.wrote += n
			k := min(n, len(c.out[0]))
			c.out[0] = c.out[0][k:]
			c.out[1] = c.out[1][n-k:]
		}
	}
	return true
}

// read, write and writev are system calls that the scheduler is not told of, as
// the descriptors do not block. One that it is told of lends its processor away
// if it takes long, and a write to a loopback address takes long: the kernel
// hands the segment to the receiver within it. Waking another thread then, only
// to take the processor back, made a tenth of a load generator's CPU time.
func read(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return result(n, errno)
}

func write(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return result(n, errno)
}

func writev(fd int, head, tail []byte) (int, error) {
	if len(tail) == 0 {
		return write(fd, head)
	}
	if len(head) == 0 {
		return write(fd, tail)
	}
	iov := [2]syscall.Iovec{{Base: &head[0]}, {Base: &tail[0]}}
	iov[0].SetLen(len(head))
	iov[1].SetLen(len(tail))
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 2)
	return result(n, errno)
}

func result(n uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
