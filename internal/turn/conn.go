// Package turn is a connection of two peers that take turns: one writes, then
// waits for what the other writes back.
//
// A Write and a Read on a net.Conn lock, arm and check it twice, and the Read
// first tries read(2), is told EAGAIN because the peer has not answered yet,
// parks, and reads again: one system call in three is for nothing.
// [Conn.WriteRead] does both under one lock, and in [Conn.Lockstep] parks at
// once: two system calls for one turn.
package turn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A Conn is a net.Conn with WriteRead. It is for one goroutine, as the turns
// are; Close and the SetDeadline methods may be called from others, on the
// Conn or on the connection it was made of.
type Conn struct {
	net.Conn

	// Lockstep is the caller's word that the peer owes nothing when WriteRead is
	// called with something to write: the replies to all earlier writes were
	// read. WriteRead then does not look for input before it waits for some. It
	// may be changed between turns. It has an effect on TCP and unix sockets on
	// Linux.
	//
	// What the peer did say in between, because the promise was wrong or because
	// it hangs up, is seen when something more comes from it (an answer, or the
	// reset that follows a write to a closed connection), and at the latest at
	// the deadline, which therefore must be set: WriteRead returns it then in
	// place of the error. So Lockstep is not for a server, whose client may
	// pipeline, nor for a client that does. See Pending for connections that
	// were idle.
	Lockstep bool

	raw syscall.RawConn // nil where there is no file descriptor to use: TLS, net.Pipe

	// drained means that the last read emptied the socket's buffer, so that what
	// comes after it makes the edge-triggered poller fire. RawConn.Read forgets
	// that it fired before: between the two input is overlooked unless it is
	// looked for, hence Lockstep.
	drained bool

	out   [2][]byte   // what is still to be written
	bufs  net.Buffers // out, for the net package
	wrote int
	in    []byte // where turn reads to
	n     int
	begun bool // the poller is armed, and turn has begun to write
	err   error
	pass  func(fd uintptr) bool // c.turn, bound once: a method value allocates
}

// New returns a Conn over conn.
func New(conn net.Conn) *Conn {
	c := &Conn{Conn: conn}
	if socket := socketOf(conn); socket != nil {
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw = raw
			c.pass = c.turn
		}
	}
	return c
}

// WriteRead writes head and then tail, and reads at least one byte into in. It
// returns how many bytes were written and read; fewer bytes are written than
// there are only together with an error. Empty head and tail make it a Read.
//
// If the write fails because the peer hung up, nothing is read; what the peer
// said before is still there for Read. Both deadlines should be set, as
// SetDeadline does: which of them the write heeds depends on the transport.
func (c *Conn) WriteRead(head, tail, in []byte) (wrote, n int, err error) {
	if len(in) == 0 {
		return 0, 0, io.ErrShortBuffer
	}
	if c.raw == nil || len(head)+len(tail) == 0 {
		return c.plain(head, tail, in)
	}
	c.out, c.wrote, c.in, c.n, c.err = [2][]byte{head, tail}, 0, in, 0, nil
	c.begun = false
	err = c.raw.Read(c.pass)
	if c.begun && c.err == nil && errors.Is(err, os.ErrDeadlineExceeded) {
		if c.lastLook(); c.n > 0 || c.err != nil {
			err = nil
		}
	}
	head, tail = c.out[0], c.out[1]
	c.out, c.in = [2][]byte{}, nil
	c.drained = false
	switch {
	case c.err == errShort:
		// The socket's buffer is full: let the net package wait for room.
		wrote = c.wrote
		var more int
		more, n, err = c.plain(head, tail, in)
		return wrote + more, n, err
	case c.err != nil:
		return c.wrote, 0, c.err
	case err != nil:
		switch op, ok := err.(*net.OpError); {
		case ok:
			op.Op = "read" // not "raw-read"; it was made for us
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = c.opError("read", err)
		default: // what an os.File's says when it is closed
			err = c.opError("read", net.ErrClosed)
		}
		return c.wrote, 0, err
	}
	c.drained = c.n < len(in)
	return c.wrote, c.n, nil
}

// WriteAll writes all of head and tail and reads nothing.
func (c *Conn) WriteAll(head, tail []byte) (wrote int, err error) {
	// The peer may answer any time from now on.
	c.drained = false
	return c.write(head, tail)
}

// Write makes a Conn an io.Writer for those who do not take turns, such as
// crypto/tls.
func (c *Conn) Write(b []byte) (int, error) {
	c.drained = false
	return c.Conn.Write(b)
}

// Read is as Write is.
func (c *Conn) Read(in []byte) (int, error) {
	n, err := c.Conn.Read(in)
	c.drained = err == nil && n < len(in)
	return n, err
}

// Pending reports whether there is something to read, the end of input and an
// error included. It neither reads nor waits. A client that leaves a session idle
// asks it before the next command: the server may have hung up in the meantime
// and said why. It is false where it cannot be known: with TLS, whose handshake
// messages are no input, with net.Pipe, and off Linux.
func (c *Conn) Pending() bool { return c.raw != nil && c.pending() }

func (c *Conn) plain(head, tail, in []byte) (wrote, n int, err error) {
	if wrote, err = c.WriteAll(head, tail); err != nil {
		return wrote, 0, err
	}
	n, err = c.Read(in)
	return wrote, n, err
}

// joinSize is how much is copied to make one write of two: a TLS record.
const joinSize = 16 << 10

var joinBuffers = sync.Pool{New: func() any { return new([joinSize]byte) }}

// write makes as few segments and TLS records of head and tail as it can.
func (c *Conn) write(head, tail []byte) (int, error) {
	if len(head) == 0 {
		head, tail = tail, nil
	}
	if len(head) == 0 {
		return 0, nil
	}
	if len(tail) == 0 {
		return c.Conn.Write(head)
	}
	switch c.Conn.(type) {
	case *net.TCPConn, *net.UnixConn: // which can writev
		c.out = [2][]byte{head, tail}
		c.bufs = c.out[:]
		n, err := c.bufs.WriteTo(c.Conn)
		c.out, c.bufs = [2][]byte{}, nil
		return int(n), err
	}
	wrote := 0
	if len(head) < joinSize {
		buf := joinBuffers.Get().(*[joinSize]byte)
		k := copy(buf[:], head)
		m := copy(buf[k:], tail)
		n, err := c.Conn.Write(buf[:k+m])
		joinBuffers.Put(buf)
		if tail = tail[m:]; err != nil || len(tail) == 0 {
			return n, err
		}
		wrote = n
	} else {
		n, err := c.Conn.Write(head)
		if err != nil {
			return n, err
		}
		wrote = n
	}
	n, err := c.Conn.Write(tail)
	return wrote + n, err
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
