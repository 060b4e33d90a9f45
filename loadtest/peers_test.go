package loadtest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/peertest"
	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// This file and its neighbours peers_*_test.go run one suite against our own
// server and against servers that others wrote. What it is after is the
// delivery check: what the engine counts as accepted is what the server counts.

// A mode is one way to deliver messages.
type mode struct {
	exchange loadtest.Exchange
	depth    int
	security loadtest.Security
	reuse    int64 // messages per session; 0: no limit
	lmtp     bool
	unix     bool
}

func (m mode) String() string {
	name := []string{"lockstep", "pipelined", "chunked"}[m.exchange]
	if m.depth > 1 {
		name += fmt.Sprint("-depth", m.depth)
	}
	name += "/" + []string{"starttls", "starttls-if-offered", "implicit-tls", "plaintext"}[m.security]
	switch m.reuse {
	case 0:
		name += "/reuse"
	default:
		name += fmt.Sprintf("/%d-per-session", m.reuse)
	}
	if m.lmtp {
		name += "/lmtp"
	}
	if m.unix {
		name += "/unix"
	}
	return name
}

// modes are the combinations that make a difference on the wire.
func modes() []mode {
	var all []mode
	for _, e := range []struct {
		exchange loadtest.Exchange
		depth    int
	}{
		{loadtest.Lockstep, 1},
		{loadtest.Pipelined, 1},
		{loadtest.Pipelined, 2}, // end of data and the next MAIL in one write
		{loadtest.Chunked, 1},
		{loadtest.Chunked, 5},
	} {
		for _, security := range []loadtest.Security{loadtest.Plaintext, loadtest.STARTTLS, loadtest.ImplicitTLS} {
			for _, reuse := range []int64{0, 1, 7} { // 7: no divisor of the number of messages
				for _, lmtp := range []bool{false, true} {
					for _, unix := range []bool{false, true} {
						if unix && reuse != 0 || lmtp && reuse == 7 {
							continue // the socket's family and the final replies do not depend on it
						}
						all = append(all, mode{e.exchange, e.depth, security, reuse, lmtp, unix})
					}
				}
			}
		}
	}
	return all
}

// A target is a server that runs, and how to reach it in one mode.
type target struct {
	dialer *loadtest.SMTP
	// received returns how many messages the server has accepted, to the last
	// one. It may end the server.
	received func() int64
}

// A peer is a kind of server.
type peer struct {
	name string
	can  func(mode) bool
	// start returns how to start the server in a mode. It is called once, so
	// that what is expensive to start can be shared by the modes.
	start func(t *testing.T) func(t *testing.T, m mode) target
}

var peers = []peer{
	{
		name: "smtptest",
		can:  func(mode) bool { return true },
		start: func(*testing.T) func(*testing.T, mode) target {
			return startSmtptest
		},
	},
	{
		name: "postfix",
		// A Postfix has no LMTP server, and its smtpd on a unix socket is for
		// the proxies of its own.
		can: func(m mode) bool { return !m.lmtp && !m.unix },
		start: func(t *testing.T) func(*testing.T, mode) target {
			p := peertest.Postfix(t, peertest.PostfixConfig{})
			return func(_ *testing.T, m mode) target { return postfixTarget(p, m) }
		},
	},
	{
		name: "smtp-sink",
		can: func(m mode) bool {
			return m.security == loadtest.Plaintext && m.exchange != loadtest.Chunked
		},
		start: func(*testing.T) func(*testing.T, mode) target {
			return func(t *testing.T, m mode) target { return startSink(t, m) }
		},
	},
}

// apply sets what a mode says of the client.
func (m mode) apply(d *loadtest.SMTP) *loadtest.SMTP {
	d.Exchange, d.Depth, d.Security, d.LMTP = m.exchange, m.depth, m.security, m.lmtp
	return d
}

// startSmtptest starts one of our servers; change changes it before it starts.
func startSmtptest(t *testing.T, m mode) target { return startSmtptestWith(t, m, nil) }

func startSmtptestWith(t *testing.T, m mode, change func(*smtptest.Server)) target {
	t.Helper()
	srv := smtptest.NewUnstartedServer(t)
	srv.LMTP = m.lmtp
	if m.unix {
		srv.Addr = "unix:" + peertest.PublicDir(t) + "/s"
	}
	if change != nil {
		change(srv)
	}
	if m.security == loadtest.ImplicitTLS {
		srv.StartImplicitTLS()
	} else {
		srv.Start()
	}
	return target{
		dialer: m.apply(srv.Dialer()),
		received: func() int64 {
			srv.Close()
			return srv.Stats().Messages
		},
	}
}

// postfixTarget reaches a Postfix that runs and may have messages already.
func postfixTarget(p *peertest.PostfixServer, m mode) target {
	before := p.Accepted()
	d := m.apply(&loadtest.SMTP{Addr: p.Addr, TLSConfig: p.ClientTLSConfig()})
	if m.security == loadtest.ImplicitTLS {
		d.Addr = p.ImplicitTLSAddr
	}
	return target{
		dialer:   d,
		received: func() int64 { return int64(p.Accepted() - before) },
	}
}

func startSink(t *testing.T, m mode, flags ...string) target {
	t.Helper()
	if m.lmtp {
		flags = append(slices.Clone(flags), "-L")
	}
	start := peertest.SMTPSink
	if m.unix {
		start = peertest.SMTPSinkUnix
	}
	s := start(t, flags...)
	return target{
		dialer:   m.apply(&loadtest.SMTP{Addr: s.Addr}),
		received: func() int64 { return int64(s.Stop()) },
	}
}

// runTimeout bounds a run: far more than any takes, less than go test's limit.
const runTimeout = time.Minute

// drive applies a load and returns what came of it. The context is not ended
// early by any test here, so an error is the run's own.
func drive(t *testing.T, d loadtest.Dialer, cfg loadtest.Config) (*loadtest.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	res, err := loadtest.Run(ctx, d, cfg)
	require.NoError(t, ctx.Err(), "Run did not end in %v", runTimeout)
	require.NotNil(t, res, "Run has to return the partial result: %v", err)
	return res, err
}

// checkDelivery holds rule 3: every operation is in exactly one count, and the
// server's count is between accepted and accepted + in doubt.
func checkDelivery(t *testing.T, res *loadtest.Result, received int64) {
	t.Helper()
	assert.Equal(t, res.Ops, res.Accepted+res.Refused+res.Failed+res.InDoubt, "each operation is in exactly one count")
	assert.LessOrEqual(t, res.Accepted, received, "the server does not have all that was accepted")
	assert.LessOrEqual(t, received, res.Accepted+res.InDoubt, "the server has more than what was accepted or in doubt")
	assert.LessOrEqual(t, res.Throttled, res.Refused)
	answered := res.Accepted + res.Refused
	assert.EqualValues(t, answered, res.Latency.Count(), "latencies of what was answered")
	// What was refused when a session was opened for it has no service time.
	assert.LessOrEqual(t, res.Service.Count(), answered, "service times of what was answered")
	assert.GreaterOrEqual(t, res.Service.Count(), answered-res.DialsFailed, "service times of what was answered")
	if t.Failed() {
		t.Log(describe(res), "received", received)
	}
}

// describe is a result in a line, for a test that failed.
func describe(res *loadtest.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ops %d: accepted %d, refused %d (throttled %d), failed %d, in doubt %d; dials %d, failed %d;",
		res.Ops, res.Accepted, res.Refused, res.Throttled, res.Failed, res.InDoubt, res.Dials, res.DialsFailed)
	for _, e := range res.Errors {
		fmt.Fprintf(&b, " %d x %s (%v);", e.Count, e.Kind, e.Example)
	}
	return b.String()
}

// TestPeers delivers messages to every peer in every mode that it knows.
func TestPeers(t *testing.T) {
	const messages, sessions = 40, 3
	for _, peer := range peers {
		t.Run(peer.name, func(t *testing.T) {
			start := peer.start(t)
			for _, m := range modes() {
				if !peer.can(m) {
					continue
				}
				t.Run(m.String(), func(t *testing.T) {
					target := start(t, m)
					target.dialer.Message = numbered
					res, err := drive(t, target.dialer, loadtest.Config{Sessions: sessions, OpsPerSession: m.reuse, Ops: messages})
					require.NoError(t, err)
					assert.EqualValues(t, messages, res.Accepted)
					assert.EqualValues(t, messages, res.Ops)
					assert.Empty(t, res.Errors)
					assert.EqualValues(t, 2*messages, res.Recipients)
					switch m.reuse {
					case 0:
						assert.EqualValues(t, sessions, res.Dials)
					default:
						assert.GreaterOrEqual(t, res.Dials, (messages+m.reuse-1)/m.reuse)
					}
					received := target.received()
					assert.EqualValues(t, messages, received)
					checkDelivery(t, res, received)
				})
			}
		})
	}
}

// numbered is a message of its own for each operation, of different lengths and
// with lines that need dot-stuffing.
func numbered(n int64) *loadtest.Message {
	return &loadtest.Message{
		From: fmt.Sprintf("from%d@example.com", n),
		To:   []string{fmt.Sprintf("to%d@example.com", n), "second@example.com"},
		Data: []byte(fmt.Sprintf("Subject: %d\r\n\r\n.\r\n..\r\n%s\r\n.%d\r\n", n, strings.Repeat("x", int(n*37%900)), n)),
	}
}
