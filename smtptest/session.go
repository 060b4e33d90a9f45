package smtptest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benchmail/benchmail/internal/smtpwire"
	"github.com/benchmail/benchmail/internal/turn"
)

// Sizes of what a session reads into. A session that waits for a command holds a
// small buffer; mail data that fills it is read into a large one.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
	// maxSkip is how much of a line that is too long is skipped until it is
	// taken for one that has no end.
	maxSkip = 1 << 20
	// maxReplies is how many octets of replies are held back while there is
	// more input.
	maxReplies = 4 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// A session is one connection from greeting to QUIT. It belongs to the goroutine
// that serves it, but for what is atomic or guarded by the server's mu.
type session struct {
	srv     *Server
	id      int64
	raw     net.Conn // what was accepted
	crowded bool     // there are MaxSessions others

	conn  *turn.Conn           // raw, or TLS over it
	tls   *tls.ConnectionState // nil in plaintext
	small *[smallBuffer]byte
	large *[largeBuffer]byte // nil unless in use
	buf   []byte             // one of these two
	r, w  int                // buf[r:w] was read and not used yet
	full  bool               // the last read filled buf
	bulk  bool               // mail data is read, so that a large buffer may be used

	out         []byte // replies not sent yet
	replied     bool   // since the last read
	holdReplies bool   // a Delay does not send them
	closing     bool   // end the session when out is sent
	rst         bool   // ... with a RST
	quit        bool   // the client said QUIT
	open        bool   // counts as open; of the server's mu

	verb     string // of the current command, for the records
	mark     int    // where in out the replies to the current command begin
	override string // the Hook's text for the current command's good reply

	rejected     bool // the greeting said no
	hello        string
	esmtp        bool // EHLO or LHLO
	user         string
	attributes   map[string]string // of XCLIENT
	mails        int64             // MAIL commands
	transactions int64             // begun
	accepted     int64             // messages
	tx           transaction
	dot          smtpwire.DotReader
	body         []byte // mail data so far, when it is kept

	counts  counters
	turns   atomic.Uint64 // reads and handshakes, times turnStep; odd in a Hook
	expired atomic.Bool
	inHook  atomic.Pointer[string] // the verb it was called for
	seen    uint64                 // turns at the last tick; of the sweep
	idle    int                    // ticks without a turn; of the sweep
}

const turnStep = 2

// errClosed ends a session without anything more to be said.
var errClosed = errors.New("session is closed")

func (c *session) serve() {
	defer c.srv.removeSession(c)
	if c.srv.Log != nil {
		c.log("from %v", c.raw.RemoteAddr())
	}
	c.small = smallBuffers.Get().(*[smallBuffer]byte)
	c.buf = c.small[:]
	err := c.run()
	if err != nil && c.expired.Load() && errors.Is(err, os.ErrDeadlineExceeded) && c.conn != nil {
		c.raw.SetDeadline(time.Now().Add(lingerTime))
		c.verb = "timeout"
		c.say(replyTimeout)
		err = c.flush()
	}
	c.hangUp(err)
	if c.large != nil {
		largeBuffers.Put(c.large)
	}
	smallBuffers.Put(c.small)
	c.log("ended")
}

func (c *session) run() error {
	if c.srv.implicit {
		if err := c.handshake(); err != nil {
			return err
		}
	} else {
		c.conn = turn.New(c.raw)
	}
	if err := c.greet(); err != nil {
		return err
	}
	for !c.closing {
		if len(c.out) > maxReplies {
			if err := c.flush(); err != nil {
				return err
			}
		}
		line, err := c.readLine()
		if err != nil {
			return err
		}
		if line == nil { // refused, and the session with it
			break
		}
		if err := c.command(line); err != nil {
			return err
		}
	}
	// Before the last reply: who has read it may be back for another session
	// before this one is closed.
	c.srv.leave(c)
	return c.flush()
}

func (c *session) greet() error {
	c.verb = "CONNECT"
	act, err := c.ask(verbConnect, Command{})
	if err != nil {
		return err
	}
	if c.begin(act, '2') {
		if c.crowded {
			c.say(replyTooManySessions)
		} else {
			c.say(c.srv.greeting)
		}
	} else {
		c.rejected = true
	}
	c.end(act)
	return nil
}

// forget makes the session as it was after the greeting.
func (c *session) forget() {
	c.hello, c.esmtp = "", false
	c.tx = transaction{}
	c.body = nil
}

// fill sends the replies and reads what comes, behind what is in buf.
func (c *session) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
		if c.bulk && c.full && c.large == nil {
			c.enlarge()
		} else if !c.bulk && c.large != nil {
			largeBuffers.Put(c.large)
			c.large, c.buf = nil, c.small[:]
		}
	} else if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	if c.w == len(c.buf) {
		if c.large != nil {
			return io.ErrShortBuffer // readLine's limits are below it
		}
		c.enlarge()
	}
	wrote, n, err := c.conn.WriteRead(c.out, nil, c.buf[c.w:])
	c.turns.Add(turnStep)
	c.out = append(c.out[:0], c.out[wrote:]...)
	c.mark, c.replied = 0, false
	c.w += n
	c.full = c.w == len(c.buf)
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

func (c *session) enlarge() {
	c.large = largeBuffers.Get().(*[largeBuffer]byte)
	c.w = copy(c.large[:], c.buf[c.r:c.w])
	c.r = 0
	c.buf = c.large[:]
}

// flush sends the replies without reading.
func (c *session) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	wrote, err := c.conn.WriteAll(c.out, nil)
	c.turns.Add(turnStep)
	c.out = append(c.out[:0], c.out[wrote:]...)
	c.mark = 0
	return err
}

// readLine returns the next command line with its line end, which is borrowed
// until the next read. Lines that are too long are skipped and refused; it is nil
// if one of them ends the session.
func (c *session) readLine() ([]byte, error) {
	searched := 0
	for {
		if i := bytes.IndexByte(c.buf[c.r+searched:c.w], '\n'); i >= 0 {
			line := c.buf[c.r : c.r+searched+i+1]
			c.r += len(line)
			if len(line) > maxLine(line) {
				c.sayTooLong(line)
				if c.closing {
					return nil, nil
				}
				searched = 0
				continue
			}
			return line, nil
		}
		searched = c.w - c.r
		if part := c.buf[c.r:c.w]; searched >= maxLine(part) {
			verb := [5]byte(part) // longer than that
			if err := c.skipLine(); err != nil {
				return nil, err
			}
			if c.sayTooLong(verb[:]); c.closing {
				return nil, nil
			}
			searched = 0
			continue
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// maxLine returns how long a command line that begins so may be.
func maxLine(line []byte) int {
	if len(line) >= 5 && smtpwire.EqualFold(line[:5], "AUTH ") {
		return smtpwire.MaxAuthLine
	}
	return smtpwire.MaxCommand
}

// skipLine skips the rest of a line. It fails if there seems to be no end of it.
func (c *session) skipLine() error {
	for skipped := 0; ; {
		if i := bytes.IndexByte(c.buf[c.r:c.w], '\n'); i >= 0 {
			c.r += i + 1
			return nil
		}
		skipped += c.w - c.r
		c.r = c.w
		if skipped > maxSkip {
			c.override, c.verb = "", "unknown"
			c.say(replyLineEndless)
			if err := c.flush(); err != nil {
				return err
			}
			return errClosed
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

func (c *session) sayTooLong(line []byte) {
	r := replyLineTooLong
	if maxLine(line) == smtpwire.MaxAuthLine {
		r = replyAuthLong
	}
	c.refuseLine(line, r)
}

// lingerTime is how long a session that the server ends waits for the client to
// see it.
const lingerTime = time.Second

// hangUp closes the connection.
func (c *session) hangUp(err error) {
	defer c.raw.Close()
	c.srv.leave(c)
	if c.rst {
		if tcp, ok := c.raw.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		return
	}
	if err != nil && err != errClosed || c.srv.ctx.Err() != nil {
		return
	}
	var conn net.Conn = c.raw
	if c.conn != nil {
		conn = c.conn.Conn
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	if c.quit && c.r == c.w {
		conn.Close() // the client closes too, and sends nothing more
		return
	}
	// To close a socket with unread input sends a RST, which can overtake the
	// last reply: stop writing, and read until the client closes too.
	if half.CloseWrite() != nil {
		return
	}
	if tcp, ok := c.raw.(*net.TCPConn); ok && c.tls != nil {
		tcp.CloseWrite() // TLS's was an alert
	}
	c.raw.SetReadDeadline(time.Now().Add(lingerTime))
	for n := 0; n < maxSkip; {
		k, err := c.raw.Read(c.buf)
		if err != nil {
			return
		}
		n += k
	}
}
