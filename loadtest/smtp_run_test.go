package loadtest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// A server's limit of messages for a session costs sessions, never messages.
func TestSMTPMailMax(t *testing.T) {
	for _, mode := range []struct {
		name     string
		exchange loadtest.Exchange
		depth    int
		why      string
	}{
		{"lockstep", loadtest.Lockstep, 1, "the session is replaced after its last message"},
		{"pipelined, depth 2", loadtest.Pipelined, 2, "the next message's MAIL must not go out with the last one's data"},
		{"chunked, depth 5", loadtest.Chunked, 5, "more are in flight than the session may have"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			const limit, ops = 3, 20
			srv := smtptest.NewUnstartedServer(t)
			srv.MaxMessages = limit
			srv.Start()
			d := srv.Dialer()
			d.Exchange, d.Depth = mode.exchange, mode.depth
			res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, Ops: ops})
			if err != nil {
				t.Fatal(err)
			}
			if res.Accepted != ops || srv.Stats().Messages != ops {
				t.Errorf("accepted %d, server has %d, want %d (%s)\n%v", res.Accepted, srv.Stats().Messages, ops, mode.why, res)
			}
			if sessions := srv.Stats().Sessions; sessions < (ops+limit-1)/limit {
				t.Errorf("%d sessions for %d messages, the server allows %d in each", sessions, ops, limit)
			}
		})
	}
}

// A load that cannot be sent ends the run: it would fail for every message.
func TestSMTPRunWrongMessage(t *testing.T) {
	srv := smtptest.NewSink(t)
	for _, test := range []struct {
		name    string
		message func(int64) *loadtest.Message
		want    string
	}{
		{"none", func(int64) *loadtest.Message { return nil }, "no message for operation"},
		{"bare LF", func(int64) *loadtest.Message {
			return &loadtest.Message{To: []string{"a@example.com"}, Data: []byte("Subject: x\n\nbody\r\n")}
		}, "line 1: bare CR or LF"},
		{"no recipient", func(int64) *loadtest.Message { return &loadtest.Message{From: "a@example.com"} }, "set To"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := srv.Dialer()
			d.Message = test.message
			res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, Ops: 1000})
			if !errors.Is(err, loadtest.ErrSetup) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want ErrSetup with %q", err, test.want)
			}
			if res.Ops == 0 || res.Ops != res.Failed || res.Ops > 100 {
				t.Errorf("counts: %+v", res)
			}
		})
	}
}

// What arrives is what was meant, by every way to a server and in every
// exchange: the envelope, and the mail data to the octet.
func TestSMTPRunDelivers(t *testing.T) {
	auth := func(mechanism string) func(*smtptest.Server) {
		return func(s *smtptest.Server) {
			s.Users, s.RequireAuth, s.Mechanisms = map[string]string{"ann": "secret"}, true, []string{mechanism}
		}
	}
	dir := t.TempDir()
	const file = ".\n..\n.dot\nwithout an end"
	for name, data := range map[string]string{"a.eml": "Subject: a\n\na\n", "b.eml": file} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	corpus, err := loadtest.Corpus("from@example.com", "to@example.com", dir)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, why string
		server    func(*smtptest.Server)
		client    func(*loadtest.SMTP)
		protocol  string // of all messages
		plain     bool   // the extensions of Pipelined and Chunked are missing
	}{
		{name: "STARTTLS", protocol: "ESMTPS"},
		{name: "if offered, and it is", client: func(d *loadtest.SMTP) { d.Security = loadtest.STARTTLSIfOffered }, protocol: "ESMTPS"},
		{name: "if offered, and it is not", server: func(s *smtptest.Server) { s.NoSTARTTLS = true },
			client: func(d *loadtest.SMTP) { d.Security = loadtest.STARTTLSIfOffered }, protocol: "ESMTP"},
		{name: "plaintext", why: "although STARTTLS is offered", client: func(d *loadtest.SMTP) { d.Security = loadtest.Plaintext }, protocol: "ESMTP"},
		{name: "HELO", why: "RFC 5321 §3.2: to a server that does not know EHLO", server: func(s *smtptest.Server) { s.HELOOnly = true }, protocol: "SMTP", plain: true},
		{name: "IPv6", server: func(s *smtptest.Server) { s.Addr = "[::1]:0" }, protocol: "ESMTPS"},
		{name: "by name", why: "each address of localhost in turn", client: func(d *loadtest.SMTP) {
			d.Addr = strings.Replace(d.Addr, "127.0.0.1", "localhost", 1)
		}, protocol: "ESMTPS"},
		{name: "by name, tcp4", client: func(d *loadtest.SMTP) {
			d.Addr, d.Network = strings.Replace(d.Addr, "127.0.0.1", "localhost", 1), "tcp4"
		}, protocol: "ESMTPS"},
		{name: "from another address", client: func(d *loadtest.SMTP) { d.LocalAddr = "127.0.0.3" }, protocol: "ESMTPS"},
		{name: "unix", server: func(s *smtptest.Server) { s.Addr = "unix:" + t.TempDir() + "/s" }, protocol: "ESMTPS"},
		{name: "LMTP", server: func(s *smtptest.Server) { s.LMTP = true }, protocol: "LMTPS"},
		{name: "AUTH PLAIN", server: auth("PLAIN"), client: func(d *loadtest.SMTP) {
			d.Auth = func() sasl.Client { return sasl.NewPlainClient("", "ann", "secret") }
		}, protocol: "ESMTPSA"},
		{name: "AUTH LOGIN", server: auth("LOGIN"), client: func(d *loadtest.SMTP) {
			d.Auth = func() sasl.Client { return sasl.NewLoginClient("ann", "secret") }
		}, protocol: "ESMTPSA"},
		{name: "AUTH OAUTHBEARER", server: auth("OAUTHBEARER"), client: func(d *loadtest.SMTP) {
			d.Auth = func() sasl.Client {
				return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: "ann", Token: "secret"})
			}
		}, protocol: "ESMTPSA"},
	}
	for _, test := range tests {
		for _, exchange := range []struct {
			name     string
			exchange loadtest.Exchange
			depth    int
		}{{"lockstep", loadtest.Lockstep, 1}, {"pipelined", loadtest.Pipelined, 2}, {"chunked", loadtest.Chunked, 4}} {
			if test.plain && exchange.exchange != loadtest.Lockstep {
				continue
			}
			t.Run(test.name+"/"+exchange.name, func(t *testing.T) {
				srv := smtptest.NewUnstartedServer(t)
				if test.server != nil {
					test.server(srv)
				}
				srv.Start()
				d := srv.Dialer()
				d.Hello = "client.example"
				d.Exchange, d.Depth = exchange.exchange, exchange.depth
				d.Message = func(n int64) *loadtest.Message {
					return loadtest.NumberedRecipients(corpus(n), "user+@example.com", 2)(n)
				}
				if test.client != nil {
					test.client(d)
				}
				const ops = 10
				res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, Ops: ops})
				if err != nil {
					t.Fatal(err)
				}
				if res.Accepted != ops || res.Recipients != 2*ops {
					t.Fatalf("%d accepted, %d recipients; %s\n%v", res.Accepted, res.Recipients, test.why, res)
				}
				seen := map[int]bool{}
				var octets int64
				for _, m := range srv.Messages() {
					var n int
					if _, err := fmt.Sscanf(m.To[0], "user+%d@example.com", &n); err != nil || len(m.To) != 2 || m.To[1] != fmt.Sprintf("user+%d@example.com", n+1) {
						t.Fatalf("recipients %q", m.To)
					}
					seen[n/2] = true
					want := "Subject: a\r\n\r\na\r\n"
					if n/2%2 == 1 {
						want = strings.ReplaceAll(file, "\n", "\r\n") + "\r\n"
					}
					octets += int64(len(want))
					if string(m.Data) != want {
						t.Errorf("operation %d: data %q, want %q", n/2, m.Data, want)
					}
					if m.From != "from@example.com" || m.Hello != "client.example" || m.Protocol != test.protocol {
						t.Errorf("from %q, hello %q, protocol %q, want %q", m.From, m.Hello, m.Protocol, test.protocol)
					}
					if d.LocalAddr != "" && !strings.HasPrefix(m.RemoteAddr.String(), d.LocalAddr+":") {
						t.Errorf("from %v, want %s", m.RemoteAddr, d.LocalAddr)
					}
				}
				if len(seen) != ops || res.Bytes != octets {
					t.Errorf("operations %v, %d octets; want %d, %d", seen, res.Bytes, ops, octets)
				}
			})
		}
	}
}

// Sessions resume TLS sessions if they are told to, and never otherwise: the
// server counts.
func TestSMTPResumption(t *testing.T) {
	const ops = 6
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, security := range []loadtest.Security{loadtest.STARTTLS, loadtest.ImplicitTLS} {
			for _, test := range []struct {
				name   string
				resume bool
				cache  tls.ClientSessionCache
				want   int64
			}{
				{"on", true, nil, ops - 1},
				{"on, with a cache", true, tls.NewLRUClientSessionCache(1), ops - 1},
				{"off", false, nil, 0},
				{"off, with a cache", false, tls.NewLRUClientSessionCache(1), 0},
			} {
				t.Run(fmt.Sprintf("%s/security %d/%s", tls.VersionName(version), security, test.name), func(t *testing.T) {
					srv := smtptest.NewUnstartedServer(t)
					if security == loadtest.ImplicitTLS {
						srv.StartImplicitTLS()
					} else {
						srv.Start()
					}
					d := srv.Dialer()
					d.TLSConfig.MinVersion, d.TLSConfig.MaxVersion = version, version
					d.TLSConfig.ClientSessionCache = test.cache
					d.ResumeTLS = test.resume
					// One after the other: a ticket is there when the next one dials.
					res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: ops, OpsPerSession: 1})
					if err != nil || res.Accepted != ops {
						t.Fatal(err, res)
					}
					if st := srv.Stats(); st.TLSHandshakes != ops || st.TLSResumed != test.want {
						t.Errorf("%d handshakes, %d resumed; want %d, %d", st.TLSHandshakes, st.TLSResumed, ops, test.want)
					}
				})
			}
		}
	}
}

// LMTP's final replies are for each recipient: an operation is accepted if one
// of them is, and the others are counted.
func TestSMTPRunLMTP(t *testing.T) {
	const ops = 12
	message := &loadtest.Message{To: []string{"a@x", "b@x", "c@x"}, Data: []byte("x\r\n")}
	for _, test := range []struct {
		name              string
		refuse            []string // at the end of data
		accepted, refused int64    // operations
		lost              int64    // recipients refused in operations accepted
	}{
		{"none refused", nil, ops, 0, 0},
		{"one refused", []string{"b@x"}, ops, 0, ops},
		{"first and last", []string{"a@x", "c@x"}, ops, 0, 2 * ops},
		{"all refused", []string{"*"}, 0, ops, 0},
	} {
		for _, exchange := range []loadtest.Exchange{loadtest.Lockstep, loadtest.Pipelined, loadtest.Chunked} {
			t.Run(fmt.Sprintf("%s/%d", test.name, exchange), func(t *testing.T) {
				srv := smtptest.NewUnstartedServer(t)
				srv.LMTP = true
				srv.Hook = func(_ context.Context, c *smtptest.Command) smtptest.Action {
					if c.Verb == "." && (slices.Contains(test.refuse, c.Recipient) || slices.Contains(test.refuse, "*")) {
						return smtptest.Action{Reply: "452 4.2.2 Mailbox full"}
					}
					return smtptest.Action{}
				}
				srv.Start()
				d := srv.Dialer()
				d.Exchange = exchange
				d.Message = func(int64) *loadtest.Message { return message }
				res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, Ops: ops})
				if err != nil {
					t.Fatal(err)
				}
				if res.Accepted != test.accepted || res.Refused != test.refused || res.RecipientsRefused != test.lost || res.Dials != 2 {
					t.Errorf("want %d accepted, %d refused, %d recipients refused, 2 sessions: %d, %d, %d, %d\n%v",
						test.accepted, test.refused, test.lost, res.Accepted, res.Refused, res.RecipientsRefused, res.Dials, res)
				}
				if len(test.refuse) > 0 && countKind(res, "message 452 4.2.2") == 0 {
					t.Errorf("errors: %v", res.Errors)
				}
				if srv.Stats().Messages != test.accepted {
					t.Errorf("the server has %d", srv.Stats().Messages)
				}
			})
		}
	}
}

// The phases of a real session are in the Result, as often as they came.
func TestSMTPRunPhases(t *testing.T) {
	srv := smtptest.NewUnstartedServer(t)
	srv.Users, srv.RequireAuth = map[string]string{"ann": "secret"}, true
	srv.Start()
	d := srv.Dialer()
	message := &loadtest.Message{To: []string{"a@x", "b@x"}}
	d.Message = func(int64) *loadtest.Message { return message }
	res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, OpsPerSession: 2, Ops: 8})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for name, h := range res.Phases {
		got[name] = h.Count()
	}
	sessions := res.Dials // 4, or 5 as who takes which operation is not decided
	want := map[string]int64{"connect": sessions, "greeting": sessions, "ehlo": 2 * sessions, "starttls": sessions, "auth": sessions,
		"mail": 8, "rcpt": 16, "data": 8, "message": 8, "quit": sessions}
	if !maps.Equal(got, want) {
		t.Errorf("phases %v, want %v", got, want)
	}
}

// An open loop against a server that stalls once: those that were due meanwhile
// had to wait, and the latencies show it, though the service times do not.
func TestSMTPRunOpenLoopStall(t *testing.T) {
	const stall = 300 * time.Millisecond
	srv := smtptest.NewUnstartedServer(t)
	srv.Hook = smtptest.On(".").First(1).Delay(stall)
	srv.Start()
	res, err := loadtest.Run(t.Context(), srv.Dialer(), loadtest.Config{Ops: 60, Pacer: loadtest.Rate(200)})
	if err != nil {
		t.Fatal(err)
	}
	checkCounts(t, res, srv.Stats().Messages)
	// 60 operations in 300 ms: half of them were due in the stall's first half.
	if got := res.Latency.Quantile(0.5); got < stall/4 {
		t.Errorf("latency at p50 is %v after a stall of %v\n%v", got, stall, res)
	}
	if got := res.Lag.Quantile(0.5); got < stall/4 {
		t.Errorf("lag at p50 is %v\n%v", got, res)
	}
	if res.Service.Max() < stall || res.Service.Quantile(0.5) >= res.Latency.Quantile(0.5) {
		t.Errorf("service times: %v", res)
	}
}

// ResetOnClose ends a connection with a RST, after QUIT was answered, and its
// absence with a FIN.
func TestSMTPResetOnClose(t *testing.T) {
	for _, reset := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				end <- err
				return
			}
			defer conn.Close()
			if err := dialog(greeting + "C: QUIT\nS: 221 bye\n!keep").serve(keepOpen{conn}); !errors.Is(err, errKept) {
				end <- err
				return
			}
			_, err = conn.Read(make([]byte, 1))
			end <- err
		}()
		s, err := (&loadtest.SMTP{Addr: l.Addr().String(), Security: loadtest.Plaintext, ResetOnClose: reset}).Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		want := io.EOF
		if reset {
			want = syscall.ECONNRESET
		}
		if err := <-end; !errors.Is(err, want) {
			t.Errorf("ResetOnClose %v: the server saw %v, want %v", reset, err, want)
		}
		l.Close()
	}
}

// Config.Sessions bounds what the server sees, also when each message has a
// session of its own: a server that allows as many never turns one away.
func TestSMTPRunSessionsBound(t *testing.T) {
	const sessions, ops = 4, 100
	for _, security := range []loadtest.Security{loadtest.Plaintext, loadtest.STARTTLS} {
		for _, pacer := range []loadtest.Pacer{nil, loadtest.Rate(1e5)} {
			srv := smtptest.NewUnstartedServer(t)
			srv.Discard, srv.MaxSessions = true, sessions
			srv.Start()
			d := srv.Dialer()
			d.Security, d.ResumeTLS = security, true
			res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: sessions, OpsPerSession: 1, Ops: ops, Pacer: pacer})
			if err != nil {
				t.Fatal(err)
			}
			if res.Accepted != ops || res.Dials != ops {
				t.Errorf("security %d: %d accepted over %d sessions, want %d each\n%v", security, res.Accepted, res.Dials, ops, res)
			}
		}
	}
}

// A server that wants something first says 530, and the example of its refusals
// says what to set.
func TestSMTPRunWanted(t *testing.T) {
	for _, test := range []struct {
		name   string
		server func(*smtptest.Server)
		client func(*loadtest.SMTP)
	}{
		{"AUTH", func(s *smtptest.Server) { s.Users, s.RequireAuth = map[string]string{"ann": "x"}, true }, func(d *loadtest.SMTP) { d.Auth = nil }},
		{"TLS", func(s *smtptest.Server) { s.RequireTLS = true }, func(d *loadtest.SMTP) { d.Security = loadtest.Plaintext }},
	} {
		srv := smtptest.NewUnstartedServer(t)
		test.server(srv)
		srv.Start()
		d := srv.Dialer()
		test.client(d)
		res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, Ops: 10})
		if err != nil || res.Refused != 10 || countKind(res, "MAIL 530 5.7.0") != 10 {
			t.Fatalf("%s: error %v\n%v", test.name, err, res)
		}
		if text := res.Errors[0].Example.Error(); !strings.Contains(text, "set Auth, or Security") {
			t.Errorf("%s: %s", test.name, text)
		}
	}
}

// An idle session holds no buffers, whatever went on before: tens of thousands
// of them may be open.
func TestSMTPIdleSession(t *testing.T) {
	for _, security := range []loadtest.Security{loadtest.Plaintext, loadtest.STARTTLS} {
		for _, exchange := range []loadtest.Exchange{loadtest.Lockstep, loadtest.Pipelined, loadtest.Chunked} {
			srv := smtptest.NewUnstartedServer(t)
			srv.Hook = smtptest.On("RCPT").Every(2).Reply("550 5.1.1 No")
			srv.Start()
			d := srv.Dialer()
			d.Security, d.Exchange = security, exchange
			s, err := d.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if loadtest.HoldsBuffers(s) {
				t.Errorf("security %d, exchange %d: after Dial", security, exchange)
			}
			for n, want := range []error{nil, loadtest.ErrRefused, nil, loadtest.ErrRefused} {
				if err := s.Do(t.Context(), &loadtest.Op{N: int64(n)}); !errors.Is(err, want) {
					t.Fatal(err)
				}
				if loadtest.HoldsBuffers(s) {
					t.Errorf("security %d, exchange %d: after operation %d", security, exchange, n)
				}
			}
			s.Close()
		}
	}
}
