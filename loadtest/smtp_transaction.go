package loadtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// A transaction is a mail transaction in flight.
type transaction struct {
	op    *Op
	env   *envelope
	group int64         // offset in the stream behind its commands; 0: not queued
	end   int64         // offset behind the last octet of its mail data; 0: not queued
	wrote time.Duration // when its commands were written; 0: not yet

	next int // RCPTs queued
	owes int // replies, at the most

	reset       bool // a RSET goes before its MAIL
	mailRefused bool // by a 4xx or 5xx
	partial     bool // LMTP: some recipients were accepted, or not answered, before the end
	settled     bool // it ended, and err says how
	err         error
}

// begin forgets what op says about another transaction.
func (t *transaction) begin() {
	t.op.Bytes, t.op.Recipients, t.op.RecipientsRefused, t.op.RecipientErr = 0, 0, 0, nil
	t.op.Phases.Reset()
}

// Depth makes session a Pipeliner.
func (s *session) Depth() int { return s.setup.depth }

// Do performs a mail transaction.
func (s *session) Do(ctx context.Context, op *Op) error {
	if err := s.Start(ctx, op); err != nil {
		return err
	}
	_, err := s.Finish(ctx)
	return err
}

// Start begins a mail transaction.
func (s *session) Start(ctx context.Context, op *Op) error {
	if s.closed {
		return fmt.Errorf("smtp: session is closed")
	}
	if s.count == s.setup.depth {
		return fmt.Errorf("smtp: %d transactions are in flight already", s.count)
	}
	env, err := s.envelope(op.N)
	if err != nil {
		return err
	}
	if s.lost != nil {
		return s.lostAt(stepMail)
	}
	s.watch(ctx)
	s.acquire()
	s.stale, s.firstTurn = true, true
	if s.count == 0 {
		s.tick()
		s.lookForInput()
		s.mark = s.now
	}
	if s.ring == nil {
		s.ring = make([]transaction, s.setup.depth)
	}
	s.count++
	t := s.at(s.count - 1)
	*t = transaction{op: op, env: env}
	t.begin()
	switch s.dialer.Exchange {
	case Pipelined:
		if s.count == 1 {
			s.queueEnvelope(t)
		}
	case Chunked:
		if s.count == 1 {
			s.queueChunk(t)
		} else {
			s.queueBehind(s.count - 1)
		}
	}
	return nil
}

// Finish ends the oldest transaction in flight.
func (s *session) Finish(ctx context.Context) (*Op, error) {
	if s.count == 0 {
		return nil, errors.New("smtp: no transaction is in flight")
	}
	s.watch(ctx)
	t := s.at(0)
	s.settle(t)
	if s.dialer.Exchange == Chunked && s.lost == nil && s.at(s.count-1).group == 0 {
		s.queueBehind(1)
	}
	op, err := t.op, t.err
	*t = transaction{}
	s.first = (s.first + 1) % len(s.ring)
	if s.count--; s.count == 0 {
		s.release()
	}
	return op, err
}

// at returns the i-th oldest transaction in flight.
func (s *session) at(i int) *transaction { return &s.ring[(s.first+i)%len(s.ring)] }

// settle brings t to its end.
func (s *session) settle(t *transaction) {
	if t.settled {
		return
	}
	if s.lost != nil && t.group == 0 { // nothing of it was sent
		s.conclude(t, s.lostAt(stepMail))
		return
	}
	var err error
	switch s.dialer.Exchange {
	case Lockstep:
		err = s.lockstep(t)
	case Pipelined:
		err = s.pipelined(t)
	case Chunked:
		err = s.chunked(t)
	}
	s.conclude(t, err)
}

// conclude notes how t ended.
func (s *session) conclude(t *transaction, err error) {
	t.settled, t.err = true, err
	s.owed -= t.owes
	e, ok := err.(*SMTPError)
	if !ok || e.refused || t.mailRefused || t.end == 0 || s.sent < t.end {
		return
	}
	if e.Code == 421 && !t.partial {
		return // that is an answer: no, nor to anything behind it
	}
	// A copy, as it may be in doubt where the next transaction, which ended
	// for the same reason, is not.
	doubt := *e
	doubt.inDoubt = true
	t.err = &doubt
}

// refusedWith reports whether a reply with that code decided.
func (t *transaction) refusedWith(code int) bool {
	e, ok := t.err.(*SMTPError)
	return ok && e.refused && e.Code == code
}

// envelope returns operation n's message, ready for the wire.
func (s *session) envelope(n int64) (*envelope, error) {
	m := &defaultMessage
	if s.dialer.Message != nil {
		if m = s.dialer.Message(n); m == nil {
			return nil, &messageError{fmt.Errorf("smtp: no message for operation %d: the function in SMTP.Message returned nil", n)}
		}
	}
	env, err := m.prepare()
	if err != nil {
		return nil, &messageError{err}
	}
	if env.utf8 && !s.ext.smtpUTF8 {
		err = errors.New("smtp: message: an address needs SMTPUTF8, which the server does not offer")
	}
	return env, err
}

// A messageError says that a message cannot be sent to any server.
type messageError struct{ error }

func (e *messageError) Unwrap() error        { return e.error }
func (e *messageError) Is(target error) bool { return target == ErrSetup }
func (e *messageError) Kind() string         { return "message" }

// markWritten notes for the transactions that were just written when that was.
func (s *session) markWritten() {
	for i := range s.count {
		if t := s.at(i); t.wrote == 0 && t.group != 0 && t.group <= s.sent {
			t.wrote = s.now
		}
	}
}

// verdict says what a reply means where class is hoped for: nothing if it is of
// that class, a refusal, or the end of the session.
func (s *session) verdict(st step, r smtpwire.Reply, class int) (refusal *SMTPError, err error) {
	switch {
	case r.Code/100 == class:
		return nil, nil
	case r.Code == 421, r.Code < 400:
		return nil, s.failReply(st, r)
	}
	refusal = newReplyError(st, r)
	refusal.refused = true
	if r.Code == 530 { // RFC 3207 §4, RFC 4954 §6
		refusal.hint = "set Auth, or Security to loadtest.STARTTLS, whichever the server wants"
	}
	return refusal, nil
}

// ask waits for the reply to what ends at the offset end, times it, and says
// what it means.
func (s *session) ask(t *transaction, st step, end int64, class int, p Phase) (refusal *SMTPError, err error) {
	r, err := s.reply(st, end)
	if err != nil {
		return nil, err
	}
	s.lap(p, &t.op.Phases)
	if r.Code/100 == class {
		return nil, nil
	}
	return s.verdict(st, r, class)
}

// addRecipient counts a reply to RCPT.
func (t *transaction) addRecipient(refusal *SMTPError) {
	if refusal == nil {
		t.op.Recipients++
		return
	}
	t.op.RecipientsRefused++
	if t.op.RecipientErr == nil {
		t.op.RecipientErr = refusal
	}
}

// awaitReset reads the reply to a RSET that went ahead.
func (s *session) awaitReset(end int64) error {
	r, err := s.reply(stepReset, end)
	if err == nil && r.Code/100 != 2 {
		err = s.failReply(stepReset, r)
	}
	if err == nil {
		s.mark = s.now
	}
	return err
}

var resetCommand = []byte("RSET\r\n")

// final reads the reply to the mail data, or one for each recipient that was
// accepted (RFC 2033 §4.2), and counts the transaction as accepted or not.
func (s *session) final(t *transaction) error {
	if s.dialer.LMTP {
		return s.finalLMTP(t)
	}
	refusal, err := s.ask(t, stepMessage, t.end, 2, PhaseMessage)
	if err != nil {
		return err
	}
	if refusal != nil {
		// The transaction should be over (RFC 5321 §4.1.1.4). Postfix leaves
		// it open if smtpd_end_of_data_restrictions refused it.
		s.needReset = true
		return refusal
	}
	t.op.Bytes = t.env.size()
	return nil
}

func (s *session) finalLMTP(t *transaction) error {
	accepted := t.op.Recipients
	t.op.Recipients = 0
	var first *SMTPError
	for i := range accepted {
		r, err := s.reply(stepMessage, t.end)
		var refusal *SMTPError
		if err == nil {
			refusal, err = s.verdict(stepMessage, r, 2)
		}
		if err != nil {
			t.partial = t.op.Recipients > 0 || i < accepted-1
			return err
		}
		if t.addRecipient(refusal); first == nil {
			first = refusal
		}
	}
	s.lap(PhaseMessage, &t.op.Phases)
	if t.op.Recipients == 0 {
		s.needReset = true
		return first
	}
	t.op.Bytes = t.env.size()
	return nil
}
