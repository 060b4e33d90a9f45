package loadtest_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

func TestLateGeneratorWarns(t *testing.T) {
	all := time.Duration(runtime.GOMAXPROCS(0)) * time.Second
	for _, test := range []struct {
		name               string
		late, latency, cpu time.Duration
		want               string
	}{
		{"late", 5 * time.Millisecond, 6 * time.Millisecond, 0, "run the server elsewhere"},
		{"late and busy", 5 * time.Millisecond, 6 * time.Millisecond, all, "this process used all of its"},
		{"busy, and in time", 500 * time.Microsecond, time.Millisecond, all, ""},
		{"late, but little of the latency", 5 * time.Millisecond, time.Second, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			warnings := loadtest.LateWarnings(test.late, test.latency, time.Second, test.cpu)
			if test.want == "" {
				require.Empty(t, warnings)
				return
			}
			require.Len(t, warnings, 1)
			require.ErrorIs(t, warnings[0], loadtest.ErrBottleneck)
			require.ErrorContains(t, warnings[0], test.want)
		})
	}
}

// A server that is slow makes the lag long. That is not the generator's fault.
func TestBusySessionsAreNoBottleneck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
			return true, wait(ctx, time.Second)
		}}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 20, Pacer: loadtest.Rate(10)})
		require.NoError(t, err)
		require.Greater(t, res.Lag.Max(), 10*time.Second)
		require.Empty(t, res.Warnings)
	})
}

func TestWarnings(t *testing.T) {
	t.Run("generator", func(t *testing.T) {
		s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
			return op.N > 0, map[bool]error{true: loadtest.ErrGenerator}[op.N == 0]
		}}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 10})
		require.NoError(t, err)
		require.Len(t, res.Warnings, 1)
		require.ErrorIs(t, res.Warnings[0], loadtest.ErrGenerator)
		require.ErrorContains(t, res.Warnings[0], "ulimit -n")
	})
	t.Run("clamped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
				return true, wait(ctx, 2*time.Hour)
			}}
			res, err := loadtest.Run(t.Context(), s, loadtest.Config{OpTimeout: 24 * time.Hour})
			require.NoError(t, err)
			require.Equal(t, 2*time.Hour, res.Latency.Max())
			require.Len(t, res.Warnings, 1)
			require.ErrorContains(t, res.Warnings[0], "not between 0 and 1h0m0s")
		})
	})
	t.Run("fewer operations than sessions", func(t *testing.T) {
		res, err := loadtest.Run(t.Context(), &server{}, loadtest.Config{Sessions: 10, Ops: 9})
		require.NoError(t, err)
		require.Len(t, res.Warnings, 1)
		require.ErrorContains(t, res.Warnings[0], "9 operations on 10 sessions")
	})
}
