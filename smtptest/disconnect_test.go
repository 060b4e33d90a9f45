package smtptest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

// wholeSession has everything a session can have but TLS, in one write.
const wholeSession = "EHLO x\r\nAUTH PLAIN\r\nAGFubgBzZWNyZXQ=\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n" +
	"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nabcBDAT 3 LAST\r\ndefQUIT\r\n"

// A client that leaves at any octet leaves nothing behind, and what it sent
// before is carried out.
func TestDisconnectAnywhere(t *testing.T) {
	before := runtime.NumGoroutine()
	srv := smtptest.NewUnstartedServer(t)
	srv.Users, srv.AllowInsecureAuth = map[string]string{"ann": "secret"}, true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var sessions sync.WaitGroup
	endOfData := int64(strings.Index(wholeSession, "\r\n.\r\n") + len("\r\n.\r\n"))
	lastChunk := int64(strings.Index(wholeSession, "defQUIT") + len("def"))
	var want int64
	for _, reset := range []bool{false, true} {
		for n := range int64(len(wholeSession) + 1) {
			conn, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			peer, err := l.Accept()
			require.NoError(t, err)
			sessions.Go(func() { srv.ServeConn(peer) })
			_, err = io.WriteString(conn, wholeSession[:n])
			require.NoError(t, err)
			if reset {
				conn.(*net.TCPConn).SetLinger(0)
			} else {
				if n >= endOfData {
					want++
				}
				if n >= lastChunk {
					want++
				}
			}
			conn.(*net.TCPConn).CloseWrite()
			if !reset {
				// Closing with unread replies would be a RST too.
				sessions.Go(func() {
					io.Copy(io.Discard, conn)
					conn.Close()
				})
				continue
			}
			conn.Close()
		}
		sessions.Wait() // all end by themselves
		if !reset {
			require.Equal(t, want, srv.Stats().Messages)
			require.Len(t, srv.Messages(), int(want))
		}
	}
	require.Zero(t, srv.Stats().Open)
	for _, m := range srv.Messages() {
		require.Contains(t, []string{"x\r\n", "abcdef"}, string(m.Data))
	}
	srv.Close()
	for runtime.NumGoroutine() > before {
		runtime.Gosched() // until the test times out
	}
}

// cutConn closes after so many octets were written.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(b []byte) (int, error) {
	if len(b) > c.left {
		n, _ := c.Conn.Write(b[:c.left])
		c.left = 0
		c.Close()
		return n, net.ErrClosed
	}
	c.left -= len(b)
	return c.Conn.Write(b)
}

// The same in and behind a TLS handshake.
func TestDisconnectInTLS(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		srv := smtptest.NewUnstartedServer(t)
		if implicit {
			srv.StartImplicitTLS()
		} else {
			srv.Start()
		}
		session := func(conn net.Conn) error {
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			buf := make([]byte, 4096)
			if !implicit {
				if _, err := conn.Read(buf); err != nil {
					return err
				}
				if _, err := io.WriteString(conn, "EHLO x\r\n"); err != nil {
					return err
				}
				if _, err := conn.Read(buf); err != nil {
					return err
				}
				if _, err := io.WriteString(conn, "STARTTLS\r\n"); err != nil {
					return err
				}
				if _, err := conn.Read(buf); err != nil {
					return err
				}
			}
			tlsConn := tls.Client(conn, srv.ClientTLSConfig())
			if _, err := io.WriteString(tlsConn, wholeSession); err != nil {
				return err
			}
			_, err := io.ReadAll(tlsConn)
			return err
		}
		whole := &cutConn{dialTest(t, srv), 1 << 20}
		require.NoError(t, session(whole))
		size := 1<<20 - whole.left
		for n := 0; n < size; n += 1 + size/100 {
			conn := &cutConn{dialTest(t, srv), n}
			require.Error(t, session(conn), "%d octets of %d", n, size)
		}
		require.EqualValues(t, 2, srv.Stats().Messages)
		srv.Close()
	}
}

// Many clients, some of which leave, some of which are thrown out, at the same
// time as everything else. What clients were told and what the server counts
// agree.
func TestManyClients(t *testing.T) {
	for _, discard := range []bool{false, true} {
		t.Run(fmt.Sprintf("discard=%v", discard), func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			srv.Discard = discard
			srv.Hook = func(_ context.Context, c *smtptest.Command) smtptest.Action {
				switch {
				case c.Verb == "." && c.N%13 == 0:
					return smtptest.Action{Close: smtptest.CloseMode(1 + c.N%4)}
				case c.Verb == "." && c.N%7 == 0:
					return smtptest.Action{Reply: "451 4.3.0 No"}
				case c.Verb == "RCPT" && c.N%17 == 0:
					return smtptest.Action{Reply: "421 4.3.2 No", Delay: time.Millisecond}
				}
				return smtptest.Action{}
			}
			srv.Start()
			var accepted, doubt atomic.Int64
			var clients, watchers sync.WaitGroup
			for i := range 8 {
				clients.Go(func() {
					rng := rand.New(rand.NewPCG(1, uint64(i)))
					for range 20 {
						conn, err := net.Dial("tcp", srv.Addr)
						if err != nil {
							t.Error(err)
							return
						}
						conn.SetDeadline(time.Now().Add(20 * time.Second))
						sendSome(conn, rng, &accepted, &doubt)
						conn.Close()
					}
				})
			}
			ctx, stop := context.WithCancel(t.Context())
			for range 2 {
				watchers.Go(func() {
					for n := 1; ctx.Err() == nil; n++ {
						msgs, err := srv.Wait(ctx, n)
						count := srv.Stats().Messages
						if kept := len(srv.Messages()); err == nil && !discard && (len(msgs) < n || int64(kept) < count) {
							t.Errorf("Wait(%d): %d messages; kept %d of %d", n, len(msgs), kept, count)
						}
					}
				})
			}
			clients.Wait()
			stop()
			watchers.Wait()
			srv.Close()
			got := srv.Stats().Messages
			require.GreaterOrEqual(t, got, accepted.Load(), "accepted")
			require.LessOrEqual(t, got, accepted.Load()+doubt.Load(), "accepted or in doubt")
			require.NotZero(t, accepted.Load())
			require.NotZero(t, doubt.Load())
			if !discard {
				require.Len(t, srv.Messages(), int(got))
			}
		})
	}
}

// sendSome sends up to 10 messages on conn and leaves, now and then without
// waiting for the last reply.
func sendSome(conn net.Conn, rng *rand.Rand, accepted, doubt *atomic.Int64) {
	buf := make([]byte, 4096)
	ask := func(text, want string) (bool, error) {
		if _, err := io.WriteString(conn, text); err != nil {
			return false, err
		}
		n, err := conn.Read(buf)
		if err == nil && buf[n-1] != '\n' {
			err = io.ErrUnexpectedEOF // half a reply
		}
		return err == nil && strings.HasPrefix(string(buf[:n]), want), err
	}
	for _, text := range []string{"", "EHLO x\r\n"} {
		if _, err := ask(text, "2"); err != nil {
			return
		}
	}
	for range rng.IntN(10) {
		for _, step := range [][2]string{{"MAIL FROM:<a@b>\r\n", "2"}, {"RCPT TO:<c@d>\r\n", "2"}, {"DATA\r\n", "3"}} {
			if ok, err := ask(step[0], step[1]); err != nil || !ok {
				return
			}
		}
		if rng.IntN(10) == 0 {
			doubt.Add(1)
			io.WriteString(conn, "x\r\n.\r\n")
			return
		}
		ok, err := ask("x\r\n.\r\n", "250")
		switch {
		case err != nil:
			doubt.Add(1)
			return
		case ok:
			accepted.Add(1)
		}
	}
}

// Close ends whatever is going on.
func TestCloseAnytime(t *testing.T) {
	for i := range 20 {
		srv := smtptest.NewServer(t)
		var clients sync.WaitGroup
		for j := range 4 {
			clients.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				var accepted, doubt atomic.Int64
				for {
					conn, err := net.Dial("tcp", srv.Addr)
					if err != nil {
						return // closed
					}
					conn.SetDeadline(time.Now().Add(20 * time.Second))
					sendSome(conn, rng, &accepted, &doubt)
					conn.Close()
				}
			})
		}
		srv.Wait(t.Context(), i)
		var closers sync.WaitGroup
		for range 3 {
			closers.Go(srv.Close)
		}
		closers.Wait()
		require.Zero(t, srv.Stats().Open)
		clients.Wait()
	}
}
