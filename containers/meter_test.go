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

func TestMeter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		host    bool
		warning error
		why     string
	}{
		{"published port", false, containers.ErrProxied, "docker-proxy copies"},
		{"host's network", true, nil, "nothing to warn of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts := server()
			if tt.host {
				opts = append(opts, containers.WithHostNetwork())
			}
			srv := containers.StartBinary(t, serverPkg, opts...)
			before, err := srv.Resources(t.Context())
			require.NoError(t, err)
			res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Sessions: 4, Ops: 500, OpsPerSession: 5, Meter: srv})
			require.NoError(t, err)
			after, err := srv.Resources(t.Context())
			require.NoError(t, err)

			require.NotNil(t, res.Usage)
			assert.Positive(t, res.Usage.CPU)
			assert.LessOrEqual(t, res.Usage.CPU, after.CPU-before.CPU, "the measured part is a part")
			assert.Positive(t, res.Usage.PeakRSS)
			assert.Positive(t, after.RSS)
			assert.LessOrEqual(t, after.RSS, after.Memory+1<<20)
			assert.GreaterOrEqual(t, after.PeakMemory, after.Memory)
			if tt.warning != nil {
				require.ErrorIs(t, errors.Join(res.Usage.Warnings...), tt.warning, tt.why)
			} else {
				assert.Empty(t, res.Usage.Warnings, tt.why)
			}
		})
	}
}

// TestMeterAsksDocker where the control group's files are not to be seen: on
// another machine, or on macOS.
func TestMeterAsksDocker(t *testing.T) {
	srv := containers.StartBinary(t, serverPkg, server()...)
	containers.WithoutHostFiles(t)
	res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Sessions: 4, Ops: 500, OpsPerSession: 5, Meter: srv})
	require.NoError(t, err)
	assert.Positive(t, res.Usage.CPU)
	assert.Positive(t, res.Usage.PeakRSS)
	joined := errors.Join(res.Usage.Warnings...)
	require.ErrorIs(t, joined, containers.ErrProxied)
	require.ErrorContains(t, joined, "cannot be measured from here")
}

// TestMeterMeasuresTheTimedPart: what the server does before and after is not in
// it.
func TestMeterMeasuresTheTimedPart(t *testing.T) {
	t.Parallel()
	srv := containers.StartBinary(t, serverPkg, server()...)
	work := func() {
		_, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Sessions: 4, Ops: 100, OpsPerSession: 1})
		require.NoError(t, err)
	}
	work()
	end, err := srv.Begin(t.Context())
	require.NoError(t, err)
	idle, err := end(t.Context())
	require.NoError(t, err)
	end, err = srv.Begin(t.Context())
	require.NoError(t, err)
	work()
	busy, err := end(t.Context())
	require.NoError(t, err)
	assert.Less(t, idle.CPU, busy.CPU/5)
}

func TestMeterWarns(t *testing.T) {
	t.Parallel()
	t.Run("CPU limit", func(t *testing.T) {
		t.Parallel()
		srv := containers.StartBinary(t, serverPkg, append(server(), containers.WithCPUs(0.05))...)
		res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Sessions: 4, Ops: 200, OpsPerSession: 2, Meter: srv})
		require.NoError(t, err)
		require.ErrorIs(t, errors.Join(res.Warnings...), containers.ErrThrottled)
	})
	t.Run("out of memory", func(t *testing.T) {
		t.Parallel()
		srv := containers.StartBinary(t, serverPkg, append(server("-mode", "eat"), containers.WithMemory(64<<20))...)
		res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Sessions: 2, Ops: 10, OpTimeout: 5 * time.Second, Meter: srv})
		require.NotNil(t, res, "%v", err)
		require.ErrorIs(t, errors.Join(res.Warnings...), containers.ErrOOMKilled, "%v", res.Errors)
		_, err = srv.Dialer(t.Context())
		require.ErrorIs(t, err, containers.ErrOOMKilled)
	})
	t.Run("server leaves", func(t *testing.T) {
		t.Parallel()
		srv := containers.StartBinary(t, serverPkg, server("-mode", "leave")...)
		res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Ops: 10, OpTimeout: 5 * time.Second, Meter: srv})
		require.NotNil(t, res, "%v", err)
		joined := errors.Join(res.Warnings...)
		require.ErrorIs(t, joined, containers.ErrExited)
		require.ErrorContains(t, joined, "exit status 1")
		require.NotErrorIs(t, joined, containers.ErrOOMKilled)
	})
	t.Run("container removed", func(t *testing.T) {
		t.Parallel()
		srv := containers.StartBinary(t, serverPkg, server()...)
		end, err := srv.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, srv.Terminate(t.Context()))
		u, err := end(t.Context())
		require.NoError(t, err, "the figures until then are worth having")
		require.ErrorIs(t, errors.Join(u.Warnings...), containers.ErrExited)
	})
	t.Run("server gone before", func(t *testing.T) {
		t.Parallel()
		srv := containers.StartSMTPSink(t)
		d := srv.MustDialer(t)
		require.NoError(t, srv.Kill(t.Context()))
		_, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 1, OpTimeout: time.Second, Meter: srv})
		require.Error(t, err)
	})
}

// TestBothReaders: the files of the control group and Docker's statistics are
// two ways to one counter.
func TestBothReaders(t *testing.T) {
	t.Parallel()
	srv := containers.StartPostfix(t)
	r, err := srv.ReadBoth(t.Context())
	require.NoError(t, err)
	assert.LessOrEqual(t, r.Before.CPU, r.Docker.CPU)
	assert.LessOrEqual(t, r.Docker.CPU, r.After.CPU)
	assert.Positive(t, r.Before.CPU)
	assert.InEpsilon(t, r.After.RSS, r.Docker.RSS, 0.25)
	assert.InEpsilon(t, r.After.PeakMemory, r.Docker.PeakMemory, 0.25)
}

func TestHoldIdle(t *testing.T) {
	t.Parallel()
	srv := containers.StartPostfix(t)
	const sessions = 120 // more than Postfix would have processes
	grown, err := srv.HoldIdle(t.Context(), srv.MustDialer(t), sessions)
	require.NoError(t, err)
	assert.Greater(t, grown, int64(sessions*100<<10), "each is a process, and has some hundred KB of its own")

	res := testing.Benchmark(func(b *testing.B) { srv.BenchmarkIdle(b, srv.MustDialer(b), sessions) })
	assert.Positive(t, res.N)
	assert.Positive(t, res.Extra["server-RSS-bytes/session"])

	_, err = srv.HoldIdle(t.Context(), srv.MustDialer(t), 0)
	require.ErrorContains(t, err, "0 sessions")
	d := srv.MustDialer(t)
	d.TLSConfig = nil
	_, err = srv.HoldIdle(t.Context(), d, 3)
	require.ErrorContains(t, err, "opening session 1 of 3")
	require.NoError(t, srv.Kill(t.Context()))
	_, err = srv.HoldIdle(context.Background(), d, 3)
	require.ErrorIs(t, err, containers.ErrExited)
}
