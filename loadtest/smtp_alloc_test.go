//go:build !race

// With the race detector sync.Pool drops what it is given, at random.

package loadtest_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

// serveSink accepts what it is sent, without allocating: it is in the process in
// which allocations are counted.
func serveSink(conn net.Conn) error {
	defer conn.Close()
	if _, err := conn.Write([]byte("220 sink\r\n")); err != nil {
		return err
	}
	var (
		hello = []byte("250-sink\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
		ok    = []byte("250 2.0.0 ok\r\n")
		more  = []byte("354 go\r\n")
		bye   = []byte("221 2.0.0 bye\r\n")
		dot   = []byte(".\r\n")
		buf   = make([]byte, 64<<10)
		out   = make([]byte, 0, 64<<10)
		n     int
		data  bool
		skip  int
	)
	for {
		m, err := conn.Read(buf[n:])
		if err != nil {
			return err
		}
		n += m
		out = out[:0]
		b := buf[:n]
		for len(b) > 0 {
			if skip > 0 {
				k := min(skip, len(b))
				b, skip = b[k:], skip-k
				if skip == 0 {
					out = append(out, ok...)
				}
				continue
			}
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				break
			}
			line := b[:i+1]
			b = b[i+1:]
			switch {
			case data:
				if bytes.Equal(line, dot) {
					data = false
					out = append(out, ok...)
				}
			case bytes.HasPrefix(line, []byte("EHLO")):
				out = append(out, hello...)
			case bytes.HasPrefix(line, []byte("DATA")):
				data = true
				out = append(out, more...)
			case bytes.HasPrefix(line, []byte("BDAT ")):
				for _, c := range line[5:] {
					if c < '0' || c > '9' {
						break
					}
					skip = skip*10 + int(c-'0')
				}
			case bytes.HasPrefix(line, []byte("QUIT")):
				_, err := conn.Write(bye)
				return err
			default:
				out = append(out, ok...)
			}
		}
		n = copy(buf, b)
		if len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return err
			}
		}
	}
}

// A message that was sent before allocates nothing.
func TestSMTPAllocations(t *testing.T) {
	tests := []struct {
		name  string
		x     loadtest.Exchange
		depth int
		size  int
	}{
		{"lockstep", loadtest.Lockstep, 1, 500},
		{"lockstep, large", loadtest.Lockstep, 1, 100_000},
		{"pipelined", loadtest.Pipelined, 1, 500},
		{"pipelined depth 2", loadtest.Pipelined, 2, 500},
		{"chunked", loadtest.Chunked, 1, 500},
		{"chunked, large", loadtest.Chunked, 1, 100_000},
		{"chunked depth 10", loadtest.Chunked, 10, 500},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			server := make(chan error, 1)
			go func() {
				conn, err := l.Accept()
				if err == nil {
					err = serveSink(conn)
				}
				server <- err
			}()
			d := &loadtest.SMTP{
				Addr:     l.Addr().String(),
				Security: loadtest.Plaintext,
				Exchange: test.x,
				Depth:    test.depth,
				Message:  message(loadtest.Text("a@x", "b@x", test.size)),
			}
			session, err := d.Dial(t.Context())
			require.NoError(t, err)
			p := session.(loadtest.Pipeliner)
			require.Equal(t, test.depth, p.Depth())
			ctx := t.Context()
			ops := make([]loadtest.Op, test.depth)
			batch := func() error {
				for i := range ops {
					if err := p.Start(ctx, &ops[i]); err != nil {
						return err
					}
				}
				for i := range ops {
					op, err := p.Finish(ctx)
					if err == nil && op != &ops[i] {
						err = errors.New("not the oldest")
					}
					if err != nil {
						return err
					}
				}
				return nil
			}
			for range 20 {
				require.NoError(t, batch())
			}
			var failed error
			allocs := testing.AllocsPerRun(200, func() {
				if err := batch(); err != nil {
					failed = err
				}
			})
			require.NoError(t, failed)
			assert.Zero(t, allocs)
			require.NoError(t, session.Close())
			if err := <-server; err != io.EOF {
				require.NoError(t, err)
			}
		})
	}
}
