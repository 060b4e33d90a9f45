package loadtest_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

// A recording is a connection to a server that says what it says whatever it
// hears, in pieces, and then hangs up, or hangs.
type recording struct {
	mu      sync.Mutex // guards what follows
	says    []byte
	piece   int
	expired bool
	closed  bool
	hangs   bool
}

func (r *recording) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, net.ErrClosed
	case r.expired:
		return 0, os.ErrDeadlineExceeded
	case len(r.says) > 0:
		n := copy(b[:min(len(b), r.piece)], r.says)
		r.says = r.says[n:]
		return n, nil
	case r.hangs:
		return 0, os.ErrDeadlineExceeded // without the wait
	}
	return 0, io.EOF
}

func (r *recording) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, net.ErrClosed
	case r.expired:
		return 0, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

func (r *recording) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

func (r *recording) SetDeadline(at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expired = !at.IsZero() && !at.After(time.Now())
	return nil
}

func (r *recording) SetReadDeadline(at time.Time) error  { return r.SetDeadline(at) }
func (r *recording) SetWriteDeadline(at time.Time) error { return r.SetDeadline(at) }
func (r *recording) LocalAddr() net.Addr                 { return &net.UnixAddr{} }
func (r *recording) RemoteAddr() net.Addr                { return &net.UnixAddr{} }

// FuzzSMTPSession: whatever a server says, a session ends, each operation has
// one outcome, and nothing is accepted that was not answered with a 2xx.
func FuzzSMTPSession(f *testing.F) {
	const hello = "220 x\r\n250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n"
	for _, says := range []string{
		"",
		"220 x\r\n",
		"421 no\r\n",
		"\x15\x03\x01\x00\x02\x02\x0a",
		hello,
		hello + "250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n",
		hello + "250 ok\r\n550 5.1.1 no\r\n354 go\r\n250 ok\r\n250 ok\r\n450 4.7.1 no\r\n",
		hello + "503 no\r\n503 no\r\n503 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n421 4.3.2 bye\r\n",
		hello + "250 ok\r\n250 ok\r\n552 5.3.4 no\r\n503 no\r\n503 no\r\n503 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		hello + "250-\r\n250\r\n250-x\n250 y\n999 z\r\n",
	} {
		for exchange := range byte(3) {
			f.Add([]byte(says), exchange, byte(3), false)
			f.Add([]byte(says), exchange, byte(200), true)
		}
	}
	f.Fuzz(func(t *testing.T, says []byte, mode, piece byte, hangs bool) {
		d := &loadtest.SMTP{
			Addr:     "unix:recording",
			Security: loadtest.Plaintext,
			Exchange: loadtest.Exchange(mode % 3),
			LMTP:     mode&4 != 0,
			Message:  twoRecipients,
		}
		d.Depth = []int{1, 2, 5}[mode%3]
		d.NetDial = func(context.Context, string, string) (net.Conn, error) {
			return &recording{says: bytes.Clone(says), piece: 1 + int(piece), hangs: hangs}, nil
		}
		s, err := d.Dial(t.Context())
		if err != nil {
			assert.NotErrorIs(t, err, loadtest.ErrInDoubt)
			assert.NotEmpty(t, kind(err))
			return
		}
		const n = 8
		ops, outcomes := perform(t.Context(), s, n)
		require.Len(t, ops, len(outcomes))
		accepted, seen := 0, map[int64]bool{}
		for i, op := range ops {
			require.False(t, seen[op.N], "operation %d ended twice", op.N)
			seen[op.N] = true
			if outcomes[i] == "accepted" {
				accepted++
				assert.EqualValues(t, 20, op.Bytes)
				assert.Positive(t, op.Recipients)
			}
		}
		assert.LessOrEqual(t, 3*accepted, bytes.Count(says, []byte("\n")), "MAIL, RCPT and the data")
		_ = s.Close() // an error is to be expected
		require.NoError(t, s.Close(), "the second Close")
	})
}
