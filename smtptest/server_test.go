package smtptest_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

// fakeTB is a test that may fail without failing this one.
type fakeTB struct {
	testing.TB
	mu       sync.Mutex // guards what follows
	cleanups []func()
	fatal    string
	logged   []string
}

func (f *fakeTB) Helper()           {}
func (f *fakeTB) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (f *fakeTB) Fatalf(format string, args ...any) {
	f.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
func (f *fakeTB) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logged = append(f.logged, fmt.Sprintf(format, args...))
}

// end runs fn as a test, and its clean-up.
func (f *fakeTB) run(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	<-done
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}

func TestStartFails(t *testing.T) {
	taken := smtptest.NewServer(t)
	for _, tt := range []struct {
		name  string
		setup func(*smtptest.Server)
		start func(*smtptest.Server)
		want  string
	}{
		{"address in use", func(s *smtptest.Server) { s.Addr = taken.Addr }, (*smtptest.Server).Start, "smtptest: Start: listen tcp " + taken.Addr + ": bind: address already in use"},
		{"no such folder", func(s *smtptest.Server) { s.Addr = "unix:/nowhere/s" }, (*smtptest.Server).StartImplicitTLS, "smtptest: StartImplicitTLS: listen unix /nowhere/s: bind: no such file or directory"},
		{"no such mechanism", func(s *smtptest.Server) { s.Mechanisms = []string{"SCRAM-SHA-1"} }, (*smtptest.Server).Start, `smtptest: Start: no mechanism "SCRAM-SHA-1", as in Mechanisms: there are PLAIN, LOGIN, XOAUTH2, OAUTHBEARER, CRAM-MD5`},
		{"twice", func(s *smtptest.Server) { s.Start() }, (*smtptest.Server).Start, "smtptest: Start: already started"},
		{"closed", func(s *smtptest.Server) { s.Close() }, (*smtptest.Server).Start, "smtptest: Start: already closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := &fakeTB{TB: t}
			tb.run(func() {
				srv := smtptest.NewUnstartedServer(tb)
				tt.setup(srv)
				tt.start(srv)
			})
			require.Equal(t, tt.want, tb.fatal)
		})
	}
}

// The end of the test closes the server.
func TestCleanup(t *testing.T) {
	tb := &fakeTB{TB: t}
	var srv *smtptest.Server
	tb.run(func() { srv = smtptest.NewSink(tb) })
	_, err := net.Dial("tcp", srv.Addr)
	require.Error(t, err)
	srv.Close() // again
	require.Empty(t, tb.logged)
}

// stuckConn is one whose Close does not end its Read.
type stuckConn struct {
	net.Conn
	release chan struct{}
}

func (c *stuckConn) Read(b []byte) (int, error) {
	<-c.release
	return 0, net.ErrClosed
}

func TestCloseSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := &fakeTB{TB: t}
		srv := smtptest.NewUnstartedServer(tb)
		conn, peer := net.Pipe()
		release := make(chan struct{})
		go srv.ServeConn(&stuckConn{peer, release})
		dialog("S 220").run(t, srv, conn)
		time.AfterFunc(6*time.Second, func() { close(release) })
		srv.Close()
		require.Equal(t, []string{"smtptest: Close waits for session 1 from pipe"}, tb.logged)
	})
}

func TestServeConnAfterClose(t *testing.T) {
	srv := smtptest.NewUnstartedServer(t)
	srv.Close()
	conn, peer := net.Pipe()
	srv.ServeConn(peer)
	requireClosed(t, conn)
}

func TestListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := smtptest.NewUnstartedServer(t)
	srv.Listener = l
	srv.Start()
	require.Equal(t, l.Addr().String(), srv.Addr)
	(hello + quit).run(t, srv, dialTest(t, srv))
}

func TestLog(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	srv := smtptest.NewUnstartedServer(t)
	srv.Log = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(format, args...))
	}
	srv.Start()
	conn := dialTest(t, srv)
	(dialog("C HELO x\nS 250\n") + mail + rcpt + data + "C x\nC .\nS 250\nC BAD%s\nS 500\nC QUIT\nS 221\nEOF\n").run(t, srv, conn)
	srv.Close()
	require.Equal(t, strings.Split(`session 1 from `+conn.LocalAddr().String()+`
session 1 S: 220 localhost ESMTP smtptest
session 1 C: HELO x
session 1 S: 250 localhost
session 1 C: MAIL FROM:<a@example.org>
session 1 S: 250 2.1.0 Ok
session 1 C: RCPT TO:<b@example.org>
session 1 S: 250 2.1.5 Ok
session 1 C: DATA
session 1 S: 354 End data with <CR><LF>.<CR><LF>
session 1 C: (3 octets of mail data)
session 1 S: 250 2.0.0 Ok: message accepted
session 1 C: BAD%s
session 1 S: 500 5.5.1 Command not recognized
session 1 C: QUIT
session 1 S: 221 2.0.0 Bye
session 1 ended`, "\n"), lines)
}
