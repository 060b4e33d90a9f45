package smtptest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

// on returns a Hook that acts on one verb.
func on(verb string, act smtptest.Action) func(*smtptest.Server) {
	return func(s *smtptest.Server) {
		s.Hook = func(_ context.Context, c *smtptest.Command) smtptest.Action {
			if c.Verb == verb {
				return act
			}
			return smtptest.Action{}
		}
	}
}

func lmtpOn(verb string, act smtptest.Action) func(*smtptest.Server) {
	return func(s *smtptest.Server) {
		on(verb, act)(s)
		s.LMTP = true
	}
}

func TestHookReplies(t *testing.T) {
	two := dialog(lhlo + mail + rcpt + rcpt)
	runDialogs(t, []dialogTest{
		{name: "nothing", why: "the zero Action", setup: on("MAIL", smtptest.Action{}), dialog: envelope + data + "C .\nS 250\n" + quit, messages: 1},
		{name: "greeting 421", why: "ends the session", setup: on("CONNECT", smtptest.Action{Reply: "421 4.3.2 Not now"}), dialog: "S 421 4.3.2 Not now\nEOF"},
		{name: "greeting 554", why: "RFC 5321 §3.1: 503 until QUIT", setup: on("CONNECT", smtptest.Action{Reply: "554 No SMTP here"}), dialog: "S 554\nC EHLO x\nS 503 5.5.1\nC BDAT 4 LAST\nC+ QUIT\nS 503\n" + quit},
		{name: "own greeting", why: "taken as it is", setup: on("CONNECT", smtptest.Action{Reply: "220-one\n220 two ESMTP"}), dialog: "S 220 two ESMTP\n" + envelope},
		{name: "EHLO refused", why: "HELO is left", setup: on("EHLO", smtptest.Action{Reply: "502 5.5.1 No"}), dialog: "C EHLO x\nS 502 5.5.1 No\nC HELO x\nS 250\nC MAIL FROM:<a@b>\nS 250\n"},
		{name: "MAIL refused", why: "no transaction", setup: on("MAIL", smtptest.Action{Reply: "450 4.7.1 Later"}), dialog: hello + "C MAIL FROM:<a@b>\nS 450 4.7.1 Later\nC RCPT TO:<a@b>\nS 503\n"},
		{name: "RCPT refused", why: "no recipient", setup: on("RCPT", smtptest.Action{Reply: "550 5.1.1 Who?"}), dialog: hello + mail + "C RCPT TO:<a@b>\nS 550 5.1.1 Who?\nC DATA\nS 503\n"},
		{name: "own text", why: "a good reply replaces the good one only", setup: on("RCPT", smtptest.Action{Reply: "251 2.1.5 Forwarded"}), dialog: hello + "C RCPT TO:<a@b>\nS 503\n" + mail + "C RCPT TO:<a@b>\nS 251 2.1.5 Forwarded\nC RCPT TO:<>\nS 501\n" + data + "C .\nS 250\n", messages: 1},
		{name: "DATA refused", why: "the transaction is still there", setup: on("DATA", smtptest.Action{Reply: "451 4.3.0 No"}), dialog: envelope + "C DATA\nS 451\nC BDAT 0 LAST\nS 250\n", messages: 1},
		{name: "250 for DATA", why: "clients that get out of step (symfony #54169): it is not carried out", setup: on("DATA", smtptest.Action{Reply: "250 Ok"}), dialog: envelope + "C DATA\nS 250 Ok\nC NOOP\nS 250 2.0.0\n"},
		{name: "own 354", why: "it is carried out", setup: on("DATA", smtptest.Action{Reply: "354 Go"}), dialog: envelope + "C DATA\nS 354 Go\nC .\nS 250 2.0.0\n", messages: 1},
		{name: "end of data refused", why: "not counted, not kept; the next one can begin", setup: on(".", smtptest.Action{Reply: "451 4.3.0 Full"}), dialog: envelope + data + "C .\nS 451 4.3.0 Full\n" + mail + rcpt + "C BDAT 0 LAST\nS 451\n" + quit},
		{name: "own text at the end", why: "counted", setup: on(".", smtptest.Action{Reply: "250 2.6.0 Queued as 1"}), dialog: envelope + data + "C .\nS 250 2.6.0 Queued as 1\n", messages: 1},
		{name: "BDAT refused", why: "RFC 3030 §2: its octets are consumed", setup: on("BDAT", smtptest.Action{Reply: "452 4.3.1 Full"}), dialog: envelope + "C BDAT 6\nC QUIT\nS 452\nC BDAT 6 LAST\nC QUIT\nS 452\n" + mail},
		{name: "BDAT's own text", why: "only for what is not the end of data", setup: on("BDAT", smtptest.Action{Reply: "250 Chunk"}), dialog: envelope + "C BDAT 1\nC+ x\nS 250 Chunk\nC BDAT 0 LAST\nS 250 2.0.0 Ok\n", messages: 1},
		{name: "RSET refused", why: "not carried out", setup: on("RSET", smtptest.Action{Reply: "451 4.3.0 No"}), dialog: envelope + "C RSET\nS 451\n" + data + "C .\nS 250\n", messages: 1},
		{name: "QUIT refused", why: "not carried out", setup: on("QUIT", smtptest.Action{Reply: "451 4.3.0 No"}), dialog: "C QUIT\nS 451\nC NOOP\nS 250\n"},
		{name: "unknown command", why: "any verb can be answered", setup: on("XFORWARD", smtptest.Action{Reply: "250 2.0.0 Ok"}), dialog: hello + "C xforward NAME=x\nS 250 2.0.0 Ok\nC FOO\nS 500\n"},
		{name: "421 anywhere", why: "ends the session", setup: on("NOOP", smtptest.Action{Reply: "421 4.3.2 Bye"}), dialog: "C+ NOOP\\r\\nNOOP\\r\\n\nS 421\nEOF"},
		{name: "STARTTLS refused", why: "454: RFC 3207 §4", setup: on("STARTTLS", smtptest.Action{Reply: "454 4.7.0 Not now"}), dialog: hello + "C STARTTLS\nS 454\nC NOOP\nS 250\n"},
		{name: "AUTH's own text", why: "in place of 235, not of 334 or 535", setup: func(s *smtptest.Server) {
			on("AUTH", smtptest.Action{Reply: "235 2.7.0 Hello"})(s)
			s.Users, s.AllowInsecureAuth = map[string]string{"ann": "secret"}, true
		}, dialog: hello + "C AUTH PLAIN\nS 334\nC eA==\nS 501\nC AUTH PLAIN\nS 334\nC " + b64("\x00ann\x00secret") + "\nS 235 2.7.0 Hello\n"},
		{name: "garbage", why: "sent as it is", setup: on("NOOP", smtptest.Action{Reply: "hello"}), dialog: "C NOOP\nS hello\nC RSET\nS 250\n"},
		{name: "LMTP, refused for each", why: "a reply for each", setup: lmtpOn(".", smtptest.Action{Reply: "452 4.2.2 Full"}), dialog: two + data + "C .\nS 452\nS 452\n" + mail},
		{name: "LMTP, BDAT refused", why: "a reply for each at LAST", setup: lmtpOn("BDAT", smtptest.Action{Reply: "452 4.2.2 Full"}), dialog: two + "C BDAT 1\nC+ x\nS 452\nC BDAT 1 LAST\nC+ x\nS 452\nS 452\n" + mail},
	})
}

func TestHookCloses(t *testing.T) {
	after, without, half := smtptest.Action{Close: smtptest.CloseAfterReply}, smtptest.Action{Close: smtptest.CloseWithoutReply}, smtptest.Action{Close: smtptest.ClosePartial}
	runDialogs(t, []dialogTest{
		{name: "after the greeting", setup: on("CONNECT", after), dialog: "S 220\nEOF"},
		{name: "before the greeting", setup: on("CONNECT", without), dialog: "EOF"},
		{name: "half a greeting", setup: on("CONNECT", half), dialog: "S EOF 220 localhost E\n"},
		{name: "after MAIL", why: "replies to earlier ones are sent, later ones not carried out", setup: on("MAIL", after), dialog: "C+ EHLO x\\r\\nMAIL FROM:<a@b>\\r\\nRCPT TO:<a@b>\\r\\n\nS 250\nS 250 2.1.0\nEOF"},
		{name: "without a reply to MAIL", setup: on("MAIL", without), dialog: "C+ EHLO x\\r\\nMAIL FROM:<a@b>\\r\\nRCPT TO:<a@b>\\r\\n\nS 250\nEOF"},
		{name: "half a reply to MAIL", setup: on("MAIL", half), dialog: hello + "C MAIL FROM:<a@b>\nS EOF 250 2.1\n"},
		{name: "half of an own reply", setup: on("MAIL", smtptest.Action{Reply: "450 4", Close: smtptest.ClosePartial}), dialog: hello + "C MAIL FROM:<a@b>\nS EOF 450\n"},
		{name: "own reply, then closed", setup: on("RCPT", smtptest.Action{Reply: "550 5.7.1 Go", Close: smtptest.CloseAfterReply}), dialog: hello + mail + "C RCPT TO:<a@b>\nS 550 5.7.1 Go\nEOF"},
		{name: "after 354", why: "the data is not waited for", setup: on("DATA", after), dialog: envelope + "C DATA\nS 354\nEOF"},
		{name: "in place of 354", setup: on("DATA", without), dialog: envelope + "C DATA\nEOF"},
		{name: "after the message", why: "accepted and told", setup: on(".", after), dialog: envelope + data + "C .\nS 250\nEOF", messages: 1},
		{name: "in place of the final reply", why: "no positive reply, not counted: in doubt for the client", setup: on(".", without), dialog: envelope + data + "C .\nEOF"},
		{name: "half of the final reply", why: "the same", setup: on(".", half), dialog: envelope + data + "C .\nS EOF 250 2.0.0 Ok: me\n"},
		{name: "BDAT", why: "the same", setup: on("BDAT", without), dialog: envelope + "C BDAT 3 LAST\nC+ abc\nEOF"},
		{name: "BDAT, after the reply", setup: on("BDAT", after), dialog: envelope + "C BDAT 3 LAST\nC+ abc\nS 250\nEOF", messages: 1},
		{name: "BDAT refused, after the reply", setup: on("BDAT", smtptest.Action{Reply: "452 4.3.1 Full", Close: smtptest.CloseAfterReply}), dialog: envelope + "C BDAT 3 LAST\nC+ abc\nS 452\nEOF"},
		{name: "before the handshake", why: "STARTTLS advertised and failing", setup: on("TLS", without), dialog: hello + "C STARTTLS\nS 220\nEOF"},
		{name: "a reply in place of the handshake", setup: on("TLS", smtptest.Action{Reply: "454 4.7.0 No"}), dialog: hello + "C STARTTLS\nS 220\nS 454\nEOF"},
		{name: "after 220", setup: on("STARTTLS", after), dialog: hello + "C STARTTLS\nS 220\nEOF"},
		{name: "with TLS", why: "close_notify and FIN", setup: on("NOOP", after), dialog: starttls + hello + "C NOOP\nS 250\nEOF"},
		{name: "half a reply with TLS", setup: on("NOOP", half), dialog: starttls + hello + "C NOOP\nS EOF 250 2.0\n"},
		{name: "after 334", setup: func(s *smtptest.Server) {
			on("AUTH", after)(s)
			s.Users, s.AllowInsecureAuth = map[string]string{"ann": "secret"}, true
		}, dialog: hello + "C AUTH PLAIN\nS 334\nEOF"},
		{name: "LMTP, in place of the second reply", why: "the first recipient has it", setup: func(s *smtptest.Server) {
			s.LMTP = true
			s.Hook = func(_ context.Context, c *smtptest.Command) smtptest.Action {
				if c.Verb == "." && c.Recipient == "c@d" {
					return without
				}
				return smtptest.Action{}
			}
		}, dialog: lhlo + mail + rcpt + "C RCPT TO:<c@d>\nS 250\n" + data + "C .\nS 250\nEOF", messages: 1},
	})
}

func TestHookReset(t *testing.T) {
	for _, verb := range []string{"CONNECT", "MAIL", "DATA", ".", "TLS"} {
		t.Run(verb, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			on(verb, smtptest.Action{Close: smtptest.Reset})(srv)
			srv.Start()
			conn, err := net.Dial("tcp", srv.Addr)
			if verb == "CONNECT" && err != nil {
				require.ErrorIs(t, err, syscall.ECONNRESET) // it was that fast
				return
			}
			require.NoError(t, err)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			if verb == "TLS" {
				(hello + "C STARTTLS\nS 220\n").run(t, srv, conn)
			} else {
				// The RST may be here already.
				_, _ = io.WriteString(conn, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n")
			}
			_, err = io.Copy(io.Discard, conn)
			require.True(t, isClosed(err), "%v", err)
			require.Error(t, err, "a FIN, where a RST was wanted")
			require.Zero(t, srv.Stats().Messages)
		})
	}
}

// What a Hook is told.
func TestHookCommand(t *testing.T) {
	var mu sync.Mutex
	var got []string
	srv := smtptest.NewUnstartedServer(t)
	srv.LMTP = true
	srv.Hook = func(ctx context.Context, c *smtptest.Command) smtptest.Action {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf("%s|%s|s%d m%d n%d|%s>%s|%s", c.Verb, c.Arg, c.Session, c.Message, c.N, c.From, strings.Join(c.To, ","), c.Recipient))
		if c.RemoteAddr == nil || ctx.Err() != nil {
			t.Error("no address, or a context that has ended")
		}
		return smtptest.Action{}
	}
	srv.Start()
	(lhlo + "C mail from:<a@b> BODY=8BITMIME\nS 250\nC RCPT TO:<c@d>\nS 250\nC RCPT TO:<e@f>\nS 250\n" + data + "C .\nS 250\nS 250\nC MAIL FROM:<>\nS 250\nC RCPT TO:<x>\nS 250\nC BDAT 0 LAST\nS 250\nC frob it\nS 500\n" + quit).run(t, srv, dialTest(t, srv))
	(lhlo + quit).run(t, srv, dialTest(t, srv))
	require.Equal(t, []string{
		"CONNECT||s1 m0 n1|>|",
		"LHLO|client.example|s1 m0 n1|>|",
		"MAIL|from:<a@b> BODY=8BITMIME|s1 m1 n1|a@b>|",
		"RCPT|TO:<c@d>|s1 m1 n1|a@b>|c@d",
		"RCPT|TO:<e@f>|s1 m1 n2|a@b>c@d|e@f",
		"DATA||s1 m1 n1|a@b>c@d,e@f|",
		".||s1 m1 n1|a@b>c@d,e@f|c@d",
		".||s1 m1 n2|a@b>c@d,e@f|e@f",
		"MAIL|FROM:<>|s1 m2 n2|>|",
		"RCPT|TO:<x>|s1 m2 n3|>|x",
		"BDAT|0 LAST|s1 m2 n1|>x|",
		".||s1 m2 n3|>x|x",
		"FROB|it|s1 m0 n1|>|",
		"QUIT||s1 m0 n1|>|",
		"CONNECT||s2 m0 n2|>|",
		"LHLO|client.example|s2 m0 n2|>|",
		"QUIT||s2 m0 n2|>|",
	}, got)
	st := srv.Stats()
	require.EqualValues(t, 3, st.Commands["."])
	require.EqualValues(t, 1, st.Commands["unknown"])
	require.EqualValues(t, 2, st.Commands["CONNECT"])
	require.EqualValues(t, 2, st.Messages)
	require.EqualValues(t, 3, st.Recipients)
	require.EqualValues(t, 1, st.Refused)
}

// Under LMTP a message goes to the recipients whose reply was positive.
func TestHookLMTPRecipients(t *testing.T) {
	srv := smtptest.NewUnstartedServer(t)
	srv.LMTP = true
	srv.Hook = func(_ context.Context, c *smtptest.Command) smtptest.Action {
		if c.Verb == "." && c.Recipient == "b@x" {
			return smtptest.Action{Reply: "452 4.2.2 Full"}
		}
		return smtptest.Action{}
	}
	srv.Start()
	(lhlo + mail + "C RCPT TO:<a@x>\nS 250\nC RCPT TO:<b@x> NOTIFY=NEVER\nS 250\nC RCPT TO:<c@x> NOTIFY=DELAY\nS 250\n" + data + "C .\nS 250\nS 452\nS 250\n" + quit).run(t, srv, dialTest(t, srv))
	m := srv.Messages()[0]
	require.Equal(t, []string{"a@x", "c@x"}, m.To)
	require.Equal(t, []string{"", "NOTIFY=DELAY"}, m.RcptParams)
	require.EqualValues(t, 2, srv.Stats().Recipients)
}

// A Delay composes with everything else; the replies before it do not wait.
func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(*smtptest.Server)
		dialog
		delayed int // which step is late
		late    time.Duration
	}{
		{"own reply", on("NOOP", smtptest.Action{Delay: time.Hour}), "C NOOP\nS 250\n", 1, time.Hour},
		{"with a reply", on("NOOP", smtptest.Action{Delay: time.Hour, Reply: "450 4.0.0 No"}), "C NOOP\nS 450\n", 1, time.Hour},
		{"with a hang-up", on("NOOP", smtptest.Action{Delay: time.Hour, Close: smtptest.CloseWithoutReply}), "C NOOP\nEOF\n", 1, time.Hour},
		{"with both", on("NOOP", smtptest.Action{Delay: time.Hour, Reply: "450 4.0.0 No", Close: smtptest.CloseAfterReply}), "C NOOP\nS 450\nEOF", 1, time.Hour},
		{"replies before it", on("NOOP", smtptest.Action{Delay: time.Hour}), "C+ EHLO x\\r\\nRSET\\r\\nNOOP\\r\\nRSET\\r\\n\nS 250\nS 250\nS 250\nS 250\n", 3, time.Hour},
		{"greeting", on("CONNECT", smtptest.Action{Delay: time.Minute}), "S 220\n", 0, time.Minute},
		{"end of data", on(".", smtptest.Action{Delay: time.Minute}), envelope + data + "C .\nS 250\n", 9, time.Minute},
		{"LMTP", lmtpOn(".", smtptest.Action{Delay: time.Minute}), lhlo + mail + rcpt + rcpt + data + "C .\nS 250\nS 250\n", 11, 2 * time.Minute},
		{"longer than the idle timeout", func(s *smtptest.Server) {
			on("NOOP", smtptest.Action{Delay: time.Hour})(s)
			s.IdleTimeout = time.Second
		}, "C NOOP\nS 250\n", 1, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewUnstartedServer(t)
				tt.setup(srv)
				conn, peer := net.Pipe()
				defer conn.Close()
				go srv.ServeConn(peer)
				start := time.Now()
				steps := strings.SplitAfter(strings.TrimSpace(string(tt.dialog)), "\n")
				conn = slowReader{conn}
				before := dialog(strings.Join(steps[:tt.delayed], ""))
				if before != "" {
					before.run(t, srv, conn)
					require.Zero(t, time.Since(start), "before the delayed step")
				}
				dialog(strings.Join(steps[tt.delayed:], "")).run(t, srv, conn)
				require.Equal(t, tt.late, time.Since(start))
				srv.Close()
			})
		})
	}
}

// slowReader gives one octet a read, so that no bufio.Reader takes what another
// one is to read.
type slowReader struct{ net.Conn }

func (c slowReader) Read(b []byte) (int, error) { return c.Conn.Read(b[:1]) }

// Close does not wait for a Delay, nor for a Hook that looks at its context.
func TestDelayEndsWithServer(t *testing.T) {
	for name, hook := range map[string]smtptest.Hook{
		"delay": func(context.Context, *smtptest.Command) smtptest.Action {
			return smtptest.Action{Delay: time.Hour}
		},
		"hook": func(ctx context.Context, _ *smtptest.Command) smtptest.Action {
			<-ctx.Done()
			return smtptest.Action{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewUnstartedServer(t)
				srv.Hook = hook
				conn, peer := net.Pipe()
				go srv.ServeConn(peer)
				synctest.Wait() // it is in the hook for CONNECT
				start := time.Now()
				srv.Close()
				require.Zero(t, time.Since(start))
				_, err := conn.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
			})
		})
	}
}
