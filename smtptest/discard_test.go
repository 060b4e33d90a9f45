package smtptest_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/smtpwire"
	"github.com/benchmail/benchmail/smtptest"
)

// rawClient sends the same transactions again and again and allocates nothing.
type rawClient struct {
	conn    net.Conn
	turns   [][]byte // what to write
	replies []int    // how many lines answer it
	buf     [64 << 10]byte
}

func newRawClient(tb testing.TB, srv *smtptest.Server, exchange string, size, depth int) *rawClient {
	c := &rawClient{conn: dialTest(tb, srv)}
	dialog(hello).run(tb, srv, c.conn)
	c.conn.SetDeadline(time.Time{})
	body := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), size/64)
	envelope := smtpwire.AppendRcpt(smtpwire.AppendMail(nil, "a@example.org", ""), "b@example.org", "")
	switch exchange {
	case "lockstep":
		c.turns = [][]byte{[]byte("MAIL FROM:<a@example.org>\r\n"), []byte("RCPT TO:<b@example.org>\r\n"), []byte("DATA\r\n"), smtpwire.AppendDotStuffed(nil, body)}
		c.replies = []int{1, 1, 1, 1}
	case "chunked":
		one := append(smtpwire.AppendBDAT(envelope, int64(len(body)), true), body...)
		c.turns = [][]byte{bytes.Repeat(one, depth)}
		c.replies = []int{3 * depth}
	}
	return c
}

func (c *rawClient) send() error {
	for i, turn := range c.turns {
		if _, err := c.conn.Write(turn); err != nil {
			return err
		}
		for lines := 0; lines < c.replies[i]; {
			n, err := c.conn.Read(c.buf[:])
			if err != nil {
				return err
			}
			lines += bytes.Count(c.buf[:n], lf)
		}
	}
	return nil
}

var lf = []byte{'\n'}

// A sink allocates nothing for a message, whatever its size and exchange.
func TestDiscardAllocations(t *testing.T) {
	for _, tt := range []struct {
		exchange    string
		size, depth int
	}{{"lockstep", 1024, 1}, {"lockstep", 100 << 10, 1}, {"chunked", 1024, 1}, {"chunked", 100 << 10, 1}, {"chunked", 1024, 10}} {
		srv := smtptest.NewSink(t)
		c := newRawClient(t, srv, tt.exchange, tt.size, tt.depth)
		const runs = 2000
		allocs := testing.AllocsPerRun(runs, func() {
			if err := c.send(); err != nil {
				t.Fatal(err)
			}
		})
		require.Zero(t, allocs, "%+v", tt)
		require.EqualValues(t, (runs+1)*tt.depth, srv.Stats().Messages)
	}
}

// BenchmarkServerDiscard is one session with a sink in the same process. The
// server's CPU next to smtp-sink's is in examples/peers.
func BenchmarkServerDiscard(b *testing.B) {
	for _, bb := range []struct {
		name, exchange string
		size, depth    int
	}{
		{"exchange=lockstep/size=1k", "lockstep", 1 << 10, 1},
		{"exchange=lockstep/size=1M", "lockstep", 1 << 20, 1},
		{"exchange=chunked/size=1k", "chunked", 1 << 10, 1},
		{"exchange=chunked/size=1M", "chunked", 1 << 20, 1},
		{"exchange=chunked/depth=10/size=1k", "chunked", 1 << 10, 10},
	} {
		b.Run(bb.name, func(b *testing.B) {
			srv := smtptest.NewSink(b)
			c := newRawClient(b, srv, bb.exchange, bb.size, bb.depth)
			b.ReportAllocs()
			b.SetBytes(int64(bb.size * bb.depth))
			for b.Loop() {
				if err := c.send(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
