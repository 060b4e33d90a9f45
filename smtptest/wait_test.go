package smtptest_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

func TestWait(t *testing.T) {
	srv := smtptest.NewServer(t)
	msgs, err := srv.Wait(t.Context(), 0)
	require.NoError(t, err)
	require.Empty(t, msgs)

	var wg sync.WaitGroup
	for n := 1; n <= 5; n++ {
		wg.Go(func() {
			msgs, err := srv.Wait(t.Context(), n)
			if err != nil || len(msgs) < n {
				t.Errorf("Wait(%d): %d messages, %v", n, len(msgs), err)
			}
		})
	}
	conn := dialTest(t, srv)
	(hello + quitless(5)).run(t, srv, conn)
	wg.Wait()

	msgs, err = srv.Wait(t.Context(), 5)
	require.NoError(t, err)
	msgs[0] = nil
	require.NotNil(t, srv.Messages()[0], "the slice is the caller's")
}

// quitless sends n messages.
func quitless(n int) (d dialog) {
	for range n {
		d += mail + rcpt + data + "C x\nC .\nS 250\n"
	}
	return d
}

func TestWaitGivesUp(t *testing.T) {
	srv := smtptest.NewServer(t)
	conn := dialTest(t, srv)
	(hello + "C FOO\nS 500\n" + quitless(2)).run(t, srv, conn)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	msgs, err := srv.Wait(ctx, 2)
	require.NoError(t, err, "there are enough: the context does not matter")
	require.Len(t, msgs, 2)

	_, err = srv.Wait(ctx, 3)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, "smtptest: Wait: 2 of 3 messages came: context canceled")

	ctx, cancel = context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := srv.Wait(ctx, 3)
		result <- err
	}()
	smtptest.AwaitWaiter(srv)
	dialog("S 500\nS 503\n").run(t, srv, writeFirst(t, conn, "BAR\r\nRCPT\r\n"))
	cancel()
	require.EqualError(t, <-result, "smtptest: Wait: 2 of 3 messages came; 2 commands were refused meanwhile, the last: unknown 500 5.5.1 Command not recognized, RCPT 503 5.5.1 Send MAIL first: context canceled")
}

func writeFirst(t *testing.T, conn net.Conn, text string) net.Conn {
	_, err := conn.Write([]byte(text))
	require.NoError(t, err)
	return conn
}

func TestWaitEndsWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewUnstartedServer(t)
		result := make(chan error)
		go func() {
			_, err := srv.Wait(t.Context(), 1)
			result <- err
		}()
		synctest.Wait()
		srv.Close()
		require.ErrorIs(t, <-result, net.ErrClosed)
		_, err := srv.Wait(t.Context(), 1)
		require.EqualError(t, err, "smtptest: Wait: 0 of 1 messages came: "+net.ErrClosed.Error())
		_, err = srv.Wait(t.Context(), 0)
		require.NoError(t, err)
	})
}

func TestWaitDiscard(t *testing.T) {
	srv := smtptest.NewSink(t)
	(envelope + rcpt + data + "C x\nC .\nS 250\n").run(t, srv, dialTest(t, srv))
	msgs, err := srv.Wait(t.Context(), 1)
	require.NoError(t, err)
	require.Nil(t, msgs)
	require.Empty(t, srv.Messages())
	st := srv.Stats()
	require.EqualValues(t, 1, st.Messages)
	require.EqualValues(t, 2, st.Recipients)
	require.EqualValues(t, 3, st.Bytes)
}

// A session that does nothing is told so and closed; the sweep is accurate to an
// eighth, never early.
func TestIdleTimeout(t *testing.T) {
	for _, d := range []dialog{
		"S 220\nS 421 4.4.2\n",
		"C NOOP\nS 250\nC+ NOO\nS 421\n",
		envelope + data + "C x\nS 421\n",
		envelope + "C BDAT 10\nC+ x\nS 421\n",
	} {
		t.Run(fmt.Sprintf("%q", d), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := smtptest.NewUnstartedServer(t)
				srv.IdleTimeout = 8 * time.Minute
				conn, peer := net.Pipe()
				ended := make(chan struct{})
				go func() {
					srv.ServeConn(peer)
					close(ended)
				}()
				start := time.Now()
				d.run(t, srv, conn)
				took := time.Since(start)
				require.GreaterOrEqual(t, took, 8*time.Minute)
				require.LessOrEqual(t, took, 9*time.Minute)
				<-ended
			})
		})
	}
}

// A client that does something every now and then is not idle, and one that
// never reads its replies is.
func TestIdleIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewUnstartedServer(t)
		srv.IdleTimeout = time.Minute
		conn, peer := net.Pipe()
		go srv.ServeConn(peer)
		(envelope + data).run(t, srv, conn)
		for range 100 {
			time.Sleep(59 * time.Second)
			_, err := conn.Write([]byte("x"))
			require.NoError(t, err)
		}
		dialog("S 250\n").run(t, srv, writeFirst(t, conn, "\r\n.\r\n"))
	})
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewUnstartedServer(t)
		conn, peer := net.Pipe()
		defer conn.Close()
		srv.ServeConn(peer) // the greeting is never read
		require.Zero(t, srv.Stats().Open)
	})
	synctest.Test(t, func(t *testing.T) {
		srv := smtptest.NewUnstartedServer(t)
		conn, peer := net.Pipe()
		defer conn.Close()
		ended := make(chan struct{})
		go func() {
			srv.ServeConn(peer)
			close(ended)
		}()
		(hello + "C STARTTLS\nS 220\n").run(t, srv, conn) // and no handshake
		<-ended
	})
}
