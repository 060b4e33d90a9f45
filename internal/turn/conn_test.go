package turn_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/loopback"
	"github.com/benchmail/benchmail/internal/turn"
)

// aWhile is longer than anything takes that does not hang.
const aWhile = 30 * time.Second

// transports make a connected pair. Raw ones have a file descriptor to use.
var transports = []struct {
	name string
	raw  bool
	pair func(testing.TB) (client, server net.Conn)
}{
	{"tcp", true, func(tb testing.TB) (net.Conn, net.Conn) { return socketPair(tb, "tcp", "127.0.0.1:0") }},
	{"loopback", runtime.GOOS == "linux", func(tb testing.TB) (net.Conn, net.Conn) { return socketPair(tb, "loopback", "127.0.0.1:0") }},
	{"unix", true, func(tb testing.TB) (net.Conn, net.Conn) {
		return socketPair(tb, "unix", filepath.Join(tb.TempDir(), "s"))
	}},
	{"pipe", false, func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() }},
	{"tls", false, tlsPair},
}

func socketPair(tb testing.TB, network, addr string) (client, server net.Conn) {
	tb.Helper()
	dial := func(l net.Listener) (net.Conn, error) { return net.Dial(network, l.Addr().String()) }
	if network == "loopback" {
		network = "tcp"
		dial = func(l net.Listener) (net.Conn, error) {
			return loopback.Dial(tb.Context(), netip.MustParseAddrPort(l.Addr().String()), netip.Addr{}, aWhile)
		}
	}
	l, err := net.Listen(network, addr)
	require.NoError(tb, err)
	defer l.Close()
	client, err = dial(l)
	require.NoError(tb, err)
	server, err = l.Accept()
	require.NoError(tb, err)
	return client, server
}

// forAll runs f over each transport, in lockstep and not. It closes both sides.
func forAll(t *testing.T, f func(t *testing.T, c *turn.Conn, peer net.Conn)) {
	for _, tr := range transports {
		for _, lockstep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/lockstep=%v", tr.name, lockstep), func(t *testing.T) {
				conn, peer := tr.pair(t)
				defer conn.Close()
				defer peer.Close()
				require.NoError(t, conn.SetDeadline(time.Now().Add(aWhile)))
				require.NoError(t, peer.SetDeadline(time.Now().Add(aWhile)))
				c := turn.New(conn)
				c.Lockstep = lockstep
				f(t, c, peer)
			})
		}
	}
}

// async runs f and waits for it at the end of the test.
func async(t *testing.T, f func() error) (wait func()) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() {
		t.Helper()
		require.NoError(t, <-done, "peer")
	}
}

func TestTurns(t *testing.T) {
	forAll(t, func(t *testing.T, c *turn.Conn, peer net.Conn) {
		const turns = 200
		wait := async(t, func() error {
			buf := make([]byte, 100)
			for range turns {
				if _, err := io.ReadFull(peer, buf[:5]); err != nil {
					return err
				}
				if _, err := peer.Write(buf[:5]); err != nil {
					return err
				}
			}
			return nil
		})
		in := make([]byte, 100)
		for i := range turns {
			head, tail := "hello"[:i%6], "hello"[i%6:] // empty ones too
			wrote, n, err := c.WriteRead([]byte(head), []byte(tail), in)
			require.NoError(t, err)
			require.Equal(t, 5, wrote)
			for n < 5 { // two records of TLS are two reads
				_, k, err := c.WriteRead(nil, nil, in[n:])
				require.NoError(t, err)
				n += k
			}
			require.Equal(t, "hello", string(in[:n]))
		}
		wait()
		_, _, err := c.WriteRead([]byte("a"), nil, nil)
		assert.ErrorIs(t, err, io.ErrShortBuffer, "nothing could be read")
	})
}

// TestStress has a peer that answers each frame as it asks to be answered, in
// random fragments. In lockstep a frame is sent when the answer to the one before
// was read, else up to four are in flight.
func TestStress(t *testing.T) {
	forAll(t, func(t *testing.T, c *turn.Conn, peer net.Conn) {
		const frames, maxAnswer = 400, 3000
		wait := async(t, func() error {
			rnd := rand.New(rand.NewPCG(1, 2))
			var head [4]byte
			body, next := make([]byte, maxAnswer), byte(0)
			for range frames {
				if _, err := io.ReadFull(peer, head[:]); err != nil {
					return err
				}
				if _, err := io.ReadFull(peer, body[:binary.BigEndian.Uint16(head[:])]); err != nil {
					return err
				}
				for left := int(binary.BigEndian.Uint16(head[2:])); left > 0; {
					piece := body[:min(left, 1+rnd.IntN(900))]
					for i := range piece {
						piece[i] = next
						next++
					}
					if _, err := peer.Write(piece); err != nil {
						return err
					}
					left -= len(piece)
					for range rnd.IntN(3) {
						runtime.Gosched()
					}
				}
			}
			return nil
		})
		rnd := rand.New(rand.NewPCG(3, 4))
		ahead := 4
		// In a pipe there is no buffer: both would write and none read.
		if c.Lockstep || c.LocalAddr().Network() == "pipe" {
			ahead = 1
		}
		var owed []int
		in, next := make([]byte, maxAnswer), byte(0)
		for sent := 0; sent < frames || len(owed) > 0; {
			var head, tail []byte
			if sent < frames && len(owed) < ahead {
				body, answer := rnd.IntN(2000), 1+rnd.IntN(maxAnswer)
				head = binary.BigEndian.AppendUint16(nil, uint16(body))
				head = binary.BigEndian.AppendUint16(head, uint16(answer))
				tail = make([]byte, body)
				owed = append(owed, answer)
				sent++
			}
			wrote, n, err := c.WriteRead(head, tail, in[:1+rnd.IntN(maxAnswer)])
			require.NoError(t, err)
			require.Equal(t, len(head)+len(tail), wrote)
			for _, b := range in[:n] {
				if b != next {
					t.Fatalf("got octet %d in place of %d: lost or out of order", b, next)
				}
				next++
			}
			for n > 0 {
				require.NotEmpty(t, owed, "no more than was asked for")
				k := min(n, owed[0])
				n -= k
				if owed[0] -= k; owed[0] == 0 {
					owed = owed[1:]
				}
			}
		}
		wait()
	})
}

// TestUnreadInput: a reply that did not fit in is returned next, though the peer
// says nothing more.
func TestUnreadInput(t *testing.T) {
	forAll(t, func(t *testing.T, c *turn.Conn, peer net.Conn) {
		if c.LocalAddr().Network() == "pipe" {
			t.Skip("has no buffer: the peer would still be writing")
		}
		wait := async(t, func() error {
			if _, err := io.ReadFull(peer, make([]byte, 3)); err != nil {
				return err
			}
			if _, err := peer.Write([]byte("0123456789")); err != nil {
				return err
			}
			_, err := io.ReadFull(peer, make([]byte, 6))
			return err
		})
		var got []byte
		in := make([]byte, 4)
		for range 3 {
			wrote, n, err := c.WriteRead([]byte("abc"), nil, in)
			require.NoError(t, err)
			require.Equal(t, 3, wrote)
			got = append(got, in[:n]...)
		}
		assert.Equal(t, "0123456789", string(got))
		wait()
	})
}

// overlooked makes a pair whose server has said something after the client's last
// read that the client did not ask for, and that answers no more.
func overlooked(t *testing.T, network, addr string, say string, closeWrite bool) (c *turn.Conn, peer net.Conn) {
	conn, peer := socketPair(t, network, addr)
	t.Cleanup(func() { conn.Close(); peer.Close() })
	c = turn.New(conn)
	in := make([]byte, 100)
	_, err := peer.Write([]byte("250"))
	require.NoError(t, err)
	n, err := c.Read(in)
	require.NoError(t, err)
	require.Equal(t, "250", string(in[:n]))
	_, err = peer.Write([]byte(say))
	require.NoError(t, err)
	if closeWrite {
		require.NoError(t, peer.(interface{ CloseWrite() error }).CloseWrite())
	}
	for !c.Pending() {
		runtime.Gosched()
	}
	// Have the poller fire for c, which the next RawConn.Read makes it forget:
	// it fires in order, and others wait for it here.
	a, b := socketPair(t, "tcp", "127.0.0.1:0")
	defer a.Close()
	wait := async(t, func() error {
		_, err := io.CopyN(b, b, 20)
		b.Close()
		return err
	})
	for range 20 {
		_, err := a.Write([]byte("x"))
		require.NoError(t, err)
		_, err = a.Read(in)
		require.NoError(t, err)
	}
	wait()
	return c, peer
}

// TestInputBeforeTurn: what came before the poller was armed. A server with a
// client that pipelines meets it all the time, and would wait for ever.
func TestInputBeforeTurn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Pending is for Linux")
	}
	for _, network := range []string{"tcp", "loopback", "unix"} {
		for _, tt := range []struct {
			name, say  string
			closeWrite bool
			want       error
			why        string
		}{
			{"input", "421", false, nil, "RFC 5321 §3.8: a 421 may come unasked"},
			{"end", "", true, io.EOF, "a server that half-closes and lingers, as Node's do"},
			{"input and end", "421", true, nil, "both"},
		} {
			t.Run(network+"/"+tt.name, func(t *testing.T) {
				addr := "127.0.0.1:0"
				in := make([]byte, 100)
				for _, lockstep := range []bool{false, true} {
					if network == "unix" {
						addr = filepath.Join(t.TempDir(), "s")
					}
					c, _ := overlooked(t, network, addr, tt.say, tt.closeWrite)
					if c.Lockstep = lockstep; lockstep {
						// At the deadline at the latest, and not the timeout.
						require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
					}
					var wrote, n int
					var err error
					done := make(chan struct{})
					go func() {
						defer close(done)
						wrote, n, err = c.WriteRead([]byte("MAIL"), nil, in)
					}()
					select {
					case <-done:
					case <-time.After(aWhile): // a deadline would hide it
						c.Close()
						<-done
						t.Fatal("input was overlooked")
					}
					assert.ErrorIs(t, err, tt.want, tt.why)
					assert.Equal(t, 4, wrote)
					assert.Equal(t, tt.say, string(in[:n]), tt.why)
				}
			})
		}
	}
}

// TestReplyBeforeReset: a server that says why it hangs up, and closes with our
// data unread, which makes it a reset.
func TestReplyBeforeReset(t *testing.T) {
	for _, network := range []string{"tcp", "loopback", "unix"} {
		t.Run(network, func(t *testing.T) {
			addr := "127.0.0.1:0"
			if network == "unix" {
				addr = filepath.Join(t.TempDir(), "s")
			}
			conn, peer := socketPair(t, network, addr)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(aWhile)))
			c := turn.New(conn)
			_, err := c.WriteAll([]byte("a"), []byte("b"))
			require.NoError(t, err)
			_, err = peer.Write([]byte("421"))
			require.NoError(t, err)
			require.NoError(t, peer.Close())
			in := make([]byte, 100)
			wrote, n, err := c.WriteRead([]byte("MAIL"), []byte("RCPT"), in)
			if err != nil {
				assert.Zero(t, wrote, "nothing reached the peer")
				assert.Zero(t, n)
				var op *net.OpError
				require.ErrorAs(t, err, &op)
				assert.Equal(t, "write", op.Op)
				assert.Contains(t, err.Error(), "write "+conn.LocalAddr().Network())
				n, err = c.Read(in)
			}
			require.NoError(t, err)
			assert.Equal(t, "421", string(in[:n]), "the reply survives the reset")
			_, err = c.Read(in)
			assert.Error(t, err, "and then it is over")
		})
	}
}

// TestLargeWrite writes more than buffers hold.
func TestLargeWrite(t *testing.T) {
	forAll(t, func(t *testing.T, c *turn.Conn, peer net.Conn) {
		for _, size := range []struct{ head, tail int }{
			{10, 4 << 20}, {4 << 20, 10}, {100_000, 1 << 20}, {0, 1 << 20},
			{10, 16<<10 - 10}, {10, 16<<10 - 9}, {16 << 10, 1}, {16<<10 - 1, 1}, {16<<10 - 1, 2}, // around a TLS record
		} {
			head, tail := pattern(size.head), pattern(size.tail)
			wait := async(t, func() error {
				got := make([]byte, len(head)+len(tail))
				if _, err := io.ReadFull(peer, got); err != nil {
					return err
				}
				if !bytes.Equal(got, append(bytes.Clone(head), tail...)) {
					return errors.New("not what was written")
				}
				_, err := peer.Write([]byte("ok"))
				return err
			})
			in := make([]byte, 10)
			wrote, n, err := c.WriteRead(head, tail, in)
			require.NoError(t, err)
			assert.Equal(t, len(head)+len(tail), wrote)
			assert.Equal(t, "ok", string(in[:n]))
			wait()
		}
	})
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

// TestWroteIsExact: with a peer that does not read, what WriteRead says it wrote
// is what the peer finds. Accounting of messages in doubt builds on that.
func TestWroteIsExact(t *testing.T) {
	for _, tr := range transports[:2] { // of TLS and a pipe only whole records and reads count
		t.Run(tr.name, func(t *testing.T) {
			conn, peer := tr.pair(t)
			defer peer.Close()
			c := turn.New(conn)
			require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Millisecond)))
			head, tail := pattern(1000), pattern(32<<20)
			wrote, n, err := c.WriteRead(head, tail, make([]byte, 10))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			assert.Zero(t, n)
			assert.Less(t, wrote, len(head)+len(tail))
			require.NoError(t, c.Close())
			require.NoError(t, peer.SetDeadline(time.Now().Add(aWhile)))
			got, err := io.ReadAll(peer)
			require.NoError(t, err)
			assert.Equal(t, len(got), wrote)
			assert.True(t, bytes.Equal(got, append(head, tail...)[:len(got)]))
		})
	}
}

func TestDeadlineAndClose(t *testing.T) {
	past := time.Unix(1, 0)
	for _, tt := range []struct {
		name string
		end  func(*turn.Conn) error
		want error
	}{
		{"SetReadDeadline", func(c *turn.Conn) error { return c.SetReadDeadline(past) }, os.ErrDeadlineExceeded},
		{"SetDeadline", func(c *turn.Conn) error { return c.SetDeadline(past) }, os.ErrDeadlineExceeded},
		{"SetDeadline below", func(c *turn.Conn) error { return c.Conn.SetDeadline(past) }, os.ErrDeadlineExceeded},
		{"Close", func(c *turn.Conn) error { return c.Close() }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forAll(t, func(t *testing.T, c *turn.Conn, peer net.Conn) {
				in := make([]byte, 10)
				wait := async(t, func() error {
					b := make([]byte, 2)
					if _, err := io.ReadFull(peer, b); err != nil {
						return err
					}
					if _, err := peer.Write(b); err != nil {
						return err
					}
					if _, err := io.ReadFull(peer, b); err != nil { // written, so it waits, or is about to
						return err
					}
					return tt.end(c)
				})
				_, _, err := c.WriteRead([]byte("a"), []byte("b"), in)
				require.NoError(t, err)
				wrote, n, err := c.WriteRead([]byte("c"), []byte("d"), in)
				wait()
				require.Error(t, err)
				assert.Equal(t, 2, wrote)
				assert.Zero(t, n)
				if tt.want != nil {
					assert.ErrorIs(t, err, tt.want)
					var ne net.Error
					require.ErrorAs(t, err, &ne)
					assert.True(t, ne.Timeout())
				} else if !errors.Is(err, io.ErrClosedPipe) {
					assert.ErrorIs(t, err, net.ErrClosed)
				}
				assert.NotContains(t, err.Error(), "raw-read")
				if tt.name == "SetReadDeadline" {
					return // whether the write is made depends on the transport
				}
				wrote, _, err = c.WriteRead([]byte("e"), nil, in)
				assert.Error(t, err, "still so")
				assert.Zero(t, wrote, "nothing is written then")
			})
		})
	}
}

// TestTimeoutThenReply: a deadline that passed ends one wait, not the connection.
func TestTimeoutThenReply(t *testing.T) {
	for _, tr := range transports[:3] { // tls.Conn is of no use after a timeout in a write only
		for _, lockstep := range []bool{false, true} {
			conn, peer := tr.pair(t)
			defer conn.Close()
			defer peer.Close()
			c := turn.New(conn)
			c.Lockstep = lockstep
			in := make([]byte, 10)
			echoed := async(t, func() error {
				b := make([]byte, 1)
				if _, err := io.ReadFull(peer, b); err != nil {
					return err
				}
				if _, err := peer.Write(b); err != nil {
					return err
				}
				_, err := io.ReadFull(peer, b)
				return err
			})
			_, _, err := c.WriteRead([]byte("a"), nil, in)
			require.NoError(t, err)
			require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
			_, _, err = c.WriteRead([]byte("b"), nil, in)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			echoed()
			require.NoError(t, c.SetReadDeadline(time.Now().Add(aWhile)))
			late := async(t, func() error {
				if _, err := peer.Write([]byte("late")); err != nil {
					return err
				}
				_, err := io.ReadFull(peer, make([]byte, 1))
				return err
			})
			if tr.raw {
				for runtime.GOOS == "linux" && !c.Pending() {
					runtime.Gosched()
				}
			} else { // a pipe's peer must write before it can read
				n, err := c.Read(in)
				require.NoError(t, err)
				require.Equal(t, "late", string(in[:n]))
				_, err = c.Write([]byte("c"))
				require.NoError(t, err)
				late()
				continue
			}
			_, n, err := c.WriteRead([]byte("c"), nil, in)
			require.NoError(t, err, "%s: a timeout makes Lockstep look", tr.name)
			assert.Equal(t, "late", string(in[:n]))
			late()
		}
	}
}

func TestWriteThenTurn(t *testing.T) {
	for _, tr := range transports[:2] {
		conn, peer := tr.pair(t)
		defer conn.Close()
		defer peer.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(aWhile)))
		c := turn.New(conn)
		c.Lockstep = true
		in := make([]byte, 10)
		for _, write := range []func() error{
			func() error { _, err := c.Write([]byte("a")); return err },
			func() error { _, err := c.WriteAll([]byte("a"), []byte("b")); return err },
			func() error { _, err := c.WriteAll(nil, []byte("a")); return err },
		} {
			require.NoError(t, write())
			_, err := peer.Write([]byte("reply"))
			require.NoError(t, err)
			for runtime.GOOS == "linux" && !c.Pending() {
				runtime.Gosched()
			}
			_, n, err := c.WriteRead([]byte("b"), nil, in)
			require.NoError(t, err, "%s: the reply to a Write may be there before the turn", tr.name)
			assert.Equal(t, "reply", string(in[:n]))
		}
	}
}

func TestPending(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Pending is for Linux")
	}
	for _, tr := range transports {
		conn, peer := tr.pair(t)
		defer conn.Close()
		defer peer.Close()
		c := turn.New(conn)
		assert.False(t, c.Pending(), tr.name)
		if !tr.raw {
			continue
		}
		_, err := peer.Write([]byte("421"))
		require.NoError(t, err)
		for !c.Pending() {
			runtime.Gosched()
		}
		in := make([]byte, 10)
		n, err := c.Read(in)
		require.NoError(t, err)
		assert.Equal(t, "421", string(in[:n]), "it was not read")
		assert.False(t, c.Pending(), "it was read")
		require.NoError(t, peer.Close())
		for !c.Pending() {
			runtime.Gosched()
		}
		_, err = c.Read(in)
		assert.ErrorIs(t, err, io.EOF, "%s: the end is pending too", tr.name)
		require.NoError(t, c.Close())
		assert.True(t, c.Pending(), "%s: closed, so that a Read does not wait", tr.name)
	}
}

// countingConn counts writes.
type countingConn struct {
	net.Conn
	writes int
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes++
	return c.Conn.Write(b)
}

// TestJoin: what is written together is one write, of TLS one record.
func TestJoin(t *testing.T) {
	conn, peer := net.Pipe()
	defer conn.Close()
	go io.Copy(io.Discard, peer) // ends with conn
	counting := &countingConn{Conn: conn}
	c := turn.New(counting)
	for _, tt := range []struct{ head, tail, writes int }{
		{10, 0, 1}, {0, 10, 1}, {0, 0, 0}, {10, 10, 1}, {10, 16<<10 - 10, 1}, {10, 16 << 10, 2}, {16 << 10, 10, 2}, {10, 1 << 20, 2},
	} {
		counting.writes = 0
		wrote, err := c.WriteAll(make([]byte, tt.head), make([]byte, tt.tail))
		require.NoError(t, err)
		assert.Equal(t, tt.head+tt.tail, wrote, "%+v", tt)
		assert.Equal(t, tt.writes, counting.writes, "%+v", tt)
	}
}

// TestTLSOver: crypto/tls may use a Conn as its connection.
func TestTLSOver(t *testing.T) {
	conn, peer := socketPair(t, "tcp", "127.0.0.1:0")
	below := turn.New(conn)
	below.Lockstep = true
	client := tls.Client(below, clientConfig)
	server := tls.Server(peer, serverConfig(t))
	defer client.Close()
	defer server.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(aWhile)))
	wait := async(t, func() error {
		_, err := io.CopyN(server, server, 1000)
		return err
	})
	c := turn.New(client)
	in := make([]byte, 10)
	for range 100 {
		_, n, err := c.WriteRead([]byte("hello"), []byte("world"), in)
		require.NoError(t, err)
		for n < 10 {
			_, k, err := c.WriteRead(nil, nil, in[n:])
			require.NoError(t, err)
			n += k
		}
		require.Equal(t, "helloworld", string(in))
	}
	wait()
}

func TestErrorsNameTheOperation(t *testing.T) {
	conn, peer := socketPair(t, "tcp", "127.0.0.1:0")
	defer peer.Close()
	c := turn.New(conn)
	require.NoError(t, c.SetDeadline(time.Unix(1, 0)))
	_, _, err := c.WriteRead([]byte("a"), nil, make([]byte, 1))
	require.Error(t, err)
	assert.True(t, strings.HasPrefix(err.Error(), "read tcp 127.0.0.1:"), "as net has it: %v", err)
}
