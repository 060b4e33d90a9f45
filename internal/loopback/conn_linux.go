package loopback

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// A Conn is a connected TCP socket. It is a net.Conn, and safe for concurrent
// use as one.
type Conn struct {
	file *os.File
	raw  syscall.RawConn
	to   netip.AddrPort
}

func newConn(file *os.File, to netip.AddrPort) (*Conn, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, opError("dial", to, err)
	}
	return &Conn{file: file, raw: raw, to: to}, nil
}

// SyscallConn returns the raw connection, always the same.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.file.Read(b)
	return n, c.wrap("read", err)
}

func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.file.Write(b)
	return n, c.wrap("write", err)
}

func (c *Conn) Close() error { return c.wrap("close", c.file.Close()) }

// wrap makes the error that a net.TCPConn would return.
func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return opError(op, c.to, err)
}

// SetLinger is that of net.TCPConn, for sec 0: Close discards what is unsent and
// sends a RST.
func (c *Conn) SetLinger(sec int) error {
	l := syscall.Linger{Onoff: 1, Linger: int32(sec)}
	var err error
	if closed := c.raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &l)
	}); closed != nil {
		return closed
	}
	return os.NewSyscallError("setsockopt", err)
}

func (c *Conn) SetDeadline(t time.Time) error      { return c.file.SetDeadline(t) }
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.file.SetReadDeadline(t) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.file.SetWriteDeadline(t) }

// RemoteAddr returns the address that was dialled, a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.to) }

// LocalAddr returns the address that the connection is from, a *net.TCPAddr. The
// kernel is asked for it each time, as hardly anybody wants to know.
func (c *Conn) LocalAddr() net.Addr {
	var addr net.TCPAddr
	_ = c.raw.Control(func(fd uintptr) { // closed: the zero address
		sa, _ := syscall.Getsockname(int(fd))
		switch sa := sa.(type) {
		case *syscall.SockaddrInet4:
			addr = net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
		case *syscall.SockaddrInet6:
			addr = net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
		}
	})
	return &addr
}
