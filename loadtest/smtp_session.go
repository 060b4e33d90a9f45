package loadtest

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/benchmail/benchmail/internal/smtpwire"
	"github.com/benchmail/benchmail/internal/turn"
)

const (
	// readSize is what one reply needs, or a few. Replies that are longer make
	// the buffer grow.
	readSize = 1 << 10
	// copyMax is up to where octets are copied into one buffer rather than
	// written from where they are: for a system call less to gather, and to
	// make one TLS record of a command and its data.
	copyMax = 4 << 10
	// flushSize is how much is queued at most before it is written.
	flushSize = 64 << 10
)

// buffers are what a session needs while something is under way. An idle one
// has none.
type buffers struct {
	in  []byte
	out []byte
}

// A session is a connection from greeting to QUIT.
//
// What it sends is queued and written when a reply is needed that is not there
// yet. That makes a write and a read of each turn in lockstep, and as few
// writes as possible when pipelining.
type session struct {
	dialer *SMTP
	setup  *setup
	socket net.Conn // the connection below TLS
	conn   *turn.Conn
	tls    io.Closer // nil without TLS
	ext    extensions
	phases Phases // of the handshake and of QUIT

	// now is the last reading of the clock, mark where the phase under way
	// began; both since base. stale means that now is not the present.
	base      time.Time
	now, mark time.Duration
	stale     bool
	firstTurn bool          // nothing was written since Start
	deadline  time.Duration // set on socket; 0: none

	buf  *buffers
	r, w int // buf.in[r:w] was read and not yet parsed

	// head and then tail are still to be written. head is buf.out if owned, else
	// the caller's, as tail is.
	head, tail   []byte
	owned        bool
	queued, sent int64 // octets since the connection was made
	bdat         []byte

	ring  []transaction // of setup.depth, in flight from first on, count of them
	first int
	count int

	quickACK  bool       // set TCP_QUICKACK after the next write
	needReset bool       // the server may be in a transaction that was given up
	over      bool       // the server hung up after its last reply
	cut       error      // why a write failed: nothing may be sent behind the gap
	owed      int        // replies to what is queued, at the most
	mails     int        // MAIL commands queued
	lost      *SMTPError // why the connection is of no use any more

	watched <-chan struct{} // Done of the context that is watched
	stop    func() bool     // ends the watch
	cause   func() error    // returns why that context ended
	aborted atomic.Bool
	closed  bool
}

// watch makes ctx's end the end of what is under way. The context is the same
// in all calls for a session, so that this costs a comparison.
func (s *session) watch(ctx context.Context) {
	done := ctx.Done()
	if done == s.watched {
		return
	}
	s.unwatch()
	s.watched = done
	if done == nil {
		return
	}
	s.cause = func() error { return context.Cause(ctx) }
	s.stop = context.AfterFunc(ctx, func() {
		// In this order: arm looks at aborted after it has set a deadline.
		s.aborted.Store(true)
		s.socket.SetDeadline(aLongTimeAgo)
	})
}

var aLongTimeAgo = time.Unix(1, 0)

// unwatch forgets the context, as if it could not end.
func (s *session) unwatch() {
	if s.stop != nil {
		s.stop()
	}
	s.watched, s.stop = nil, nil
}

// limit returns how long st may take.
func (s *session) limit(st step) time.Duration {
	if s.dialer.Exchange == Chunked && (st == stepMail || st == stepRcpt) {
		st = stepMessage // the mail data goes with them
	}
	return s.setup.timeouts.limit(st)
}

// arm sets the deadline for st, unless the one that is set will do: it is set an
// eighth too late, as setting it costs as much as a small system call.
func (s *session) arm(st step) {
	limit := s.limit(st)
	slack := limit / 8
	if left := s.deadline - s.now; left >= limit && left <= limit+slack && s.deadline != 0 {
		return
	}
	s.deadline = s.now + limit + slack
	s.socket.SetDeadline(s.base.Add(s.deadline))
	if s.aborted.Load() {
		s.socket.SetDeadline(aLongTimeAgo)
	}
}

// tick reads the clock.
func (s *session) tick() {
	s.now = time.Since(s.base)
	s.stale = false
}

// lap ends a phase with the last reply and begins the next one.
func (s *session) lap(p Phase, to *Phases) {
	to.Add(p, s.now-s.mark)
	s.mark = s.now
}

// acquire gets buffers for what is about to begin.
func (s *session) acquire() {
	if s.buf != nil {
		return
	}
	if s.buf, _ = s.setup.buffers.Get().(*buffers); s.buf == nil {
		size := readSize
		if s.setup.depth > 2 {
			size *= 4
		}
		s.buf = &buffers{in: make([]byte, size)}
	}
}

// release gives the buffers back if there is nothing in them.
func (s *session) release() {
	if s.buf == nil || s.r < s.w || len(s.head) > 0 {
		return
	}
	if len(s.buf.in) <= 4*readSize && cap(s.buf.out) <= 2*flushSize {
		s.setup.buffers.Put(s.buf)
	}
	s.buf = nil
}

// send queues b, which must stay as it is until it was written.
func (s *session) send(b []byte) {
	s.queued += int64(len(b))
	switch {
	case len(b) == 0, s.cut != nil:
	case len(s.head) == 0:
		s.head, s.owned = b[:len(b):len(b)], false
	case len(s.tail) > 0, s.owned && len(s.head) > flushSize:
		s.flush(stepMessage)
		s.head, s.owned = b[:len(b):len(b)], false
	case s.tls == nil && (len(b) > copyMax || !s.owned && len(s.head) > copyMax):
		s.tail = b
	case s.tls != nil && (len(b) > flushSize || !s.owned && len(s.head) > flushSize):
		// Many records in any case.
		s.flush(stepMessage)
		s.head, s.owned = b[:len(b):len(b)], false
	default:
		if !s.owned {
			s.buf.out = append(s.buf.out[:0], s.head...)
			s.owned = true
		}
		s.buf.out = append(s.buf.out, b...)
		s.head = s.buf.out
	}
}

// flush writes what is queued. If that fails as the server hung up, reading will
// tell why.
func (s *session) flush(st step) {
	if len(s.head) == 0 || s.lost != nil {
		s.head, s.tail = nil, nil
		return
	}
	if s.stale {
		s.tick()
	}
	s.arm(st)
	wrote, err := s.conn.WriteAll(s.head, s.tail)
	s.sent += int64(wrote)
	s.head, s.tail = nil, nil
	s.markWritten()
	switch {
	case err == nil:
	case isTimeout(err):
		s.fail(st, err)
	default:
		s.cut, s.over = err, true
	}
}

// Spent reports that the server will not take another transaction: it hung up
// after its last reply, or has had as many as its LIMITS MAILMAX allows.
func (s *session) Spent() bool {
	if s.over || s.lost != nil || s.ext.mailMax <= 0 {
		return s.over || s.lost != nil
	}
	mails := s.mails // refused ones count too (RFC 9422 §4.1)
	for i := range s.count {
		if s.at(i).group == 0 {
			mails++ // it will be sent
		}
	}
	return mails >= s.ext.mailMax
}

// TakePhases returns the timings of the handshakes, and of QUIT after Close.
func (s *session) TakePhases() Phases {
	p := s.phases
	s.phases.Reset()
	return p
}

// Close says QUIT and waits for the answer, unless transactions are in flight or
// the session is lost, and closes the connection. Only the first call does.
func (s *session) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.lost == nil && s.count == 0 && !s.over && !s.aborted.Load() {
		s.acquire()
		s.stale, s.firstTurn = true, true
		s.send(quitCommand)
		var r smtpwire.Reply
		if r, err = s.reply(stepQuit, s.queued); err == nil {
			s.lap(PhaseQuit, &s.phases)
			if r.Code/100 != 2 {
				err = newReplyError(stepQuit, r)
			}
		}
	}
	s.unwatch()
	if closeErr := s.hangUp(); err == nil {
		err = closeErr
	}
	return err
}

var quitCommand = []byte("QUIT\r\n")

// abandon closes the connection without a QUIT.
func (s *session) abandon() {
	s.closed = true
	s.hangUp()
}

func (s *session) hangUp() error {
	s.head, s.tail, s.r, s.w = nil, nil, 0, 0
	s.release()
	if s.dialer.ResetOnClose {
		if tcp, ok := s.socket.(interface{ SetLinger(sec int) error }); ok {
			tcp.SetLinger(0)
			return s.socket.Close()
		}
	}
	if s.tls != nil && s.lost == nil {
		// With the alert that says that this is the end. It fails if the
		// server was faster, which is none of our business any more.
		s.tls.Close()
		return nil
	}
	return s.socket.Close()
}
