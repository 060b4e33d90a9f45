package loadtest

import (
	"fmt"
	"io"
	"time"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// reply returns the next reply, which is to a command that ends at the offset
// end of what is sent. It writes what is queued unless the reply is already
// here. The reply is valid until the next call.
func (s *session) reply(st step, end int64) (smtpwire.Reply, error) {
	if s.lost != nil {
		return smtpwire.Reply{}, s.lostAt(st)
	}
	late := s.sent < end && s.cut == nil // the command was not written yet
	if late && s.r < s.w {
		return s.stray(st)
	}
	armed := false
	for {
		if s.r < s.w {
			r, n, err := smtpwire.ParseReply(s.buf.in[s.r:s.w])
			if err != nil {
				return r, s.fail(st, err)
			}
			if n > 0 {
				if s.r += n; s.r == s.w {
					s.r, s.w = 0, 0
				}
				// A reply to what was not sent in full can only be a no.
				if s.cut != nil && s.sent < end && r.Code < 400 {
					return r, s.fail(st, s.cut)
				}
				return r, nil
			}
		}
		if s.stale {
			s.tick()
			if late {
				s.mark = s.now // the phase begins with this write
			}
		}
		if !armed {
			s.arm(st)
			armed = true
		}
		s.makeRoom()
		if s.quickACK {
			// EHLO must be written and its reply not yet awaited.
			s.quickACK = false
			s.flush(st)
			if s.lost != nil {
				return smtpwire.Reply{}, s.lost
			}
			quickACK(s.socket)
		}
		// With one transaction in flight the server owes nothing when we write.
		// It may still have hung up since its last reply, most likely between
		// two transactions: there it is worth a look.
		s.conn.Lockstep = s.setup.depth == 1 && !s.firstTurn
		s.firstTurn = false
		todo := len(s.head) + len(s.tail)
		wrote, n, err := s.conn.WriteRead(s.head, s.tail, s.buf.in[s.w:])
		s.head, s.tail = nil, nil
		s.sent += int64(wrote)
		s.w += n
		if todo > 0 {
			s.markWritten()
		}
		s.tick()
		switch {
		case err == nil, n > 0:
		case todo > wrote && s.cut == nil && !isTimeout(err):
			// The server has hung up while we were writing, maybe after it
			// said why.
			s.cut, s.over = err, true
		case s.cut != nil:
			return smtpwire.Reply{}, s.fail(st, s.cut)
		default:
			return smtpwire.Reply{}, s.fail(st, err)
		}
	}
}

// lookForInput reads what the server may have said while the session was idle:
// that it hangs up.
func (s *session) lookForInput() {
	if s.now-s.mark < time.Second || !s.conn.Pending() {
		return
	}
	s.arm(stepMail)
	n, err := s.conn.Read(s.buf.in[s.w:])
	s.w += n
	if n == 0 && err != nil {
		s.fail(stepMail, err)
	}
}

// makeRoom makes room for reading: a quarter of the buffer or more.
func (s *session) makeRoom() {
	if s.r > 0 {
		s.w = copy(s.buf.in, s.buf.in[s.r:s.w])
		s.r = 0
	}
	if size := len(s.buf.in); size-s.w < size/4 {
		s.buf.in = append(s.buf.in, make([]byte, size)...)
	}
}

// stray handles what the server said before it was asked. That is either a 421,
// which may come at any time (RFC 5321 §3.8), or means that replies cannot be
// matched with commands.
func (s *session) stray(st step) (smtpwire.Reply, error) {
	r, n, err := smtpwire.ParseReply(s.buf.in[s.r:s.w])
	if err == nil && n > 0 && r.Code == 421 {
		s.r += n
		return r, nil
	}
	if err == nil {
		err = protocolError("the server sent %q before it was asked", clip(s.buf.in[s.r:s.w]))
	}
	return smtpwire.Reply{}, s.fail(st, err)
}

func clip(b []byte) []byte { return b[:min(len(b), 64)] }

// fail makes the error of a session that is lost in st, and remembers it.
func (s *session) fail(st step, err error) *SMTPError {
	e := &SMTPError{Phase: st.name(), Err: err}
	switch {
	case s.aborted.Load():
		// The deadline that was set then says nothing.
		e.Err = canceled(s.cause())
	case isTimeout(err):
		e.Err = fmt.Errorf("no answer within %v: %w", s.limit(st), err)
		e.hint = "raise Timeouts." + st.limitName() + " if the server may take that long"
	case err == io.EOF:
		e.Err = fmt.Errorf("the server closed the connection: %w", err)
		e.hint = "its log may say why"
	}
	s.lost = e
	return e
}

// failReply makes the error of a session that r, the reply in st, is the end of.
func (s *session) failReply(st step, r smtpwire.Reply) *SMTPError {
	e := newReplyError(st, r)
	if r.Code != 421 {
		e.Err = protocolError("this is no reply to %s", st.name())
		e.kind = "protocol " + st.name()
	}
	s.lost = e
	return e
}

// lostAt returns the error of what comes after the session was lost.
func (s *session) lostAt(st step) *SMTPError {
	e := *s.lost
	e.inDoubt = false
	if e.Code == 0 {
		e.Phase = st.name()
	}
	return &e
}
