package loopback_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/loopback"
)

// aWhile is longer than anything takes that does not hang.
const aWhile = 30 * time.Second

func listen(t testing.TB, addr string) (*net.TCPListener, netip.AddrPort) {
	l, err := net.Listen("tcp", addr)
	if err != nil && addr[0] == '[' {
		t.Skipf("no IPv6 here: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener), netip.MustParseAddrPort(l.Addr().String())
}

func TestDial(t *testing.T) {
	for _, test := range []struct {
		name, listen, from string
		want               string // the client's address
		why                string
	}{
		{"IPv4", "127.0.0.1:0", "", "127.0.0.1", "the usual case"},
		{"IPv6", "[::1]:0", "", "::1", "another address family"},
		{"from", "127.0.0.1:0", "127.0.0.2", "127.0.0.2", "more connections than one address has ports"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, to := listen(t, test.listen)
			var from netip.Addr
			if test.from != "" {
				from = netip.MustParseAddr(test.from)
			}
			conn, err := loopback.Dial(t.Context(), to, from, aWhile)
			require.NoError(t, err, test.why)
			defer conn.Close()
			peer, err := l.Accept()
			require.NoError(t, err)
			defer peer.Close()

			assert.Equal(t, to.String(), conn.RemoteAddr().String())
			assert.Equal(t, peer.RemoteAddr().String(), conn.LocalAddr().String())
			assert.Equal(t, test.want, conn.LocalAddr().(*net.TCPAddr).IP.String())

			_, err = conn.Write([]byte("ping"))
			require.NoError(t, err)
			buf := make([]byte, 10)
			n, err := peer.Read(buf)
			require.NoError(t, err)
			assert.Equal(t, "ping", string(buf[:n]))
			peer.Write([]byte("pong"))
			peer.Close()
			got, err := io.ReadAll(conn)
			require.NoError(t, err)
			assert.Equal(t, "pong", string(got))
		})
	}
}

func TestDialErrors(t *testing.T) {
	l, to := listen(t, "127.0.0.1:0")
	l.Close()
	_, err := loopback.Dial(t.Context(), to, netip.Addr{}, aWhile)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.Contains(t, err.Error(), "dial tcp "+to.String())

	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err = loopback.Dial(ctx, to, netip.Addr{}, aWhile)
	assert.ErrorIs(t, err, cause)
}

// A listener whose queue is full does not answer: the thread must not be blocked
// for as long as that takes, and ctx and the timeout must count.
func TestDialQueueFull(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	sa, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 2 { // a queue of 0 takes one, and perhaps one more
		if conn, err := loopback.Dial(t.Context(), to, netip.Addr{}, 100*time.Millisecond); err == nil {
			defer conn.Close()
		}
	}
	_, err = loopback.Dial(t.Context(), to, netip.Addr{}, 100*time.Millisecond)
	var netErr net.Error
	require.ErrorAs(t, err, &netErr)
	assert.True(t, netErr.Timeout(), "timeout: %v", err)

	ctx, cancel := context.WithCancel(t.Context())
	stop := time.AfterFunc(50*time.Millisecond, cancel)
	defer stop.Stop()
	_, err = loopback.Dial(ctx, to, netip.Addr{}, aWhile)
	assert.Error(t, err, "ctx ended")
	assert.Error(t, ctx.Err(), "it waited for ctx")
}

// What those who use the connection look for in errors is there.
func TestConnErrors(t *testing.T) {
	l, to := listen(t, "127.0.0.1:0")
	conn, err := loopback.Dial(t.Context(), to, netip.Addr{}, aWhile)
	require.NoError(t, err)
	peer, err := l.Accept()
	require.NoError(t, err)
	buf := make([]byte, 1)

	require.NoError(t, conn.SetDeadline(time.Unix(1, 0)))
	_, err = conn.Read(buf)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	assert.True(t, op.Timeout())
	require.NoError(t, conn.SetDeadline(time.Time{}))

	require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
	require.NoError(t, peer.Close())
	_, err = conn.Read(buf)
	assert.ErrorIs(t, err, syscall.ECONNRESET)

	require.NoError(t, conn.Close())
	_, err = conn.Read(buf)
	assert.ErrorIs(t, err, net.ErrClosed)
}

// Close with SetLinger(0) sends a RST.
func TestSetLinger(t *testing.T) {
	l, to := listen(t, "127.0.0.1:0")
	conn, err := loopback.Dial(t.Context(), to, netip.Addr{}, aWhile)
	require.NoError(t, err)
	peer, err := l.Accept()
	require.NoError(t, err)
	defer peer.Close()
	require.NoError(t, conn.(interface{ SetLinger(int) error }).SetLinger(0))
	require.NoError(t, conn.Close())
	_, err = peer.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
}

// Side by side: connect, accept and close.
func BenchmarkDial(b *testing.B) {
	for _, by := range []struct {
		name string
		dial func(context.Context, netip.AddrPort) (net.Conn, error)
	}{
		{"net", func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return (&net.Dialer{KeepAlive: -1, Timeout: aWhile}).DialContext(ctx, "tcp", to.String())
		}},
		{"loopback", func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return loopback.Dial(ctx, to, netip.Addr{}, aWhile)
		}},
	} {
		b.Run("by="+by.name, func(b *testing.B) {
			l, to := listen(b, "127.0.0.1:0")
			b.ReportAllocs()
			for b.Loop() {
				conn, err := by.dial(b.Context(), to)
				if err != nil {
					b.Fatal(err)
				}
				peer, err := l.Accept()
				if err != nil {
					b.Fatal(err)
				}
				conn.(interface{ SetLinger(int) error }).SetLinger(0)
				conn.Close()
				peer.Close()
			}
		})
	}
}
