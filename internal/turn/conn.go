// Package turn is a connection of two peers that take turns: one writes, then
// waits for what the other writes back.
//
// A read on a net.Conn first tries read(2), is told EAGAIN because the peer has
// not answered yet, parks, and reads again: one system call in three is for
// nothing. Conn.WriteRead writes only after the poller is armed, parks at once
// and reads when there is something: two system calls for one turn.
package turn

import (
	"io"
	"net"
	"syscall"
)

// A Conn is a net.Conn with WriteRead. It is for one goroutine, as the turns
// are; Close and the SetDeadline methods may be called from others.
type Conn struct {
	net.Conn
	raw syscall.RawConn // nil where there is no file descriptor to use: TLS, net.Pipe

	// drained means that the last read emptied the socket's buffer, so that
	// anything that comes after it makes the poller fire again. Without it
	// waiting before a read may be waiting for ever.
	drained bool

	out   [2][]byte // what pass still has to write
	wrote int
	in    []byte // where pass reads to
	n     int
	armed bool
	err   error
	pass  func(fd uintptr) bool // c.turn, bound once: a method value allocates
}

// New returns a Conn over conn. It must be given a connection that nothing was
// read from yet, or from which everything was read.
func New(conn net.Conn) *Conn {
	c := &Conn{Conn: conn}
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		if raw, err := conn.(syscall.Conn).SyscallConn(); err == nil && haveRaw {
			c.raw = raw
			c.pass = c.turn
		}
	}
	return c
}

// WriteRead writes head and then tail, and reads at least one byte into in. It
// returns how many bytes were written and read; fewer bytes are written than
// there are only together with an error. Empty head and tail make it a Read.
func (c *Conn) WriteRead(head, tail, in []byte) (wrote, n int, err error) {
	if len(in) == 0 {
		return 0, 0, io.ErrShortBuffer
	}
	if c.raw == nil || len(head)+len(tail) == 0 {
		return c.plain(head, tail, in)
	}
	c.out, c.wrote, c.in, c.n, c.err = [2][]byte{head, tail}, 0, in, 0, nil
	c.armed = false
	err = c.raw.Read(c.pass)
	c.in = nil
	if err == nil {
		err = c.err
	}
	if err == errShort {
		// The socket's buffer is full: let the net package wait for room.
		head, tail = c.out[0], c.out[1]
		c.out = [2][]byte{}
		wrote = c.wrote
		var more int
		more, n, err = c.plain(head, tail, in)
		return wrote + more, n, err
	}
	c.out = [2][]byte{}
	if err != nil {
		return c.wrote, c.n, opError(c.Conn, err)
	}
	c.drained = c.n < len(in)
	return c.wrote, c.n, nil
}

// WriteAll writes all of head and tail and reads nothing.
func (c *Conn) WriteAll(head, tail []byte) (wrote int, err error) {
	return c.write(head, tail)
}

// Read makes a Conn an io.Reader for those who do not take turns, such as
// crypto/tls during its handshake.
func (c *Conn) Read(in []byte) (int, error) {
	n, err := c.Conn.Read(in)
	c.drained = err == nil && n < len(in)
	return n, err
}

func (c *Conn) plain(head, tail, in []byte) (wrote, n int, err error) {
	if wrote, err = c.write(head, tail); err != nil {
		return wrote, 0, err
	}
	n, err = c.Read(in)
	return wrote, n, err
}

func (c *Conn) write(head, tail []byte) (int, error) {
	if len(tail) == 0 || len(head) == 0 {
		if len(head) == 0 {
			head = tail
		}
		if len(head) == 0 {
			return 0, nil
		}
		return c.Conn.Write(head)
	}
	if c.raw != nil {
		bufs := net.Buffers{head, tail}
		n, err := bufs.WriteTo(c.Conn)
		return int(n), err
	}
	// Two writes would be two TLS records, and without Nagle two segments.
	n, err := c.Conn.Write(append(head[:len(head):len(head)], tail...))
	return n, err
}

func opError(conn net.Conn, err error) error {
	if err == io.EOF {
		return err
	}
	if _, ok := err.(*net.OpError); ok {
		return err
	}
	return &net.OpError{Op: "read", Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: err}
}
