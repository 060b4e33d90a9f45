package containers_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/containers"
	"github.com/benchmail/benchmail/loadtest"
)

// faultTime is for how long a fault that has an end lasts: longer than a reply
// may take, so that operations fail of it. replyTime is long enough for each
// reply of a server that is well, on a machine that others keep busy: one that
// is late while the sessions are opened ends the run before it has begun.
const (
	faultTime = 5 * time.Second
	replyTime = 3 * time.Second
)

func hold() { <-time.After(faultTime) }

// TestFaults has the server fail in the middle of a run. Each time the counts
// have to add up, and the server must have what was accepted, and no more than
// that and what is in doubt.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault func(context.Context, *containers.Server) error
		gone  bool  // it does not come back
		warns error // of the Meter
		why   string
	}{
		{"pause", func(ctx context.Context, srv *containers.Server) error {
			if err := srv.Pause(ctx); err != nil {
				return err
			}
			hold()
			return srv.Unpause(ctx)
		}, false, nil, "what is in the sockets is still accepted afterwards, for nobody"},
		{"kill", func(ctx context.Context, srv *containers.Server) error { return srv.Kill(ctx) },
			true, containers.ErrExited, "it has replied or not, and is gone"},
		{"kill and restart", func(ctx context.Context, srv *containers.Server) error {
			return errors.Join(srv.Kill(ctx), srv.Restart(ctx))
		}, false, containers.ErrRestarted, "the sessions are replaced, the address is the same"},
		{"restart", func(ctx context.Context, srv *containers.Server) error { return srv.Restart(ctx) },
			false, containers.ErrRestarted, "SIGTERM comes in the middle of transactions"},
		{"disconnect", func(ctx context.Context, srv *containers.Server) error {
			if err := srv.Disconnect(ctx); err != nil {
				return err
			}
			hold()
			return srv.Reconnect(ctx)
		}, false, nil, "replies are lost on the way"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := containers.StartBinary(t, serverPkg, server()...)
			d := srv.MustDialer(t)
			res, err := runThrough(t, srv, d, tt.gone, tt.fault)
			t.Logf("%d: %d accepted, %d refused, %d failed, %d in doubt; %v", res.Ops, res.Accepted, res.Refused, res.Failed, res.InDoubt, res.Errors)
			if !tt.gone {
				require.NoError(t, err, tt.why)
			}

			assert.Equal(t, res.Ops, res.Accepted+res.Refused+res.Failed+res.InDoubt, tt.why)
			if !tt.gone {
				// It may still be at work on what came last.
				require.NoError(t, srv.Kill(t.Context()))
			}
			has := accepted(t, srv)
			assert.LessOrEqual(t, res.Accepted, has, "accepted, and the server has them not: %s", tt.why)
			assert.LessOrEqual(t, has, res.Accepted+res.InDoubt, "the server has more than what is accepted or in doubt: %s", tt.why)
			assert.Positive(t, res.Failed+res.InDoubt, "the fault was not noticed")

			require.NotNil(t, res.Usage)
			assert.Positive(t, res.Usage.CPU)
			if tt.warns != nil {
				require.ErrorIs(t, errors.Join(res.Usage.Warnings...), tt.warns)
			}
		})
	}
}

// TestFaultsOfSMTPSink: its own count survives it, in the log.
func TestFaultsOfSMTPSink(t *testing.T) {
	t.Parallel()
	srv := containers.StartSMTPSink(t, containers.WithSink(containers.SinkConfig{Count: true}))
	res, _ := runThrough(t, srv, srv.MustDialer(t), true, func(ctx context.Context, srv *containers.Server) error { return srv.Kill(ctx) })
	assert.Equal(t, res.Ops, res.Accepted+res.Refused+res.Failed+res.InDoubt)
	has := sinkCount(t, srv)
	assert.LessOrEqual(t, res.Accepted, has)
	assert.LessOrEqual(t, has, res.Accepted+res.InDoubt)
}

// runThrough runs a load, has fault happen in the middle of it, and goes on for
// a while if the server comes back.
func runThrough(t *testing.T, srv *containers.Server, d *loadtest.SMTP, gone bool, fault func(context.Context, *containers.Server) error) (*loadtest.Result, error) {
	t.Helper()
	const before, after = 300, 300
	var asked, left int64 = 0, after
	happened := make(chan error, 1)
	begun, over := false, false
	// The other phases, those of opening a session, have the default: a session
	// that is opened in the middle of a fault waits for its end.
	d.Timeouts = loadtest.Timeouts{Command: replyTime, Message: replyTime}
	// A run ends when no session could be opened for so long.
	patience := time.Minute
	if gone {
		patience = replyTime
	}
	res, err := loadtest.Run(t.Context(), d, loadtest.Config{
		Sessions:  6,
		OpTimeout: patience,
		Meter:     srv,
		Continue: func() bool {
			if asked++; asked == before {
				begun = true
				go func() { happened <- fault(t.Context(), srv) }()
			}
			if !over && asked > before {
				select {
				case err := <-happened:
					over = true
					assert.NoError(t, err)
				default:
				}
			}
			if over {
				left--
			}
			return left > 0
		},
	})
	require.NotNil(t, res)
	require.True(t, begun, "the run ended before the fault was begun: %v\n%v", err, res)
	if !over {
		// The run has ended while the server was away, which is an error of it;
		// the fault's own end is waited for, as the test's end would be in its way.
		assert.NoError(t, <-happened)
		assert.True(t, gone || err != nil)
	}
	return res, err
}

// TestPostfixRestarts: its queue was on a tmpfs, and is gone.
func TestPostfixRestarts(t *testing.T) {
	t.Parallel()
	srv := containers.StartPostfix(t)
	d := srv.MustDialer(t)
	for range 2 {
		res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, Ops: 20})
		require.NoError(t, err)
		require.EqualValues(t, 20, res.Accepted, "%v", res.Errors)
		require.NoError(t, srv.Kill(t.Context()))
		require.NoError(t, srv.Restart(t.Context()))
	}
}

func TestFaultsThatCannotBe(t *testing.T) {
	t.Parallel()
	srv := containers.StartSMTPSink(t, containers.WithHostNetwork())
	require.ErrorContains(t, srv.Disconnect(t.Context()), "WithHostNetwork")
	require.ErrorContains(t, srv.Reconnect(t.Context()), "Disconnect has not been called")
	require.ErrorContains(t, srv.Unpause(t.Context()), "smtp-sink: Unpause")
	require.NoError(t, srv.Kill(t.Context()))
	require.Error(t, srv.Kill(t.Context()), "it is not running")
	_, err := srv.Dialer(t.Context())
	require.ErrorIs(t, err, containers.ErrExited)
	require.ErrorContains(t, err, "SIGKILL")
	require.NoError(t, srv.Restart(t.Context()), "back at the same port")
	_, err = srv.MustDialer(t).Dial(t.Context())
	require.NoError(t, err)
}
