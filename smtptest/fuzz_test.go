package smtptest_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/smtpwire"
	"github.com/benchmail/benchmail/smtptest"
)

// A recording is a client that has said everything before the server begins, in
// pieces of a size, and notes what the server answers.
type recording struct {
	in    []byte
	piece int
	out   bytes.Buffer
}

func (r *recording) Read(b []byte) (int, error) {
	if len(r.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), r.piece)], r.in)
	r.in = r.in[n:]
	return n, nil
}

func (r *recording) Write(b []byte) (int, error)      { return r.out.Write(b) }
func (r *recording) Close() error                     { return nil }
func (r *recording) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (r *recording) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession plays whole dialogs. Whatever a client sends, in whatever pieces:
// all that the server says is replies, the same ones; it keeps as many messages
// as it has accepted; and it goes on to serve others.
func FuzzSession(f *testing.F) {
	f.Add([]byte(wholeSession), false)
	f.Add([]byte(strings.ReplaceAll(wholeSession, "EHLO", "LHLO")), true)
	f.Fuzz(func(t *testing.T, in []byte, lmtp bool) {
		srv := smtptest.NewUnstartedServer(t)
		srv.LMTP = lmtp
		srv.MaxSize = 1000
		srv.MaxRecipients = 5
		srv.XClient = true
		srv.NoSTARTTLS = true
		srv.Users, srv.AllowInsecureAuth = map[string]string{"ann": "secret"}, true
		srv.Mechanisms = []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"} // the challenge of CRAM-MD5 is random

		var first string
		var kept int
		for _, piece := range []int{1 << 20, 4096, 7, 1} {
			r := &recording{in: in, piece: piece}
			srv.ServeConn(r)
			out := r.out.Bytes()
			if first == "" {
				first = string(out)
				kept = len(srv.Messages())
			}
			require.Equal(t, first, string(out), "in pieces of %d", piece)
			accepted := 0
			for len(out) > 0 {
				reply, n, err := smtpwire.ParseReply(out)
				require.NoError(t, err, "%q", out)
				require.NotZero(t, n, "half a reply: %q", out)
				if reply.Code == 250 && strings.Contains(reply.Text(), "message accepted") {
					accepted++
				}
				out = out[n:]
			}
			recipients := 0
			msgs := srv.Messages()
			for _, m := range msgs[len(msgs)-kept:] {
				recipients += len(m.To)
				require.Equal(t, len(m.To), len(m.RcptParams))
				require.NotEmpty(t, m.To)
				require.LessOrEqual(t, len(m.Data), 1000)
			}
			if lmtp {
				require.Equal(t, accepted, recipients)
			} else {
				require.Equal(t, accepted, kept)
			}
		}
		require.Len(t, srv.Messages(), 4*kept)

		r := &recording{in: []byte("NOOP\r\nQUIT\r\n"), piece: 100}
		srv.ServeConn(r)
		require.Equal(t, 3, strings.Count(r.out.String(), "\r\n"))
		st := srv.Stats()
		require.Zero(t, st.Open)
		require.EqualValues(t, 4*kept, st.Messages)
	})
}
