package loadtest_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// A write that timed out in the middle is the end of the session. To go on behind
// the gap makes commands of mail data, and mail data of commands.
func TestSMTPNothingIsSentBehindAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		d := &loadtest.SMTP{Addr: "unix:pipe", Security: loadtest.Plaintext, Exchange: loadtest.Chunked, Depth: 3,
			Timeouts: loadtest.Timeouts{Message: time.Second},
			NetDial:  func(context.Context, string, string) (net.Conn, error) { return near, nil },
			Message: func(n int64) *loadtest.Message {
				return &loadtest.Message{From: "a@x", To: []string{"b@x"}, Data: bytes.Repeat([]byte(fmt.Sprintf("%078d\r\n", n)), 100)}
			}}
		var got bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer far.Close()
			in := bufio.NewReaderSize(far, 16)
			io.WriteString(far, "220 x\r\n")
			in.ReadString('\n')
			io.WriteString(far, "250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
			io.CopyN(&got, in, 1000) // part of the first message
			time.Sleep(1300 * time.Millisecond)
			io.Copy(&got, in)
		}()
		s, err := d.Dial(t.Context())
		require.NoError(t, err)
		p := s.(loadtest.Pipeliner)
		ops := make([]loadtest.Op, 3)
		started := 0
		for i := range ops {
			ops[i].N = int64(i)
			if p.Start(t.Context(), &ops[i]) != nil {
				break
			}
			started++
		}
		for range started {
			_, err := p.Finish(t.Context())
			assert.Error(t, err)
			assert.NotErrorIs(t, err, loadtest.ErrInDoubt, "no message was sent in full")
			t.Log(err)
		}
		s.Close()
		<-done
		assert.NotContains(t, got.String(), "001\r\n", "the second message came behind a gap in the first")
	})
}

// MAILMAX counts MAIL commands, whatever was answered (RFC 9422 §4.1).
func TestSMTPMailMaxCountsRefused(t *testing.T) {
	for _, x := range []loadtest.Exchange{loadtest.Lockstep, loadtest.Pipelined, loadtest.Chunked} {
		for _, verb := range []string{"MAIL", "RCPT", "DATA"} {
			t.Run(fmt.Sprint(x, verb), func(t *testing.T) {
				srv := smtptest.NewUnstartedServer(t)
				srv.MaxMessages = 4
				srv.Hook = smtptest.On(verb).Every(2).Reply("450 4.2.0 no")
				srv.Start()
				d := srv.Dialer()
				d.Security, d.Exchange = loadtest.Plaintext, x
				res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 40})
				require.NoError(t, err)
				assert.Zero(t, res.Throttled, "%v", res)
			})
		}
	}
}

func TestSMTPLongDuration(t *testing.T) {
	srv := smtptest.NewSink(t)
	d := srv.Dialer()
	d.Security = loadtest.Plaintext
	for _, dur := range []time.Duration{math.MaxInt64, 0} {
		res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 10, Duration: dur, OpTimeout: math.MaxInt64})
		require.NoError(t, err)
		assert.EqualValues(t, 10, res.Accepted)
	}
	d = srv.Dialer()
	const m = math.MaxInt64
	d.Timeouts = loadtest.Timeouts{Connect: m, Greeting: m, TLS: m, Command: m, Message: m, Quit: m}
	res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 10})
	require.NoError(t, err)
	assert.EqualValues(t, 10, res.Accepted)
	assert.Empty(t, res.Errors)
}

// One refused greeting is a finding.
func TestSMTPFirstGreetingRefused(t *testing.T) {
	srv := smtptest.NewUnstartedServer(t)
	srv.Hook = smtptest.On("CONNECT").First(1).Reply("421 4.3.2 Busy")
	srv.Start()
	d := srv.Dialer()
	res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 10, OpsPerSession: 1, Sessions: 3})
	require.NoError(t, err)
	assert.EqualValues(t, 9, res.Accepted)
	assert.EqualValues(t, 1, res.Throttled)
}

// What the server said before it hung up counts, even if that was found out by
// writing the next transaction.
func TestSMTPRepliesBeforeTheCut(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		io.WriteString(c, "220 x\r\n")
		in.ReadString('\n')
		io.WriteString(c, "250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
		for range 3 {
			in.ReadString('\n')
		}
		io.CopyN(io.Discard, in, 8000)
		io.WriteString(c, "250 mail\r\n250 rcpt\r\n250 message\r\n")
	}()
	d := &loadtest.SMTP{Addr: "unix:" + path, Security: loadtest.Plaintext, Exchange: loadtest.Chunked, Depth: 2,
		Message: func(n int64) *loadtest.Message {
			return &loadtest.Message{From: "a@x", To: []string{"b@x"}, Data: bytes.Repeat([]byte(fmt.Sprintf("%078d\r\n", n)), 100)}
		}}
	s, err := d.Dial(t.Context())
	require.NoError(t, err)
	defer s.Close()
	p := s.(loadtest.Pipeliner)
	require.NoError(t, p.Start(t.Context(), new(loadtest.Op)))
	require.NoError(t, p.Start(t.Context(), new(loadtest.Op))) // writes the first
	<-gone
	_, err = p.Finish(t.Context())
	assert.NoError(t, err)
	_, err = p.Finish(t.Context())
	assert.Equal(t, "failed", class(err))
}

// A run in which the server is throttling from the first greeting on ends.
func TestSMTPAlwaysThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{dial: func(ctx context.Context, n int64) error { return loadtest.ErrThrottled }}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 1e6, OpsPerSession: 1, Sessions: 3, OpTimeout: 10 * time.Second})
		require.ErrorIs(t, err, loadtest.ErrThrottled)
		check(t, s, res)
		assert.EqualValues(t, 3, res.Throttled, "once for each place in the pool")
	})
}
