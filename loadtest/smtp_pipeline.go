package loadtest

import (
	"github.com/benchmail/benchmail/internal/smtpwire"
)

// queueCommands queues a RSET if one is needed, MAIL and RCPT, and DATA if
// withData.
func (s *session) queueCommands(t *transaction, withData bool) {
	if s.needReset {
		s.needReset = false
		t.reset = true
		s.send(resetCommand)
	}
	s.mails++
	n := t.env.recipients()
	t.owes = 3 + n
	if s.dialer.LMTP {
		t.owes += n
	}
	s.owed += t.owes
	if n > maxOwed {
		s.send(t.env.mail(s.ext.eightBit))
		s.queueRcpts(t)
		return
	}
	t.next = n
	if s.ext.eightBit && t.env.eightBit != nil {
		s.send(t.env.eightBit)
		s.send(t.env.afterMail(withData))
	} else if withData {
		s.send(t.env.commands)
	} else {
		s.send(t.env.commands[:t.env.rcpts[len(t.env.rcpts)-1]])
	}
}

// maxOwed is how many replies the server may owe. One that cannot write them, as
// we write and do not read, stops reading: both would wait for the other for ever
// (RFC 2920 §3.1). A unix socket takes some 280 replies that are written one by
// one, a TCP socket thousands.
const maxOwed = 256

// queueRcpts queues the next RCPTs of t, and DATA behind the last one if
// Pipelined.
func (s *session) queueRcpts(t *transaction) {
	from, n := t.next, t.env.recipients()
	t.next = min(from+maxOwed, n)
	end := t.env.rcpts[t.next]
	if t.next == n && s.dialer.Exchange == Pipelined {
		end = len(t.env.commands)
	}
	s.send(t.env.commands[t.env.rcpts[from]:end])
	t.group = s.queued
}

// queueBehind queues transactions behind those that are queued, as far as
// maxOwed allows (Chunked): from the i-th oldest on.
func (s *session) queueBehind(i int) {
	for ; i < s.count; i++ {
		before, t := s.at(i-1), s.at(i)
		if t.group != 0 || t.settled {
			continue
		}
		if !before.settled && before.end == 0 || s.owed+2*t.env.recipients() > maxOwed {
			return
		}
		s.queueChunk(t)
	}
}

// queueEnvelope queues the commands of t up to DATA.
func (s *session) queueEnvelope(t *transaction) {
	s.queueCommands(t, true)
	t.group = s.queued
}

// queueChunk queues all of t.
func (s *session) queueChunk(t *transaction) {
	s.queueCommands(t, false)
	if t.next == t.env.recipients() {
		s.queueData(t)
	}
}

// queueData queues the chunk of t.
func (s *session) queueData(t *transaction) {
	// It is copied or written before the next one is made.
	s.bdat = smtpwire.AppendBDAT(s.bdat[:0], t.env.size(), true)
	s.send(s.bdat)
	t.group = s.queued
	s.send(t.env.chunk)
	t.end = s.queued
}

// envelopeReplies reads the replies to RSET, MAIL and RCPT. refusal is why no
// recipient was accepted.
func (s *session) envelopeReplies(t *transaction) (refusal *SMTPError, err error) {
	if s.mark < t.wrote {
		s.mark = t.wrote
	}
	if t.reset {
		if err := s.awaitReset(t.group); err != nil {
			return nil, err
		}
	}
	mail, err := s.ask(t, stepMail, t.group, 2, PhaseMail)
	if err != nil {
		return nil, err
	}
	t.mailRefused = mail != nil
	for i := range t.env.recipients() {
		if i == t.next {
			s.queueRcpts(t)
			if s.dialer.Exchange == Chunked && t.next == t.env.recipients() {
				s.queueData(t)
			}
		}
		refused, err := s.ask(t, stepRcpt, t.group, 2, PhaseRcpt)
		if err != nil {
			return nil, err
		}
		t.addRecipient(refused)
		if refusal == nil {
			refusal = refused
		}
	}
	switch {
	case mail != nil:
		return mail, nil
	case t.op.Recipients == 0:
		return refusal, nil
	}
	return nil, nil
}

// pipelined sends MAIL, RCPT and DATA together, and with the mail data the
// commands of the transaction behind it, if there is one.
func (s *session) pipelined(t *transaction) error {
	if t.group == 0 {
		s.queueEnvelope(t)
	}
	refusal, err := s.envelopeReplies(t)
	if err != nil {
		return err
	}
	if !t.reset && s.needReset {
		// These commands went with mail data that was refused then. If MAIL
		// was accepted, the server did not want the RSET.
		s.needReset = t.mailRefused
		if t.mailRefused && refusal.Code == 503 {
			s.setup.oneByOne.Store(true)
		}
	}
	data, err := s.ask(t, stepData, t.group, 3, PhaseData)
	if err != nil {
		return err
	}
	switch {
	case data == nil && refusal == nil:
	case data == nil && (s.dialer.LMTP || t.op.Recipients > 0):
		// MAIL was refused, RCPT accepted and DATA too: the server is in some
		// other transaction. And LMTP has no reply to data for nobody.
		return s.fail(stepData, protocolError("the server accepts mail data after it has refused the envelope (%s)", refusal.Kind()))
	case data == nil:
		// The server wants data for nobody: it gets none (RFC 2920 §3.1), and
		// what it answers means nothing.
		s.send(endOfData)
		r, err := s.reply(stepMessage, s.queued)
		if err != nil {
			return err
		}
		if r.Code == 421 {
			return s.failReply(stepMessage, r)
		}
		s.needReset = true
		return refusal
	default:
		if !t.mailRefused {
			s.needReset = true
		}
		if refusal == nil {
			refusal = data
		}
		return refusal
	}
	s.send(t.env.stuffed)
	t.end = s.queued
	if s.count > 1 && !s.setup.oneByOne.Load() {
		if next := s.at(1); next.group == 0 {
			s.queueEnvelope(next)
		}
	}
	return s.final(t)
}

var endOfData = []byte(smtpwire.EndOfData)

// chunked sends a whole transaction together.
func (s *session) chunked(t *transaction) error {
	if t.group == 0 {
		s.queueChunk(t)
	}
	err := s.chunkReplies(t)
	if err != nil && s.lost == nil {
		s.needReset = true
		s.settleBehind()
	}
	return err
}

// chunkReplies reads all replies to t.
func (s *session) chunkReplies(t *transaction) error {
	refusal, err := s.envelopeReplies(t)
	switch {
	case err != nil:
		return err
	case refusal != nil:
		return s.refusedChunk(t, refusal)
	}
	return s.final(t)
}

// refusedChunk reads the reply to a chunk for nobody. The server has skipped it
// (RFC 3030 §2).
func (s *session) refusedChunk(t *transaction, refusal *SMTPError) error {
	chunk, err := s.ask(t, stepMessage, t.end, 2, PhaseMessage)
	if err != nil {
		return err
	}
	if chunk == nil {
		// It has accepted the data of a transaction that it has refused. With
		// another one still open (MAIL 503, RCPT 250) that is a delivery.
		t.mailRefused = false
		return s.fail(stepMessage, protocolError("the server accepts mail data after it has refused the envelope (%s)", refusal.Kind()))
	}
	return refusal
}

// settleBehind ends the transactions in flight behind one that was refused, and
// sends those again that were refused for no other reason: after a chunk was
// refused a server may insist on RSET before the next MAIL (RFC 3030 §2), and
// those were on their way.
func (s *session) settleBehind() {
	var again [maxDepth]bool
	for i := 1; i < s.count; i++ {
		t := s.at(i)
		if t.settled {
			continue
		}
		if t.group == 0 {
			break
		}
		s.conclude(t, s.chunkReplies(t))
		switch {
		case s.lost != nil:
		case t.err == nil:
			s.needReset = false
		default:
			s.needReset = true
			again[i] = t.mailRefused && t.refusedWith(503)
		}
	}
	if s.lost != nil {
		return
	}
	for i := 1; i < s.count; i++ {
		if again[i] {
			t := s.at(i)
			*t = transaction{op: t.op, env: t.env}
			t.begin()
			s.queueChunk(t)
		}
	}
}
