package loadtest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

func TestSMTPBadFields(t *testing.T) {
	tests := []struct {
		name   string
		dialer *loadtest.SMTP
		want   string
	}{
		{"no address", &loadtest.SMTP{}, `smtp: field Addr "": missing port in address: want "host:port"`},
		{"no port", &loadtest.SMTP{Addr: "localhost"}, `missing port in address: want "host:port", "[::1]:port" or "unix:/path"`},
		{"empty port", &loadtest.SMTP{Addr: "localhost:"}, "no port"},
		{"no host", &loadtest.SMTP{Addr: ":25"}, "no host"},
		{"IPv6 without brackets", &loadtest.SMTP{Addr: "::1:25"}, "too many colons"},
		{"port out of range", &loadtest.SMTP{Addr: "localhost:70000"}, "70000"},
		{"no path", &loadtest.SMTP{Addr: "unix:"}, "no path"},
		{"network", &loadtest.SMTP{Addr: "localhost:25", Network: "udp"}, `Network "udp": want "tcp", "tcp4" or "tcp6"`},
		{"local address", &loadtest.SMTP{Addr: "localhost:25", LocalAddr: "localhost"}, "LocalAddr"},
		{"hello", &loadtest.SMTP{Addr: "localhost:25", Hello: "me\r\nMAIL"}, "Hello"},
		{"security", &loadtest.SMTP{Addr: "localhost:25", Security: 17}, "Security: 17"},
		{"exchange", &loadtest.SMTP{Addr: "localhost:25", Exchange: 17}, "Exchange: 17"},
		{"depth with lockstep", &loadtest.SMTP{Addr: "localhost:25", Depth: 2}, "Depth: 2"},
		{"depth with pipelined", &loadtest.SMTP{Addr: "localhost:25", Exchange: loadtest.Pipelined, Depth: 3}, "Depth: 3"},
		{"depth with chunked", &loadtest.SMTP{Addr: "localhost:25", Exchange: loadtest.Chunked, Depth: 129}, "Depth: 129"},
		{"negative depth", &loadtest.SMTP{Addr: "localhost:25", Depth: -1}, "Depth: -1"},
		{"public address", &loadtest.SMTP{Addr: "192.0.2.1:25"}, "192.0.2.1: a public address: this is a load generator; set AllowPublic"},
		{"public IPv6 address", &loadtest.SMTP{Addr: "[2001:db8::1]:25"}, "set AllowPublic"},
		{"public in disguise", &loadtest.SMTP{Addr: "[::ffff:192.0.2.1]:25"}, "set AllowPublic"},
		{"multicast", &loadtest.SMTP{Addr: "224.0.0.1:25"}, "set AllowPublic"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.dialer.Dial(t.Context())
			require.ErrorContains(t, err, test.want)
			_, again := test.dialer.Dial(t.Context())
			assert.EqualError(t, again, err.Error(), "and so for each session")
		})
	}
}

// addrConn is a connection that says it is with somebody else.
type addrConn struct {
	net.Conn
	remote string
}

func (c addrConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.remote))
}

func TestSMTPPublicCheckOfNetDial(t *testing.T) {
	tests := []struct {
		remote string
		allow  bool
		want   string
	}{
		{"192.0.2.1:25", false, "connect public address"},
		{"8.8.8.8:25", false, "connect public address"},
		{"192.0.2.1:25", true, ""},
		{"127.3.2.1:25", false, ""},
		{"10.1.2.3:25", false, ""},
		{"172.16.0.1:25", false, ""},
		{"172.32.0.1:25", false, "connect public address"},
		{"192.168.0.1:25", false, ""},
		{"169.254.0.1:25", false, ""},
		{"[::1]:25", false, ""},
		{"[fe80::1]:25", false, ""},
		{"[fd00::1]:25", false, ""},
		{"[2001:db8::1]:25", false, "connect public address"},
		{"[::ffff:10.0.0.1]:25", false, ""},
	}
	for _, test := range tests {
		near, far := net.Pipe()
		go dialog(greeting).serve(far)
		d := &loadtest.SMTP{Addr: "mail.test:25", Security: loadtest.Plaintext, AllowPublic: test.allow}
		d.NetDial = func(context.Context, string, string) (net.Conn, error) {
			return addrConn{near, test.remote}, nil
		}
		_, err := d.Dial(t.Context())
		assert.Equal(t, test.want, kind(err), test.remote)
		if err != nil {
			_, err := near.Write([]byte("x"))
			assert.ErrorIs(t, err, io.ErrClosedPipe, "closed, and nothing was sent")
		}
		near.Close()
	}
}

func TestSMTPNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	l.Close()
	for _, test := range []struct{ addr, kind string }{
		{addr, "connect ECONNREFUSED"},
		{"inet:" + addr, "connect ECONNREFUSED"},
		{"unix:" + filepath.Join(t.TempDir(), "none"), "connect"},
	} {
		_, err := (&loadtest.SMTP{Addr: test.addr}).Dial(t.Context())
		require.Error(t, err)
		if runtime.GOOS == "linux" {
			assert.Equal(t, test.kind, kind(err))
		}
		assert.ErrorContains(t, err, "smtp: connect: ")
		assert.ErrorContains(t, err, "is the server listening on")
	}
}

func TestSMTPConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &loadtest.SMTP{Addr: "127.0.0.1:25", Timeouts: loadtest.Timeouts{Connect: 7 * time.Second}}
		d.NetDial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		begin := time.Now()
		_, err := d.Dial(t.Context())
		assert.Equal(t, "timeout connect", kind(err))
		assert.ErrorContains(t, err, "no connection within 7s")
		assert.ErrorContains(t, err, "Timeouts.Connect")
		assert.Equal(t, 7*time.Second, time.Since(begin))

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, loadtest.ErrAborted)
		defer cancel()
		_, err = d.Dial(ctx)
		assert.Equal(t, "canceled connect", kind(err))
		assert.ErrorIs(t, err, loadtest.ErrAborted)
	})
}

func TestSMTPMaxConnects(t *testing.T) {
	tests := []struct{ field, most int }{{0, 1}, {1, 1}, {3, 3}, {-1, 8}}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int64
			d := &loadtest.SMTP{Addr: "127.0.0.1:25", Security: loadtest.Plaintext, MaxConnects: test.field}
			d.NetDial = func(context.Context, string, string) (net.Conn, error) {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				now.Add(-1)
				near, far := net.Pipe()
				// Slow, so that it shows that greetings overlap.
				go dialog("!wait 20s" + greeting + quit).serve(far)
				return near, nil
			}
			begin := time.Now()
			var dials sync.WaitGroup
			for range 8 {
				dials.Go(func() {
					s, err := d.Dial(t.Context())
					if assert.NoError(t, err) {
						p := s.(loadtest.PhaseTaker).TakePhases()
						for phase, took := range p.All {
							if phase == loadtest.PhaseConnect {
								assert.Equal(t, time.Second, took, "without the wait for its turn")
							}
						}
						assert.NoError(t, s.Close())
					}
				})
			}
			dials.Wait()
			assert.EqualValues(t, test.most, most.Load(), "MaxConnects %d", test.field)
			assert.Less(t, time.Since(begin), 30*time.Second, "greetings overlap")
		})
	}
}

func TestSMTPPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &loadtest.SMTP{Security: loadtest.Plaintext, Message: twoRecipients,
			Auth: func() sasl.Client { return sasl.NewLoginClient("user", "word") }}
		wait := overPipe(d, `
		!wait 1s
		S: 220 test
		C: EHLO localhost
		!wait 2s
		S: 250-test
		S: 250 AUTH LOGIN
		C: AUTH LOGIN dXNlcg==
		!wait 1s
		S: 334 UGFzc3dvcmQ6
		C: d29yZA==
		!wait 2s
		S: 235 ok
		C: MAIL FROM:<a@x>
		!wait 4s
		S: 250 ok
		C: RCPT TO:<b@x>
		!wait 5s
		S: 250 ok
		C: RCPT TO:<c@x>
		!wait 6s
		S: 250 ok
		C: DATA
		!wait 7s
		S: 354 go
		C: Subject: 1
		C: 
		C: ..dot
		C: .
		!wait 8s
		S: 250 ok
		C: QUIT
		!wait 500ms
		S: 221 bye
		`)
		collect := func(p loadtest.Phases) map[string]time.Duration {
			all := map[string]time.Duration{}
			for phase, took := range p.All {
				all[phase.String()] += took
			}
			return all
		}
		s, err := d.Dial(t.Context())
		require.NoError(t, err)
		taker := s.(loadtest.PhaseTaker)
		assert.Equal(t, map[string]time.Duration{"connect": 0, "greeting": time.Second, "ehlo": 2 * time.Second, "auth": 3 * time.Second}, collect(taker.TakePhases()))
		time.Sleep(time.Hour) // idle: in no phase
		var op loadtest.Op
		require.NoError(t, s.Do(t.Context(), &op))
		assert.Equal(t, map[string]time.Duration{"mail": 4 * time.Second, "rcpt": 11 * time.Second, "data": 7 * time.Second, "message": 8 * time.Second}, collect(op.Phases))
		assert.Empty(t, collect(taker.TakePhases()))
		time.Sleep(time.Hour)
		require.NoError(t, s.Close())
		assert.Equal(t, map[string]time.Duration{"quit": 500 * time.Millisecond}, collect(taker.TakePhases()))
		require.NoError(t, wait())
	})
}

// saslClient is a mechanism that does what a test wants.
type saslClient struct {
	name    string
	initial []byte
	next    func(challenge []byte) ([]byte, error)
}

func (c saslClient) Start() (string, []byte, error)        { return c.name, c.initial, nil }
func (c saslClient) Next(challenge []byte) ([]byte, error) { return c.next(challenge) }

func TestSMTPAuth(t *testing.T) {
	const hello = "S: 220 test\nC: EHLO localhost\nS: 250-test\nS: 250 AUTH X PLAIN\n"
	echo := func(challenge []byte) ([]byte, error) { return challenge, nil }
	fail := func([]byte) ([]byte, error) { return nil, errors.New("bad challenge") }
	tests := []struct {
		name, why string
		client    sasl.Client
		script    dialog
		kind      string
		text      string
	}{
		{"initial response", "RFC 4954 §4", saslClient{"x", []byte("a"), echo}, hello + "C: AUTH x YQ==\nS: 235 ok" + quit, "", ""},
		{"empty initial response", `"=" and not nothing`, saslClient{"X", []byte{}, echo}, hello + "C: AUTH X =\nS: 235 ok" + quit, "", ""},
		{"challenges", "the first one may be empty", saslClient{"X", nil, echo}, hello + "C: AUTH X\nS: 334 \nC: \nS: 334 YQ==\nC: YQ==\nS: 235 ok" + quit, "", ""},
		{"refused", "", saslClient{"X", nil, echo}, hello + "C: AUTH X\nS: 535 5.7.8 no", "AUTH 535 5.7.8", "535 5.7.8 no"},
		{"cancelled", `"*" and the reply to it`, saslClient{"X", nil, fail}, hello + "C: AUTH X\nS: 334 YQ==\nC: *\nS: 501 5.7.0 cancelled", "lost AUTH", "bad challenge"},
		{"not base64", "", saslClient{"X", nil, echo}, hello + "C: AUTH X\nS: 334 !\nC: *\nS: 501 no", "protocol AUTH", "base64"},
		{"not offered", "", saslClient{"Y", nil, echo}, hello, "AUTH Y not offered", "it offers X PLAIN"},
		{"nothing offered", "many servers want TLS first", saslClient{"Y", nil, echo}, "S: 220 test\nC: EHLO localhost\nS: 250 test", "AUTH Y not offered", "Security"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &loadtest.SMTP{Security: loadtest.Plaintext, Auth: func() sasl.Client { return test.client }}
				wait := overPipe(d, test.script)
				s, err := d.Dial(t.Context())
				if test.kind != "" {
					require.Error(t, err)
					assert.Equal(t, test.kind, kind(err), test.why)
					assert.ErrorContains(t, err, test.text)
					require.NoError(t, wait())
					return
				}
				require.NoError(t, err)
				require.NoError(t, s.Close())
				require.NoError(t, wait())
			})
		})
	}
}

// An endless exchange ends.
func TestSMTPAuthEndless(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		far.Write([]byte("220 x\r\n"))
		far.Read(make([]byte, 100))
		far.Write([]byte("250-x\r\n250 AUTH X\r\n"))
		for {
			if _, err := far.Read(make([]byte, 100)); err != nil {
				return
			}
			far.Write([]byte("334 \r\n"))
		}
	}()
	d := &loadtest.SMTP{Addr: "unix:pipe", Security: loadtest.Plaintext,
		Auth: func() sasl.Client {
			return saslClient{"X", nil, func(c []byte) ([]byte, error) { return c, nil }}
		}}
	d.NetDial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	_, err := d.Dial(t.Context())
	assert.Equal(t, "protocol AUTH", kind(err))
}

// names makes the resolver know these names and addresses only.
func names(t *testing.T, addresses map[string][]string) {
	old := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = old })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe() // no PacketConn: so messages have their length before them (RFC 1035 §4.2.2)
		go func() {
			defer far.Close()
			var length [2]byte
			if _, err := io.ReadFull(far, length[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(far, query); err != nil {
				return
			}
			answer := answerQuery(query, addresses)
			far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
		}()
		return near, nil
	}}
}

// answerQuery answers a DNS query for A or AAAA.
func answerQuery(query []byte, addresses map[string][]string) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	end, name := header, ""
	for query[end] != 0 {
		label := query[end+1 : end+1+int(query[end])]
		name, end = name+string(label)+".", end+1+len(label)
	}
	end += 1 + 4 // the root, type and class
	kind := binary.BigEndian.Uint16(query[end-4:])
	answer := append([]byte{}, query[:end]...)
	answer[2], answer[3] = 0x81, 0x80                // a response; recursion desired and available
	copy(answer[6:header], []byte{0, 0, 0, 0, 0, 0}) // no records but the answers
	ips, ok := addresses[strings.TrimSuffix(name, ".")]
	if !ok {
		answer[3] |= 3 // no such name
	}
	for _, text := range ips {
		ip := netip.MustParseAddr(text)
		if kind == typeA != ip.Is4() || kind == typeAAAA != ip.Is6() {
			continue
		}
		answer[7]++
		answer = append(answer, 0xc0, header, 0, byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(ip.AsSlice())))
		answer = append(answer, ip.AsSlice()...)
	}
	return answer
}

// A name may have addresses that are public, and such that are not. What is
// checked is the address that would be dialled, each time: a name that was
// private may be public a moment later.
func TestSMTPNames(t *testing.T) {
	addresses := map[string][]string{
		"local.test":   {"127.0.0.5"},
		"private.test": {"127.0.0.5"},
		"public.test":  {"192.0.2.1", "2001:db8::1"},
		"mixed.test":   {"192.0.2.1", "127.0.0.5"},
		"two.test":     {"127.0.0.6", "127.0.0.5"},
		"none.test":    {"127.0.0.6", "127.0.0.7"},
	}
	names(t, addresses)
	l, err := net.Listen("tcp", "127.0.0.5:0")
	if err != nil {
		t.Skip("only 127.0.0.1 is loopback here: ", err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go dialog(greeting + quit).serve(conn)
		}
	}()
	for _, test := range []struct {
		name, network, kind string
		text                []string
	}{
		{"local.test", "", "", nil},
		{"mixed.test", "", "", nil},
		{"mixed.test", "tcp4", "", nil},
		{"two.test", "", "", nil},
		{"public.test", "", "connect public address", []string{"192.0.2.1: a public address", "2001:db8::1: a public address", "set AllowPublic"}},
		{"public.test", "tcp6", "connect public address", []string{"2001:db8::1: a public address"}},
		{"none.test", "", "connect ECONNREFUSED", []string{"127.0.0.6:" + port, "127.0.0.7:" + port, `is the server listening on "none.test:` + port + `"?`}},
		{"unknown.test", "", "connect", []string{"no such host", `is the host in Addr "unknown.test:` + port + `" right?`}},
	} {
		d := &loadtest.SMTP{Addr: net.JoinHostPort(test.name, port), Network: test.network, Security: loadtest.Plaintext}
		s, err := d.Dial(t.Context())
		assert.Equal(t, test.kind, kind(err), "%s %s: %v", test.name, test.network, err)
		if err == nil {
			assert.NoError(t, s.Close())
			continue
		}
		for _, text := range test.text {
			assert.ErrorContains(t, err, text)
		}
		assert.NotContains(t, err.Error(), "\n", "one line, however many addresses")
	}

	d := &loadtest.SMTP{Addr: net.JoinHostPort("private.test", port), Security: loadtest.Plaintext}
	s, err := d.Dial(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Close())
	addresses["private.test"] = []string{"192.0.2.7"}
	_, err = d.Dial(t.Context())
	assert.Equal(t, "connect public address", kind(err), "the second session, of the same Dialer")
}

// What this side runs out of is no finding about the server, and the error says
// how to have more of it.
func TestSMTPGeneratorErrors(t *testing.T) {
	for _, test := range []struct {
		errno syscall.Errno
		kind  string
		text  string
	}{
		{syscall.EMFILE, "generator: EMFILE", "ulimit -n"},
		{syscall.EADDRNOTAVAIL, "generator: EADDRNOTAVAIL", "ResetOnClose"},
	} {
		d := &loadtest.SMTP{Addr: "127.0.0.1:25"}
		d.NetDial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", test.errno)}
		}
		res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 10, OpsPerSession: 1})
		assert.ErrorIs(t, err, loadtest.ErrGenerator)
		assert.ErrorContains(t, err, test.text)
		assert.EqualValues(t, 1, countKind(res, test.kind))
		assert.Equal(t, res.Ops, res.Failed)
		if assert.NotEmpty(t, res.Warnings) {
			assert.ErrorIs(t, res.Warnings[0], loadtest.ErrGenerator)
		}
	}
}
