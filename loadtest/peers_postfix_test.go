package loadtest_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/peertest"
	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// postfixModes are the modes in which Postfix is tried with faults and limits.
func postfixModes() []mode {
	return []mode{
		{exchange: loadtest.Lockstep, depth: 1, security: loadtest.STARTTLS},
		{exchange: loadtest.Pipelined, depth: 1, security: loadtest.STARTTLS},
		{exchange: loadtest.Pipelined, depth: 2, security: loadtest.Plaintext},
		{exchange: loadtest.Chunked, depth: 1, security: loadtest.Plaintext},
		{exchange: loadtest.Chunked, depth: 5, security: loadtest.STARTTLS},
		{exchange: loadtest.Lockstep, depth: 1, security: loadtest.Plaintext, reuse: 1},
		{exchange: loadtest.Pipelined, depth: 1, security: loadtest.STARTTLS, reuse: 1},
	}
}

// to is a message for recipients.
func to(recipients ...string) func(int64) *loadtest.Message {
	m := &loadtest.Message{From: "from@example.com", To: recipients, Data: []byte("Subject: x\r\n\r\nx\r\n")}
	return func(int64) *loadtest.Message { return m }
}

// TestPeersPostfixRefusals: what a real smtpd refuses, and how.
func TestPeersPostfixRefusals(t *testing.T) {
	const messages = 20
	p := peertest.Postfix(t, peertest.PostfixConfig{Main: map[string]string{
		"smtpd_sender_restrictions": "check_sender_access inline:{{banned@example.com = REJECT}}",
		"smtpd_recipient_restrictions": "check_recipient_access inline:{" +
			"{unknown@example.com = 550 5.1.1 Unknown} {grey@example.com = 450 4.2.0 Greylisted}}, permit",
		"header_checks":      "regexp:{{/^X-Spam:/ REJECT 5.6.0 Spam}}",
		"message_size_limit": "5000",
	}})
	ok := []byte("Subject: x\r\n\r\nx\r\n")
	large := append([]byte("Subject: x\r\n\r\n"), bytes.Repeat([]byte("0123456789\r\n"), 1000)...)
	for _, tt := range []struct {
		name    string
		message *loadtest.Message
		kind    string // of the error
		// accepted: all messages are, and for each of them one recipient was
		// refused; otherwise none is.
		accepted bool
	}{
		{name: "sender", kind: "5.7.1", message: &loadtest.Message{From: "banned@example.com", To: []string{"a@example.com"}, Data: ok}},
		{name: "recipient", kind: "RCPT 550 5.1.1", message: &loadtest.Message{From: "a@example.com", To: []string{"unknown@example.com"}, Data: ok}},
		{name: "every recipient", kind: "RCPT 450 4.2.0", message: &loadtest.Message{From: "a@example.com", To: []string{"grey@example.com", "grey@example.com"}, Data: ok}},
		{name: "one recipient of three", kind: "RCPT 450 4.2.0", accepted: true, message: &loadtest.Message{From: "a@example.com", To: []string{"a@example.com", "grey@example.com", "c@example.com"}, Data: ok}},
		{name: "end of data", kind: "message 550 5.6.0", message: &loadtest.Message{From: "a@example.com", To: []string{"a@example.com"}, Data: []byte("X-Spam: yes\r\n\r\nx\r\n")}},
		{name: "size", kind: "5.3.4", message: &loadtest.Message{From: "a@example.com", To: []string{"a@example.com"}, Data: large}},
		{name: "declared size", kind: "MAIL 552 5.3.4", message: &loadtest.Message{From: "a@example.com", To: []string{"a@example.com"}, MailParams: "SIZE=12345", Data: ok}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, m := range postfixModes() {
				t.Run(m.String(), func(t *testing.T) {
					target := postfixTarget(p, m)
					target.dialer.Message = func(int64) *loadtest.Message { return tt.message }
					res, err := drive(t, target.dialer, loadtest.Config{Sessions: 2, OpsPerSession: m.reuse, Ops: messages})
					require.NoError(t, err)
					assert.EqualValues(t, messages, res.Ops)
					if tt.accepted {
						assert.EqualValues(t, messages, res.Accepted, describe(res))
						assert.EqualValues(t, messages, res.RecipientsRefused)
						assert.EqualValues(t, 2*messages, res.Recipients)
					} else {
						assert.EqualValues(t, messages, res.Refused, describe(res))
					}
					if assert.NotEmpty(t, res.Errors) {
						assert.Contains(t, res.Errors[0].Kind, tt.kind)
					}
					checkDelivery(t, res, target.received())
				})
			}
		})
	}
}

// TestPeersPostfixEndOfData: Postfix 3.7 keeps the transaction open that
// smtpd_end_of_data_restrictions refused (RFC 5321 §4.1.1.4 has it cleared), and
// refuses the next MAIL as nested. Only what waits for replies can know; with
// pipelined BDATs its smtpd crashes.
func TestPeersPostfixEndOfData(t *testing.T) {
	const messages = 20
	p := peertest.Postfix(t, peertest.PostfixConfig{Main: map[string]string{
		"smtpd_end_of_data_restrictions": "check_sender_access inline:{{spam@example.com = 554 5.6.0 Spam}}",
	}})
	for _, m := range []mode{
		{exchange: loadtest.Lockstep, depth: 1, security: loadtest.STARTTLS},
		{exchange: loadtest.Pipelined, depth: 1, security: loadtest.Plaintext},
		{exchange: loadtest.Chunked, depth: 1, security: loadtest.Plaintext},
	} {
		t.Run(m.String(), func(t *testing.T) {
			target := postfixTarget(p, m)
			target.dialer.Message = func(n int64) *loadtest.Message {
				return &loadtest.Message{From: []string{"spam", "ham"}[n%2] + "@example.com", To: []string{"a@example.com"}, Data: []byte("Subject: x\r\n\r\nx\r\n")}
			}
			res, err := drive(t, target.dialer, loadtest.Config{Sessions: 2, Ops: messages})
			require.NoError(t, err)
			assert.EqualValues(t, messages/2, res.Refused, describe(res))
			if assert.Len(t, res.Errors, 1, describe(res)) {
				assert.Equal(t, "message 554 5.6.0", res.Errors[0].Kind)
			}
			received := target.received()
			assert.EqualValues(t, messages/2, received)
			checkDelivery(t, res, received)
		})
	}
}

// TestPeersPostfixThrottles: limits of a real smtpd that end sessions with 421.
func TestPeersPostfixThrottles(t *testing.T) {
	const messages = 30
	for _, tt := range []struct {
		name     string
		main     map[string]string
		message  func(int64) *loadtest.Message
		sessions int
	}{
		{
			name:     "too many errors",
			main:     map[string]string{"smtpd_hard_error_limit": "4", "smtpd_recipient_restrictions": "check_recipient_access inline:{{unknown@example.com = REJECT}}, permit"},
			message:  to("unknown@example.com"),
			sessions: 2,
		},
		{
			name:     "too many messages",
			main:     map[string]string{"smtpd_client_message_rate_limit": "10"},
			message:  to("a@example.com"),
			sessions: 2,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := peertest.Postfix(t, peertest.PostfixConfig{Main: tt.main})
			for _, m := range postfixModes() {
				t.Run(m.String(), func(t *testing.T) {
					target := postfixTarget(p, m)
					target.dialer.Message = tt.message
					res, err := drive(t, target.dialer, loadtest.Config{Sessions: tt.sessions, OpsPerSession: m.reuse, Ops: messages, OpTimeout: 5 * time.Second})
					require.NoError(t, err)
					assert.EqualValues(t, messages, res.Ops)
					assert.Positive(t, res.Refused, describe(res))
					checkDelivery(t, res, target.received())
					if tt.name == "too many errors" && m.reuse == 0 {
						assert.Positive(t, res.Throttled, describe(res))
					}
				})
			}
		})
	}
}

// TestPeersPostfixConnectionLimit: a server that takes fewer sessions than were
// asked for. The load was not applied, and the run has to say so.
func TestPeersPostfixConnectionLimit(t *testing.T) {
	p := peertest.Postfix(t, peertest.PostfixConfig{Main: map[string]string{"smtpd_client_connection_count_limit": "2"}})
	target := postfixTarget(p, mode{security: loadtest.STARTTLS, depth: 1})
	res, err := drive(t, target.dialer, loadtest.Config{Sessions: 6, Ops: 30, OpTimeout: 2 * time.Second})
	assert.Positive(t, res.DialsFailed, describe(res))
	t.Logf("%v; %s", err, describe(res))
	checkDelivery(t, res, target.received())
}

// TestPeersPostfixDies: the machine of the server loses its power, or hangs and
// comes back. What was answered is delivered, what was not is in doubt.
func TestPeersPostfixDies(t *testing.T) {
	const messages, sessions = 200, 4
	for _, tt := range []struct {
		name string
		do   func(p *peertest.PostfixServer)
	}{
		{"killed", func(p *peertest.PostfixServer) { p.Kill() }},
		{"stopped", func(p *peertest.PostfixServer) { p.Stop() }},
		{"paused", func(p *peertest.PostfixServer) { p.Pause() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, m := range []mode{
				{exchange: loadtest.Lockstep, depth: 1, security: loadtest.STARTTLS},
				{exchange: loadtest.Pipelined, depth: 2, security: loadtest.Plaintext},
				{exchange: loadtest.Chunked, depth: 5, security: loadtest.STARTTLS},
				{exchange: loadtest.Pipelined, depth: 1, security: loadtest.Plaintext, reuse: 1},
			} {
				t.Run(m.String(), func(t *testing.T) {
					p := peertest.Postfix(t, peertest.PostfixConfig{})
					target := postfixTarget(p, m)
					target.dialer.Timeouts = loadtest.Timeouts{
						Greeting: 500 * time.Millisecond, TLS: 500 * time.Millisecond,
						Command: 500 * time.Millisecond, Message: 500 * time.Millisecond, Quit: 10 * time.Millisecond,
					}
					var asked atomic.Int64
					res, err := drive(t, target.dialer, loadtest.Config{
						Sessions: sessions, OpsPerSession: m.reuse, OpTimeout: 2 * time.Second, MaxFailed: 4,
						Continue: func() bool {
							n := asked.Add(1)
							if n == messages/2 {
								tt.do(p)
							}
							return n <= messages
						},
					})
					p.Resume()
					p.Stop() // what it had read before the pause, it has accepted by now or never will
					t.Logf("%v; %s", err, describe(res))
					assert.Positive(t, res.Accepted)
					assert.Less(t, res.Accepted, int64(messages))
					assert.Positive(t, res.Failed+res.InDoubt+res.Refused)
					checkDelivery(t, res, target.received())
				})
			}
		})
	}
}

// TestPeersPostfixResumption: sessions of TLS are resumed if that is asked for,
// and never otherwise.
func TestPeersPostfixResumption(t *testing.T) {
	const messages = 12
	p := peertest.Postfix(t, peertest.PostfixConfig{})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, security := range []loadtest.Security{loadtest.STARTTLS, loadtest.ImplicitTLS} {
			for _, resume := range []bool{false, true} {
				m := mode{security: security, depth: 1, reuse: 1}
				t.Run(fmt.Sprintf("%s/%s/resume=%t", tls.VersionName(version), m, resume), func(t *testing.T) {
					target := postfixTarget(p, m)
					var full, resumed atomic.Int64
					target.dialer.ResumeTLS = resume
					target.dialer.TLSConfig.MinVersion, target.dialer.TLSConfig.MaxVersion = version, version
					target.dialer.TLSConfig.VerifyConnection = func(s tls.ConnectionState) error {
						if s.DidResume {
							resumed.Add(1)
						} else {
							full.Add(1)
						}
						return nil
					}
					res, err := drive(t, target.dialer, loadtest.Config{Ops: messages, OpsPerSession: 1})
					require.NoError(t, err)
					assert.EqualValues(t, messages, res.Accepted, describe(res))
					if resume {
						assert.EqualValues(t, messages-1, resumed.Load(), "all but the first")
						assert.EqualValues(t, 1, full.Load())
					} else {
						assert.Zero(t, resumed.Load())
						assert.EqualValues(t, messages, full.Load())
					}
					checkDelivery(t, res, target.received())
				})
			}
		}
	}
}

// TestPeersPostfixQuickACK: Postfix's session ticket and its reply to EHLO are
// two writes, and Nagle's algorithm holds the second until the first is
// acknowledged: 40 ms for a client that delays its ACKs. Ours does not.
func TestPeersPostfixQuickACK(t *testing.T) {
	const messages = 15
	p := peertest.Postfix(t, peertest.PostfixConfig{Discard: true}) // no disk to wait for
	rate := func(delayed bool) (dial time.Duration, rate float64) {
		target := postfixTarget(p, mode{security: loadtest.STARTTLS, depth: 1, reuse: 1})
		target.dialer.DelayedACK = delayed
		target.dialer.Message = to("a@example.com")
		res, err := drive(t, target.dialer, loadtest.Config{Ops: messages, OpsPerSession: 1})
		require.NoError(t, err)
		require.EqualValues(t, messages, res.Accepted, describe(res))
		return res.Dial.Quantile(0.5), res.Rate()
	}
	const delayedACK = 40 * time.Millisecond // TCP_DELACK_MIN of Linux
	stalls := 0
	for range 6 {
		quickDial, quickRate := rate(false)
		delayedDial, delayedRate := rate(true)
		t.Logf("with QUICKACK %.0f sessions/s, %v to open one; without %.1f sessions/s, %v: %.1f times",
			quickRate, quickDial, delayedRate, delayedDial, quickRate/delayedRate)
		if delayedDial < delayedACK {
			continue // the kernel saw no reason to delay: it does not on a busy machine
		}
		if delayedDial > 3*quickDial {
			return
		}
		stalls++
	}
	if stalls == 0 {
		t.Skip("the kernel delayed no ACK, so that there is nothing to compare")
	}
	t.Error("QUICKACK did not help")
}

// TestPeersPostfixErrors: what Postfix does not offer is an error that says so.
func TestPeersPostfixErrors(t *testing.T) {
	p := peertest.Postfix(t, peertest.PostfixConfig{})
	bare := peertest.Postfix(t, peertest.PostfixConfig{Main: map[string]string{
		"smtpd_tls_security_level":    "none",
		"smtpd_discard_ehlo_keywords": "pipelining",
	}})
	noChunking := peertest.Postfix(t, peertest.PostfixConfig{Main: map[string]string{"smtpd_discard_ehlo_keywords": "chunking"}})
	for _, tt := range []struct {
		name   string
		addr   string
		change func(*loadtest.SMTP)
		want   string // in the error
	}{
		{"no AUTH", p.Addr, func(d *loadtest.SMTP) {
			d.Auth = func() sasl.Client { return sasl.NewPlainClient("", "user", "password") }
		}, "AUTH"},
		{"no STARTTLS", bare.Addr, func(*loadtest.SMTP) {}, "STARTTLS"},
		{"no PIPELINING", bare.Addr, func(d *loadtest.SMTP) { d.Security, d.Exchange = loadtest.Plaintext, loadtest.Pipelined }, "PIPELINING"},
		{"no CHUNKING", noChunking.Addr, func(d *loadtest.SMTP) { d.Security, d.Exchange = loadtest.Plaintext, loadtest.Chunked }, "CHUNKING"},
		{"unknown root", p.Addr, func(d *loadtest.SMTP) { d.TLSConfig = nil }, "certificate"},
		{"wrong name", p.Addr, func(d *loadtest.SMTP) { d.TLSConfig.ServerName = "mail.example.com" }, "mail.example.com"},
		{"TLS where there is none yet", p.Addr, func(d *loadtest.SMTP) { d.Security = loadtest.ImplicitTLS }, "TLS"},
		{"no TLS where there is", p.ImplicitTLSAddr, func(d *loadtest.SMTP) { d.Timeouts.Greeting = 200 * time.Millisecond }, "greeting"},
		{"LMTP", p.Addr, func(d *loadtest.SMTP) { d.Security, d.LMTP = loadtest.Plaintext, true }, "LHLO"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &loadtest.SMTP{Addr: tt.addr, TLSConfig: p.ClientTLSConfig()}
			tt.change(d)
			res, err := drive(t, d, loadtest.Config{Ops: 3, OpTimeout: 2 * time.Second})
			require.Error(t, err)
			t.Log(err)
			assert.ErrorContains(t, err, tt.want)
			assert.Zero(t, res.Accepted)
			checkDelivery(t, res, 0)
		})
	}
}

// TestPeersPostfixEnvelopes: what the envelope may hold gets through.
func TestPeersPostfixEnvelopes(t *testing.T) {
	p := peertest.Postfix(t, peertest.PostfixConfig{})
	for _, tt := range []struct {
		name    string
		message *loadtest.Message
		want    []string // lines of postcat
	}{
		{"null reverse-path", &loadtest.Message{To: []string{"bounce@example.com"}, Data: []byte("Subject: x\r\n\r\nx\r\n")},
			[]string{"sender: \n", "recipient: bounce@example.com\n"}},
		{"SMTPUTF8", &loadtest.Message{From: "jürgen@example.com", To: []string{"用户@例子.测试"}, MailParams: "SMTPUTF8 BODY=8BITMIME", Data: []byte("Subject: ü\r\n\r\nü\r\n")},
			[]string{"sender: jürgen@example.com\n", "recipient: 用户@例子.测试\n"}},
		{"quoted local-part", &loadtest.Message{From: `"a b"@example.com`, To: []string{`"c \"d\" <e>"@example.com`}, Data: []byte("Subject: x\r\n\r\nx\r\n")},
			[]string{"sender: a b@example.com\n", "recipient: c \"d\" <e>@example.com\n"}},
		{"DSN parameters", &loadtest.Message{From: "dsn@example.com", To: []string{"notify@example.com"}, MailParams: "RET=HDRS ENVID=QQ314159", RcptParams: "NOTIFY=NEVER", Data: []byte("Subject: x\r\n\r\nx\r\n")},
			[]string{"named_attribute: envelope_id=QQ314159\n", "recipient: notify@example.com\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, exchange := range []loadtest.Exchange{loadtest.Lockstep, loadtest.Pipelined, loadtest.Chunked} {
				target := postfixTarget(p, mode{exchange: exchange, depth: 1})
				target.dialer.Message = func(int64) *loadtest.Message { return tt.message }
				res, err := drive(t, target.dialer, loadtest.Config{})
				require.NoError(t, err)
				require.EqualValues(t, 1, res.Accepted, describe(res))
				checkDelivery(t, res, target.received())
			}
			envelopes := p.Envelopes()
			for _, line := range tt.want {
				assert.Equal(t, 3, strings.Count(envelopes, "\n"+line), "%q in\n%s", line, envelopes)
			}
		})
	}
}

// TestPeersPostfixRelay sends messages through a real Postfix to our own server:
// the client's dot-stuffing, Postfix's two ends and the server's unstuffing have
// to agree on every octet.
func TestPeersPostfixRelay(t *testing.T) {
	bodies := []string{
		"",
		"plain\r\n",
		".\r\n",
		"..\r\n...\r\n",
		".leading\r\n",
		"a\r\n.\r\nb\r\n",
		"\r\n\r\n",
		"x\r\n\r\n.\r\n\r\n.\r\n",
		strings.Repeat(".", 900) + "\r\n",
		strings.Repeat("long "+strings.Repeat("y", 900)+"\r\n", 300),
		"8 bits: \xc3\xa4\xff\r\n",
		"QUIT\r\nRSET\r\n250 Ok\r\n",
	}
	message := func(n int64) *loadtest.Message {
		return &loadtest.Message{
			From: fmt.Sprintf("n%d@example.com", n), To: []string{"to@example.com"}, MailParams: "BODY=8BITMIME",
			Data: []byte(fmt.Sprintf("Subject: %d\r\nX-End: here\r\n\r\n%s", n, bodies[n%int64(len(bodies))])),
		}
	}
	for _, lmtp := range []bool{false, true} {
		for _, exchange := range []loadtest.Exchange{loadtest.Lockstep, loadtest.Pipelined, loadtest.Chunked} {
			m := mode{exchange: exchange, depth: 1}
			name, transport := m.String()+"/to smtp", "smtp:"
			if lmtp {
				name, transport = m.String()+"/to lmtp", "lmtp:inet:"
			}
			t.Run(name, func(t *testing.T) {
				srv := smtptest.NewUnstartedServer(t)
				srv.LMTP = lmtp
				srv.Start()
				host, port, _ := strings.Cut(srv.Addr, ":")
				p := peertest.Postfix(t, peertest.PostfixConfig{Relay: transport + "[" + host + "]:" + port})
				target := postfixTarget(p, m)
				target.dialer.Message = message
				res, err := drive(t, target.dialer, loadtest.Config{Sessions: 2, Ops: int64(len(bodies))})
				require.NoError(t, err)
				require.EqualValues(t, len(bodies), res.Accepted, describe(res))
				got, err := srv.Wait(t.Context(), len(bodies))
				require.NoError(t, err, "of Postfix's log: %s", p.Log())
				for _, g := range got {
					var n int64
					_, err := fmt.Sscanf(g.From, "n%d@", &n)
					require.NoError(t, err)
					want := message(n)
					_, body, found := strings.Cut(string(g.Data), "X-End: here\r\n")
					if assert.True(t, found, "%q", g.Data) {
						// Postfix adds headers behind ours: Message-Id, Date.
						_, body, _ = strings.Cut("\r\n"+body, "\r\n\r\n")
						_, wantBody, _ := strings.Cut(string(want.Data), "\r\n\r\n")
						assert.Equal(t, wantBody, body, "message %d", n)
					}
				}
			})
		}
	}
}
