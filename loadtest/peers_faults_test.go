package loadtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/peertest"
	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// faultModes are the modes in which faults are tried: those in which it matters
// how many commands and messages are under way when one comes.
func faultModes() []mode {
	var all []mode
	for _, m := range modes() {
		different := 0 // from plaintext SMTP with sessions that are used again
		for _, is := range []bool{m.security == loadtest.STARTTLS, m.reuse == 1, m.lmtp} {
			if is {
				different++
			}
		}
		if m.unix || m.security == loadtest.ImplicitTLS || m.reuse == 7 || different > 1 {
			continue
		}
		all = append(all, m)
	}
	return all
}

// every is an Action for each nth command of a verb, and none for the others.
func every(nth int64, verb string, a smtptest.Action) smtptest.Hook {
	return func(_ context.Context, c *smtptest.Command) smtptest.Action {
		if c.Verb == verb && c.N%nth == 0 {
			return a
		}
		return smtptest.Action{}
	}
}

// TestPeersFaults has our own server misbehave at each point of a session.
func TestPeersFaults(t *testing.T) {
	const messages, sessions = 36, 3
	// Under LMTP the end of data is refused for each recipient by itself.
	refused := func(r *loadtest.Result) int64 { return r.Refused + r.RecipientsRefused }
	throttled := func(r *loadtest.Result) int64 { return r.Throttled }
	// Under LMTP the replies to the other recipients are missing then.
	throttledAtEnd := func(r *loadtest.Result) int64 { return r.Throttled + r.InDoubt + r.RecipientsRefused }
	lost := func(r *loadtest.Result) int64 { return r.Failed + r.InDoubt }
	for _, tt := range []struct {
		name string
		why  string
		hook smtptest.Hook
		// count is what the fault must show up in.
		count func(*loadtest.Result) int64
	}{
		{"MAIL 451", "the RCPT and DATA that were sent with it are refused too", every(5, "MAIL", smtptest.Action{Reply: "451 4.3.0 Try later"}), refused},
		{"MAIL 421", "what was sent behind it is not answered", every(5, "MAIL", smtptest.Action{Reply: "421 4.7.0 Slow down"}), throttled},
		{"RCPT 450 all", "a 354 may come all the same, and wants a bare dot", every(1, "RCPT", smtptest.Action{Reply: "450 4.2.0 Greylisted"}), refused},
		{"RCPT 550 some", "the message goes to the others", every(2, "RCPT", smtptest.Action{Reply: "550 5.1.1 Unknown"}), func(r *loadtest.Result) int64 { return r.RecipientsRefused }},
		{"RCPT 421", "in the middle of a group", every(7, "RCPT", smtptest.Action{Reply: "421 4.7.0 Slow down"}), throttled},
		{"RCPT lost", "nothing was sent that could be accepted, unless it was chunked", every(7, "RCPT", smtptest.Action{Close: smtptest.CloseWithoutReply}), lost},
		{"end of data 554", "refused at the last moment", every(3, ".", smtptest.Action{Reply: "554 5.6.0 Spam"}), refused},
		{"end of data 421", "an answer, and the session is over", every(4, ".", smtptest.Action{Reply: "421 4.3.2 Shutting down"}), throttledAtEnd},
		{"end of data lost", "this is what in doubt is for", every(4, ".", smtptest.Action{Close: smtptest.CloseWithoutReply}), func(r *loadtest.Result) int64 { return r.InDoubt }},
		{"end of data reset", "the same by RST", every(4, ".", smtptest.Action{Close: smtptest.Reset}), func(r *loadtest.Result) int64 { return r.InDoubt }},
		{"end of data in part", "half a reply is none", every(4, ".", smtptest.Action{Close: smtptest.ClosePartial}), func(r *loadtest.Result) int64 { return r.InDoubt }},
		{"end of data accepted, then closed", "the reply counts", every(4, ".", smtptest.Action{Close: smtptest.CloseAfterReply}), nil},
		{"greeting 421", "sessions that cannot be opened", every(3, "CONNECT", smtptest.Action{Reply: "421 4.3.2 Too many"}), nil},
		{"greeting lost", "the same without an answer", every(3, "CONNECT", smtptest.Action{Close: smtptest.CloseWithoutReply}), nil},
		{"EHLO lost", "in the handshake", every(5, "EHLO", smtptest.Action{Close: smtptest.CloseWithoutReply}), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, m := range faultModes() {
				t.Run(m.String(), func(t *testing.T) {
					target := startSmtptestWith(t, m, func(s *smtptest.Server) { s.Hook = tt.hook })
					target.dialer.Message = numbered
					res, err := drive(t, target.dialer, loadtest.Config{
						Sessions: sessions, OpsPerSession: m.reuse, Ops: messages, OpTimeout: 5 * time.Second,
					})
					checkDelivery(t, res, target.received())
					if err != nil { // the pool could not be opened: rule 4
						assert.Less(t, res.Ops, int64(messages), "an error, though the load was applied: %v", err)
						return
					}
					assert.EqualValues(t, messages, res.Ops)
					if tt.count != nil {
						assert.Positive(t, tt.count(res), "the fault is in no count (%s): %s", tt.why, describe(res))
					}
					if res.Accepted < res.Ops || res.RecipientsRefused > 0 {
						assert.NotEmpty(t, res.Errors)
					}
				})
			}
		})
	}
}

// TestPeersSinkFaults uses the faults that smtp-sink knows. They are
// unconditional: every message meets them.
func TestPeersSinkFaults(t *testing.T) {
	const messages, sessions = 12, 2
	for _, tt := range []struct {
		name  string
		flags []string
		// refused, throttled: all messages have to be counted so. If they are
		// not refused, all have to be failed or in doubt.
		refused, throttled bool
		// counted: smtp-sink counts messages that it then refuses, so that its
		// count says only what was sent.
		counted bool
	}{
		{name: "MAIL 500", flags: []string{"-f", "MAIL"}, refused: true},
		{name: "MAIL 450", flags: []string{"-r", "MAIL"}, refused: true},
		{name: "RCPT 450", flags: []string{"-r", "RCPT"}, refused: true},
		{name: "DATA 500", flags: []string{"-f", "DATA"}, refused: true},
		{name: "end of data 500", flags: []string{"-f", "."}, refused: true, counted: true},
		{name: "end of data 450", flags: []string{"-r", "."}, refused: true, counted: true},
		{name: "MAIL 421", flags: []string{"-Q", "MAIL"}, refused: true, throttled: true},
		{name: "RCPT 421", flags: []string{"-Q", "RCPT"}, refused: true, throttled: true},
		{name: "DATA 421", flags: []string{"-Q", "DATA"}, refused: true, throttled: true},
		{name: "end of data 421", flags: []string{"-Q", "."}, refused: true, throttled: true, counted: true},
		{name: "MAIL lost", flags: []string{"-q", "MAIL"}},
		{name: "RCPT lost", flags: []string{"-q", "RCPT"}},
		{name: "DATA lost", flags: []string{"-q", "DATA"}},
		{name: "end of data lost", flags: []string{"-q", "."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, m := range modes() {
				// The flags make smtp-sink hide PIPELINING.
				if m.exchange != loadtest.Lockstep || m.security != loadtest.Plaintext || m.unix || m.reuse == 7 {
					continue
				}
				t.Run(m.String(), func(t *testing.T) {
					target := startSink(t, m, tt.flags...)
					target.dialer.Message = numbered
					res, err := drive(t, target.dialer, loadtest.Config{Sessions: sessions, OpsPerSession: m.reuse, Ops: messages})
					require.NoError(t, err)
					received := target.received()
					if tt.counted {
						assert.EqualValues(t, messages, received, "messages that were sent")
						received = 0
					}
					checkDelivery(t, res, received)
					assert.Zero(t, res.Accepted)
					switch {
					case tt.throttled && tt.counted && m.lmtp:
						// The reply to the second recipient never came.
						assert.EqualValues(t, messages, res.Refused+res.InDoubt, describe(res))
						return
					case tt.refused:
						assert.EqualValues(t, messages, res.Refused, describe(res))
					default:
						assert.EqualValues(t, messages, res.Failed+res.InDoubt, describe(res))
					}
					if tt.throttled {
						assert.EqualValues(t, messages, res.Throttled, describe(res))
					}
				})
			}
		})
	}
}

// TestPeersSinkAbort: smtp-sink -A answers 354, then 550, and closes
// without reading the message.
func TestPeersSinkAbort(t *testing.T) {
	s := peertest.SMTPSink(t, "-A", "0")
	res, err := drive(t, &loadtest.SMTP{Addr: s.Addr, Security: loadtest.Plaintext}, loadtest.Config{Sessions: 2, Ops: 10})
	require.NoError(t, err)
	assert.EqualValues(t, 10, res.Ops)
	assert.Zero(t, res.Accepted, describe(res))
	checkDelivery(t, res, int64(s.Stop()))
}

// TestPeersSinkLateReply: the reply to the end of data does not come in time, and
// the server has the message: in doubt.
func TestPeersSinkLateReply(t *testing.T) {
	s := peertest.SMTPSink(t, "-W", ".:30")
	res, err := drive(t, &loadtest.SMTP{
		Addr: s.Addr, Security: loadtest.Plaintext,
		Timeouts: loadtest.Timeouts{Message: 300 * time.Millisecond, Quit: 10 * time.Millisecond},
	}, loadtest.Config{Sessions: 2, Ops: 4})
	require.NoError(t, err)
	assert.EqualValues(t, 4, res.InDoubt, describe(res))
	checkDelivery(t, res, int64(s.Stop()))
}

// TestPeersSinkGreeting: nothing comes of a server that does not greet.
func TestPeersSinkGreeting(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags []string
	}{
		{"closes", []string{"-q", "CONNECT"}},
		{"421", []string{"-Q", "CONNECT"}},
		{"500", []string{"-f", "CONNECT"}},
		{"450", []string{"-r", "CONNECT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := peertest.SMTPSink(t, tt.flags...)
			res, err := drive(t, &loadtest.SMTP{Addr: s.Addr, Security: loadtest.Plaintext},
				loadtest.Config{Sessions: 2, Ops: 4, OpTimeout: time.Second})
			assert.Error(t, err, "the load could not be applied")
			assert.Zero(t, res.Accepted)
			assert.Zero(t, res.Dials, "no session was opened")
			assert.Positive(t, res.DialsFailed)
			checkDelivery(t, res, int64(s.Stop()))
		})
	}
}
