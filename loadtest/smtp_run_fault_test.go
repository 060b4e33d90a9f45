package loadtest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// countKind returns how many errors of that kind a run had.
func countKind(res *loadtest.Result, kind string) int64 {
	for _, e := range res.Errors {
		if e.Kind == kind {
			return e.Count
		}
	}
	return 0
}

// checkCounts holds rule 3 for a run that a server with has messages has seen.
func checkCounts(t *testing.T, res *loadtest.Result, has int64) {
	t.Helper()
	assert.Equal(t, res.Ops, res.Accepted+res.Refused+res.Failed+res.InDoubt, "each operation is in exactly one count")
	assert.GreaterOrEqual(t, has, res.Accepted, "the server has all that was accepted")
	assert.LessOrEqual(t, has, res.Accepted+res.InDoubt, "and nothing but that and what is in doubt")
	assert.Equal(t, res.Accepted+res.Refused, res.Latency.Count())
	if t.Failed() {
		t.Logf("the server has %d\n%v", has, res)
	}
}

// The third session meets a fault, over TCP and TLS, in the middle of a run: the
// run goes on, every operation is counted once, and an error names the phase.
func TestSMTPRunFaults(t *testing.T) {
	const ops, limit = 12, 400 * time.Millisecond
	phases := []struct {
		verb, phase string
		timeouts    loadtest.Timeouts
	}{
		{"CONNECT", "greeting", loadtest.Timeouts{Greeting: limit}},
		{"EHLO", "EHLO", loadtest.Timeouts{Command: limit}},
		{"STARTTLS", "STARTTLS", loadtest.Timeouts{Command: limit}},
		{"TLS", "TLS", loadtest.Timeouts{TLS: limit}},
		{"AUTH", "AUTH", loadtest.Timeouts{Command: limit}},
		{"MAIL", "MAIL", loadtest.Timeouts{Command: limit}},
		{"RCPT", "RCPT", loadtest.Timeouts{Command: limit}},
		{"DATA", "DATA", loadtest.Timeouts{Command: limit}},
		{".", "message", loadtest.Timeouts{Message: limit}},
		{"QUIT", "QUIT", loadtest.Timeouts{Quit: limit}},
	}
	faults := []struct {
		name   string
		action smtptest.Action
		hang   bool
		kind   string // with the phase behind it, or before it
		code   string
		inTLS  bool // it can meet a handshake
	}{
		{name: "hang", hang: true, kind: "timeout", inTLS: true},
		{name: "close", action: smtptest.Action{Close: smtptest.CloseWithoutReply}, kind: "lost", inTLS: true},
		{name: "reset", action: smtptest.Action{Close: smtptest.Reset}, kind: "lost", inTLS: true},
		{name: "partial line", action: smtptest.Action{Close: smtptest.ClosePartial}, kind: "lost"},
		{name: "garbage", action: smtptest.Action{Reply: "HTTP/1.1 400 Bad Request"}, kind: "protocol"},
		{name: "421", action: smtptest.Action{Reply: "421 4.3.2 Too busy"}, code: "421 4.3.2"},
	}
	loops := []struct {
		name  string
		pacer loadtest.Pacer
	}{{"closed loop", nil}, {"open loop", loadtest.Rate(1000)}}
	for _, phase := range phases {
		for _, fault := range faults {
			if phase.verb == "TLS" && !fault.inTLS {
				continue
			}
			for _, loop := range loops {
				if loop.pacer != nil && fault.name != "hang" && fault.name != "close" {
					continue // one that takes time, and one that takes none
				}
				t.Run(phase.phase+"/"+fault.name+"/"+loop.name, func(t *testing.T) {
					t.Parallel()
					srv := smtptest.NewUnstartedServer(t)
					srv.Users, srv.RequireAuth = map[string]string{"ann": "secret"}, true
					srv.Hook = func(ctx context.Context, c *smtptest.Command) smtptest.Action {
						if c.Verb != phase.verb || c.Session != 3 {
							return smtptest.Action{}
						}
						if fault.hang {
							<-ctx.Done()
						}
						return fault.action
					}
					srv.Start()
					d := srv.Dialer()
					if fault.hang {
						d.Timeouts = phase.timeouts
					}
					res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, OpsPerSession: 2, Ops: ops, Pacer: loop.pacer})
					require.NoError(t, err, "a server's faults are findings")
					srv.Close()
					checkCounts(t, res, srv.Stats().Messages)
					assert.EqualValues(t, ops, res.Ops)
					assert.Positive(t, res.Accepted, "the other sessions were good")

					kind := fault.kind + " " + phase.phase
					if fault.code != "" {
						kind = phase.phase + " " + fault.code
					}
					found := countKind(res, kind)
					assert.Positive(t, found, "no %q in %v", kind, res.Errors)
					for _, e := range res.Errors {
						if e.Kind == kind {
							assert.ErrorContains(t, e.Example, "smtp: "+phase.phase+": ")
						}
					}
					switch {
					case phase.verb == "QUIT": // after the last operation
						assert.Equal(t, res.Ops, res.Accepted)
					case fault.code != "":
						assert.GreaterOrEqual(t, res.Throttled, found, "421 is counted apart")
					case phase.verb == ".":
						assert.GreaterOrEqual(t, res.InDoubt, found, "the mail data was sent")
					default:
						assert.GreaterOrEqual(t, res.Failed, found)
						assert.Zero(t, res.InDoubt)
					}
				})
			}
		}
	}
}

// A server that cannot be used at all: an error that says in which phase, and
// what to do, and a Result that claims nothing.
func TestSMTPRunCannotBegin(t *testing.T) {
	const limit = 400 * time.Millisecond
	timeouts := loadtest.Timeouts{Greeting: limit, TLS: limit, Command: limit}
	at := func(verb string, a smtptest.Action) func(*smtptest.Server) {
		return func(s *smtptest.Server) { s.Hook = smtptest.On(verb).Do(a) }
	}
	hangAt := func(verb string) func(*smtptest.Server) {
		return func(s *smtptest.Server) {
			s.Hook = func(ctx context.Context, c *smtptest.Command) smtptest.Action {
				if c.Verb == verb {
					<-ctx.Done()
				}
				return smtptest.Action{}
			}
		}
	}
	closed := smtptest.Action{Close: smtptest.CloseWithoutReply}
	tests := []struct {
		name   string
		server func(*smtptest.Server)
		client func(*loadtest.SMTP)
		phase  string
		todo   string // what the error advises
	}{
		{"no STARTTLS", func(s *smtptest.Server) { s.NoSTARTTLS = true },
			func(d *loadtest.SMTP) { d.Security = loadtest.STARTTLS }, "STARTTLS", "set Security to loadtest.Plaintext"},
		{"not trusted", nil, func(d *loadtest.SMTP) { d.TLSConfig = nil }, "TLS", "set TLSConfig."},
		{"wrong name", nil, func(d *loadtest.SMTP) { d.TLSConfig.ServerName = "mx.example" }, "TLS", "set TLSConfig.ServerName"},
		{"wrong password", func(s *smtptest.Server) { s.Users, s.RequireAuth = map[string]string{"ann": "secret"}, true },
			func(d *loadtest.SMTP) {
				d.Auth = func() sasl.Client { return sasl.NewPlainClient("", "ann", "wrong") }
			}, "AUTH", "SMTP.Auth"},
		{"AUTH not offered", nil, func(d *loadtest.SMTP) {
			d.Auth = func() sasl.Client { return sasl.NewPlainClient("", "ann", "secret") }
		}, "AUTH", "it offers no AUTH"},
		{"no PIPELINING", func(s *smtptest.Server) { s.Hide = []string{"PIPELINING"} },
			func(d *loadtest.SMTP) { d.Exchange = loadtest.Pipelined }, "EHLO", "set Exchange to loadtest.Lockstep"},
		{"no CHUNKING", func(s *smtptest.Server) { s.Hide = []string{"CHUNKING"} },
			func(d *loadtest.SMTP) { d.Exchange = loadtest.Chunked }, "EHLO", "set Exchange to loadtest.Pipelined"},
		{"LMTP", nil, func(d *loadtest.SMTP) { d.LMTP = true }, "LHLO", "SMTP and not LMTP"},
		{"ImplicitTLS", nil, func(d *loadtest.SMTP) { d.Security = loadtest.ImplicitTLS }, "TLS", "is it a port for STARTTLS"},
		{"silent", hangAt("CONNECT"), nil, "greeting", "ImplicitTLS"},
		{"another protocol", at("CONNECT", smtptest.Action{Reply: "SSH-2.0-x"}), nil, "greeting", "is it an SMTP server?"},
		{"too many sessions", at("CONNECT", smtptest.Action{Reply: "421 4.7.0 Too many"}), nil, "greeting", "use fewer Sessions"},
		{"hangs up", at("CONNECT", closed), nil, "greeting", "its log may say why"},
		{"hang after EHLO", hangAt("EHLO"), nil, "EHLO", "Timeouts.Command"},
		{"hang in the handshake", hangAt("TLS"), nil, "TLS", "Timeouts.TLS"},
		{"hangs up in the handshake", at("TLS", closed), nil, "TLS", "its log may say why"},
		{"public", nil, func(d *loadtest.SMTP) { d.Addr = "192.0.2.1:25" }, "connect", "set AllowPublic"},
	}
	for _, test := range tests {
		for _, perSession := range []int64{0, 1} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				srv := smtptest.NewUnstartedServer(t)
				if test.server != nil {
					test.server(srv)
				}
				srv.Start()
				d := srv.Dialer()
				d.Timeouts = timeouts
				if test.client != nil {
					test.client(d)
				}
				const sessions = 3
				res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: sessions, OpsPerSession: perSession, Ops: 1000})
				require.Error(t, err)
				var e *loadtest.SMTPError
				require.ErrorAs(t, err, &e)
				assert.Equal(t, test.phase, e.Phase)
				assert.ErrorContains(t, err, "smtp: "+test.phase+": ")
				assert.ErrorContains(t, err, test.todo)
				assert.NotContains(t, err.Error(), "\n")
				checkCounts(t, res, srv.Stats().Messages)
				assert.Zero(t, res.Accepted)
				assert.Zero(t, res.Dials)
				assert.Positive(t, res.DialsFailed)
				assert.NotEmpty(t, res.Errors)
				assert.LessOrEqual(t, res.Ops, int64(sessions*perSession), "it is given up at once")
			})
		}
	}
}

// A server that stops reading in the middle of the mail data holds the session
// for Timeouts.Message and no longer, and does not have the message.
func TestSMTPRunServerStopsReading(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			script := dialog("S: 220 test\nC: EHLO localhost\nS: 250-test\nS: 250 PIPELINING\nC: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 354 go\n!keep")
			if err := script.serve(keepOpen{conn}); !errors.Is(err, errKept) {
				t.Error(err)
			}
			defer conn.Close() // only when the run is over
		}
	}()
	big := loadtest.Text("a@x", "b@x", 16<<20) // more than any socket buffer
	d := &loadtest.SMTP{Addr: l.Addr().String(), Security: loadtest.Plaintext,
		Timeouts: loadtest.Timeouts{Message: 200 * time.Millisecond},
		Message:  func(int64) *loadtest.Message { return big }}
	res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 3})
	l.Close()
	<-served
	require.NoError(t, err)
	checkCounts(t, res, 0)
	assert.EqualValues(t, 3, res.Failed, "not in doubt: its end was not sent\n%v", res)
	assert.EqualValues(t, 3, countKind(res, "timeout message"))
}

// A run that is cancelled while the server hangs ends at once if sessions are
// being opened, and OpTimeout later if operations are in flight.
func TestSMTPRunCancelled(t *testing.T) {
	for _, verb := range []string{"CONNECT", "EHLO", "STARTTLS", "TLS", "MAIL", "DATA", "."} {
		for _, exchange := range []loadtest.Exchange{loadtest.Lockstep, loadtest.Chunked} {
			if exchange == loadtest.Chunked && verb != "MAIL" && verb != "." {
				continue // DATA is not sent, and handshakes are the same
			}
			t.Run(verb, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				srv := smtptest.NewUnstartedServer(t)
				srv.Hook = func(hook context.Context, c *smtptest.Command) smtptest.Action {
					if c.Verb == verb {
						cancel()
						<-hook.Done()
					}
					return smtptest.Action{}
				}
				srv.Start()
				d := srv.Dialer()
				d.Exchange = exchange
				// The phases' own limits are of no help: they are 30 s and more.
				res, err := loadtest.Run(ctx, d, loadtest.Config{Sessions: 3, Ops: 100, OpTimeout: 1500 * time.Millisecond})
				require.ErrorIs(t, err, context.Canceled)
				assert.False(t, strings.Contains(err.Error(), "\n"), err)
				srv.Close()
				checkCounts(t, res, srv.Stats().Messages)
				assert.Zero(t, srv.Stats().Open)
				if verb == "." {
					assert.Positive(t, res.InDoubt)
				}
			})
		}
	}
}
