package loadtest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/testcert"
	"github.com/benchmail/benchmail/loadtest"
)

// Each fault in each phase: the error names the phase, comes within the phase's
// limit, and counts as it should.
func TestSMTPFaults(t *testing.T) {
	timeouts := loadtest.Timeouts{Greeting: 11 * time.Second, Command: 12 * time.Second, Message: 13 * time.Second, Quit: 14 * time.Second}
	const hello = `
	S: 220 test
	C: EHLO localhost
	S: 250-test
	S: 250-STARTTLS
	S: 250-AUTH PLAIN
	S: 250 PIPELINING
	`
	const rcpt = hello + "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\n"
	const data = rcpt + "S: 250 ok\nC: DATA\n"
	const end = data + "S: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: .\n"
	phases := []struct {
		name   string // as errors call it
		prefix dialog // up to where the server is to answer
		limit  time.Duration
		change func(*loadtest.SMTP)
		ops    int64 // the last one meets the fault; 0: Dial does; -1: Close
		sent   bool  // the mail data was sent
	}{
		{name: "greeting", limit: timeouts.Greeting},
		{name: "EHLO", prefix: "S: 220 test\nC: EHLO localhost\n", limit: timeouts.Command},
		{name: "HELO", prefix: "S: 220 test\nC: EHLO localhost\nS: 502 no\nC: HELO localhost\n", limit: timeouts.Command},
		{name: "LHLO", prefix: "S: 220 test\nC: LHLO localhost\n", limit: timeouts.Command,
			change: func(d *loadtest.SMTP) { d.LMTP = true }},
		{name: "STARTTLS", prefix: hello + "C: STARTTLS\n", limit: timeouts.Command,
			change: func(d *loadtest.SMTP) { d.Security = loadtest.STARTTLS }},
		{name: "AUTH", prefix: hello + "C: AUTH PLAIN AGEAYg==\n", limit: timeouts.Command,
			change: func(d *loadtest.SMTP) { d.Auth = func() sasl.Client { return sasl.NewPlainClient("", "a", "b") } }},
		{name: "MAIL", prefix: hello + "C: MAIL FROM:<a@x>\n", limit: timeouts.Command, ops: 1},
		{name: "RCPT", prefix: rcpt, limit: timeouts.Command, ops: 1},
		{name: "DATA", prefix: data, limit: timeouts.Command, ops: 1},
		{name: "message", prefix: end, limit: timeouts.Message, ops: 1, sent: true},
		{name: "RSET", prefix: rcpt + "S: 550 no\nC: RSET\nC: MAIL FROM:<a@x>\n", limit: timeouts.Command, ops: 2},
		{name: "QUIT", prefix: end + "S: 250 ok\nC: QUIT\n", limit: timeouts.Quit, ops: -1},
	}
	faults := []struct {
		name, why string
		script    dialog
		kind      string // " PHASE" is added
		after     bool   // it takes the phase's limit
	}{
		{"hang", "no answer at all", "!hang", "timeout", true},
		{"partial line", "an answer that does not end", "S> 25\n!hang", "timeout", true},
		{"drip", "each octet in time, the reply never", "S> 250-\n!drip", "timeout", true},
		{"endless", "a reply with more and more lines", dialog(strings.Repeat("S: 250-"+strings.Repeat("x", 100)+"\n", 110)), "protocol", false},
		{"close", "FIN", "!close", "lost", false},
		{"close in a line", "FIN, and half of a reply", "S> 25\n!close", "lost", false},
		{"garbage", "another protocol", "S: HTTP/1.1 400 Bad Request", "protocol", false},
		{"binary", "no protocol", "S> \x00\xff\xfe\x01\x00\x80", "protocol", false},
		{"no code", "a line end alone", "S: ", "protocol", false},
		{"two codes", "RFC 5321 §4.2.1: the same code on all lines", "S: 250-a\nS: 251 b", "protocol", false},
	}
	for _, phase := range phases {
		dial := func(t *testing.T, script dialog) (took time.Duration, err error) {
			t.Helper()
			d := &loadtest.SMTP{Security: loadtest.Plaintext, Message: short, Timeouts: timeouts}
			if phase.change != nil {
				phase.change(d)
			}
			wait := overPipe(d, phase.prefix+script)
			begin := time.Now()
			s, err := d.Dial(t.Context())
			if phase.ops != 0 {
				require.NoError(t, err)
				for range max(1, phase.ops) {
					err = s.Do(t.Context(), &loadtest.Op{})
				}
				closeErr := s.Close()
				if phase.ops < 0 {
					require.NoError(t, err)
					err = closeErr
				}
				assert.NoError(t, s.Close(), "the second Close")
			}
			took = time.Since(begin)
			require.Error(t, err)
			wait()
			return took, err
		}
		for _, fault := range faults {
			t.Run(phase.name+"/"+fault.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					took, err := dial(t, fault.script)
					assert.Equal(t, fault.kind+" "+phase.name, kind(err), "%s: %v", fault.why, err)
					assert.Equal(t, phase.sent, errors.Is(err, loadtest.ErrInDoubt), "in doubt: %v", err)
					assert.NotErrorIs(t, err, loadtest.ErrRefused)
					var e *loadtest.SMTPError
					require.ErrorAs(t, err, &e)
					assert.Equal(t, phase.name, e.Phase)
					if !fault.after {
						assert.Zero(t, took, "there was nothing to wait for")
						return
					}
					assert.GreaterOrEqual(t, took, phase.limit, "never early")
					assert.LessOrEqual(t, took, phase.limit*9/8, "at most an eighth late")
					assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
					assert.ErrorContains(t, err, phase.limit.String())
				})
			})
		}
		t.Run(phase.name+"/421", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := dial(t, "S: 421 4.3.2 shutting down\n!close")
				assert.Equal(t, phase.name+" 421 4.3.2", kind(err))
				assert.ErrorIs(t, err, loadtest.ErrThrottled)
				assert.NotErrorIs(t, err, loadtest.ErrInDoubt, "it was answered")
				assert.NotErrorIs(t, err, loadtest.ErrRefused, "the session is over")
				var reply *textproto.Error
				require.ErrorAs(t, err, &reply)
				assert.Equal(t, 421, reply.Code)
			})
		})
		t.Run(phase.name+"/canceled", func(t *testing.T) {
			if phase.ops < 0 {
				t.Skip("Close has no context")
			}
			synctest.Test(t, func(t *testing.T) {
				d := &loadtest.SMTP{Security: loadtest.Plaintext, Message: short, Timeouts: timeouts}
				if phase.change != nil {
					phase.change(d)
				}
				wait := overPipe(d, phase.prefix+"!hang")
				// The cause is another session's error, as when the engine ends a
				// run for it: this one must not count as throttled.
				ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, &loadtest.SMTPError{Phase: "greeting", Code: 421})
				defer cancel()
				begin := time.Now()
				s, err := d.Dial(ctx)
				if phase.ops > 0 {
					for range phase.ops {
						err = s.Do(ctx, &loadtest.Op{})
					}
					s.Close()
				}
				assert.Equal(t, "canceled "+phase.name, kind(err), "%v", err)
				assert.NotErrorIs(t, err, loadtest.ErrThrottled)
				assert.Equal(t, 3*time.Second, time.Since(begin))
				wait()
			})
		})
	}
}

// tlsDialog plays before in plaintext, does the handshake and plays after.
func tlsDialog(conn net.Conn, config *tls.Config, before, after dialog) error {
	defer conn.Close()
	if before != "" {
		if err := before.serve(keepOpen{conn}); !errors.Is(err, errKept) {
			return err
		}
	}
	server := tls.Server(conn, config)
	if err := server.Handshake(); err != nil {
		return err
	}
	return after.serve(server)
}

var errKept = errors.New("kept open")

// keepOpen lets a dialog end in the middle of a connection: at !close.
type keepOpen struct{ net.Conn }

func (keepOpen) Close() error { return nil }

func TestSMTPTLS(t *testing.T) {
	good, err := testcert.Leaf("mail.test")
	require.NoError(t, err)
	issue := func(opt testcert.Options) tls.Certificate {
		cert, err := testcert.Default().Issue(opt)
		require.NoError(t, err)
		return cert
	}
	expired := issue(testcert.Options{NotAfter: time.Date(1999, 6, 1, 0, 0, 0, 0, time.UTC)})
	other := issue(testcert.Options{Hosts: []string{"other.test"}})
	trusted := &tls.Config{RootCAs: testcert.Default().Pool(), ServerName: "mail.test"}

	const before = "S: 220 test\nC: EHLO localhost\nS: 250-test\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\nC: STARTTLS\nS: 220 go\n"
	const keep = before + "!keep"
	const after = "C: EHLO localhost\nS: 250-test\nS: 250 PIPELINING" + quit
	tests := []struct {
		name, why string
		security  loadtest.Security
		before    dialog
		cert      tls.Certificate
		config    *tls.Config
		after     dialog
		kind      string
		text      string // in the error
	}{
		{"good", "", loadtest.STARTTLS, keep, good, trusted, after, "", ""},
		{"if offered", "it is offered", loadtest.STARTTLSIfOffered, keep, good, trusted, after, "", ""},
		{"implicit", "no greeting before the handshake", loadtest.ImplicitTLS, "", good, trusted, "S: 220 test\n" + after, "", ""},
		{"untrusted", "no system trusts a test's authority", loadtest.STARTTLS, keep, good, &tls.Config{ServerName: "mail.test"}, "", "tls certificate", "set TLSConfig.RootCAs"},
		{"untrusted, if offered", "there is no going back to plaintext", loadtest.STARTTLSIfOffered, keep, good, &tls.Config{ServerName: "mail.test"}, "", "tls certificate", "set TLSConfig.RootCAs"},
		{"expired", "", loadtest.STARTTLS, keep, expired, &tls.Config{RootCAs: trusted.RootCAs}, "", "tls certificate", "TLSConfig.Time"},
		{"wrong name", "", loadtest.STARTTLS, keep, other, trusted, "", "tls certificate", "set TLSConfig.ServerName"},
		{"no handshake", "the server changed its mind", loadtest.STARTTLS, before + "!hang", good, trusted, "", "timeout TLS", "no answer within 30s"},
		{"closed in the handshake", "", loadtest.STARTTLS, before + "!gulp\n!close", good, trusted, "", "lost TLS", "closed the connection"},
		{"plaintext for a handshake", "a port for STARTTLS", loadtest.ImplicitTLS, "!gulp\nS: 220 test\n!hang", good, trusted, "", "tls handshake", "is it a port for STARTTLS"},
		{"response injection", "CVE-2011-0411's mirror: plaintext behind the 220", loadtest.STARTTLS,
			"S: 220 test\nC: EHLO localhost\nS: 250-test\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nS: 250 injected", good, trusted, "", "STARTTLS injection", "response injection"},
		{"not offered", "required means required", loadtest.STARTTLS,
			"S: 220 test\nC: EHLO localhost\nS: 250 test", good, trusted, "", "STARTTLS not offered", "set Security to loadtest.Plaintext"},
		{"no EHLO", "HELO has no STARTTLS", loadtest.STARTTLS,
			"S: 220 test\nC: EHLO localhost\nS: 502 5.5.1 no", good, trusted, "", "EHLO 502 5.5.1", "STARTTLS"},
		{"refused", "RFC 3207 §4: 454 for the time being", loadtest.STARTTLS,
			"S: 220 test\nC: EHLO localhost\nS: 250-test\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 no", good, trusted, "", "STARTTLS 454 4.7.0", "454"},
		{"a server that speaks TLS first", "it sends an alert to EHLO or to nothing", loadtest.STARTTLS,
			"S> \x15\x03\x01\x00\x02\x02\x0a\n!hang", good, trusted, "", "protocol greeting", "ImplicitTLS"},
		{"a server that waits for TLS", "ports 465 and 25 mixed up", loadtest.STARTTLS, "!hang", good, trusted, "", "timeout greeting", "ImplicitTLS"},
		{"EHLO after TLS, hang", "", loadtest.STARTTLS, keep, good, trusted, "C: EHLO localhost\n!hang", "timeout EHLO", ""},
		{"EHLO after TLS, refused", "", loadtest.STARTTLS, keep, good, trusted, "C: EHLO localhost\nS: 554 5.7.0 no", "EHLO 554 5.7.0", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := make(chan error, 1)
				d := &loadtest.SMTP{Addr: "unix:pipe", Security: test.security, TLSConfig: test.config}
				d.NetDial = func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					config := &tls.Config{Certificates: []tls.Certificate{test.cert}}
					go func() { server <- tlsDialog(far, config, test.before, test.after) }()
					return near, nil
				}
				s, err := d.Dial(t.Context())
				if test.kind != "" {
					require.Error(t, err)
					assert.Equal(t, test.kind, kind(err), "%s: %v", test.why, err)
					assert.ErrorContains(t, err, test.text)
					<-server
					return
				}
				require.NoError(t, err, test.why)
				require.NoError(t, s.Close())
				require.NoError(t, <-server)
			})
		})
	}
}

// What the server said in plaintext is forgotten after the handshake (RFC 3207
// §4.2).
func TestSMTPForgetsAfterTLS(t *testing.T) {
	cert, err := testcert.Leaf("localhost")
	require.NoError(t, err)
	near, far := net.Pipe()
	go tlsDialog(far, &tls.Config{Certificates: []tls.Certificate{cert}},
		"S: 220 test\nC: EHLO localhost\nS: 250-test\nS: 250-PIPELINING\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n!keep",
		"C: EHLO localhost\nS: 250 test")
	d := &loadtest.SMTP{Addr: "unix:pipe", Exchange: loadtest.Pipelined, TLSConfig: &tls.Config{RootCAs: testcert.Default().Pool()}}
	d.NetDial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	_, err = d.Dial(t.Context())
	require.Error(t, err)
	assert.Equal(t, "PIPELINING not offered", kind(err))
}

func TestSMTPInDoubt(t *testing.T) {
	const before = greeting + "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 354 go\n"
	const data = "Subject: 1\r\n\r\n..dot\r\n.\r\n"
	for octets := range len(data) + 1 {
		near, far := net.Pipe()
		server := make(chan error, 1)
		go func() {
			defer far.Close()
			if err := dialog(before + "!keep").serve(keepOpen{far}); !errors.Is(err, errKept) {
				server <- err
				return
			}
			_, err := io.ReadFull(far, make([]byte, octets))
			server <- err
		}()
		d := &loadtest.SMTP{Addr: "unix:pipe", Security: loadtest.Plaintext, Message: short}
		d.NetDial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
		s, err := d.Dial(t.Context())
		require.NoError(t, err)
		want := "failed: lost message"
		if octets == len(data) {
			want = "in doubt: lost message"
		}
		assert.Equal(t, want, outcome(s.Do(t.Context(), &loadtest.Op{})), "after %d of %d octets", octets, len(data))
		require.NoError(t, <-server)
		s.Close()
	}
}
