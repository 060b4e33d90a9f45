package loadtest

// lockstep sends one command at a time, and waits for its reply.
func (s *session) lockstep(t *transaction) error {
	if s.needReset {
		s.needReset = false
		s.send(resetCommand)
		if !s.ext.pipelining {
			if err := s.awaitReset(s.queued); err != nil {
				return err
			}
		} else {
			t.reset = true // its reply is read below
		}
	}
	s.mails++
	s.send(t.env.mail(s.ext.eightBit))
	t.group = s.queued
	if t.reset {
		if err := s.awaitReset(s.queued); err != nil {
			return err
		}
	}
	refusal, err := s.ask(t, stepMail, s.queued, 2, PhaseMail)
	if err != nil {
		return err
	}
	if refusal != nil {
		t.mailRefused = true
		return refusal
	}
	for i := range t.env.recipients() {
		s.send(t.env.rcpt(i))
		refusal, err := s.ask(t, stepRcpt, s.queued, 2, PhaseRcpt)
		if err != nil {
			return err
		}
		t.addRecipient(refusal)
	}
	if t.op.Recipients == 0 {
		s.needReset = true
		return t.op.RecipientErr
	}
	s.send(dataCommand)
	refusal, err = s.ask(t, stepData, s.queued, 3, PhaseData)
	if err != nil {
		return err
	}
	if refusal != nil {
		s.needReset = true
		return refusal
	}
	s.send(t.env.stuffed)
	t.end = s.queued
	return s.final(t)
}

var dataCommand = []byte("DATA\r\n")
