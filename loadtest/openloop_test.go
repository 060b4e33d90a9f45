package loadtest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

// slower counts durations longer than d.
func slower(h *loadtest.Histogram, d time.Duration) (n int64) {
	h.Buckets(func(from, to time.Duration, count int64) bool {
		if from > d {
			n += count
		}
		return true
	})
	return n
}

// stalling returns a server that takes a millisecond, and does nothing from
// the first second to the third.
func stalling() *server {
	begin := time.Now()
	return &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
		at := time.Since(begin)
		if at >= time.Second && at < 3*time.Second {
			if err := wait(ctx, 3*time.Second-at); err != nil {
				return false, err
			}
		}
		return true, wait(ctx, time.Millisecond)
	}}
}

func TestOpenLoopShowsStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stalling()
		const rate, sessions = 100, 4
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{
			Sessions: sessions, Duration: 5 * time.Second, Pacer: loadtest.Rate(rate)})
		require.NoError(t, err)
		check(t, s, res)
		require.EqualValues(t, 5*rate, res.Accepted)
		require.Zero(t, res.Missed)
		require.Empty(t, res.Warnings)

		// Who was due within the stall had to wait, whether a session was free
		// for it or not: rate × stall, and a few while the queue was worked off.
		slow := slower(res.Latency, 2*time.Millisecond)
		require.InDelta(t, 2*rate, slow, 0.05*2*rate)
		require.Equal(t, 2*time.Second+time.Millisecond, res.Latency.Max())
		// Those due evenly within it waited between 2 s and nothing.
		require.InDelta(t, rate, slower(res.Latency, time.Second), 0.05*rate)

		// The sessions were held up once each; the others waited for a session.
		require.EqualValues(t, sessions, slower(res.Service, 2*time.Millisecond))
		require.InDelta(t, 2*rate-sessions, slower(res.Lag, time.Millisecond), 0.05*2*rate)
		require.Equal(t, res.Latency.Count(), res.Lag.Count())
	})
}

// The same server in a closed loop: nobody asks while it stalls, so nobody
// waits. This is what coordinated omission hides.
func TestClosedLoopHidesStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stalling()
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 4, Duration: 5 * time.Second})
		require.NoError(t, err)
		check(t, s, res)
		require.EqualValues(t, 4, slower(res.Latency, 2*time.Millisecond))
		require.Equal(t, time.Millisecond, res.Latency.Quantile(0.99).Round(10*time.Microsecond))
	})
}

func TestOpenLoopStartsOnSchedule(t *testing.T) {
	for _, test := range []struct {
		name  string
		pacer loadtest.Pacer
	}{
		{"rate", loadtest.Rate(333)},
		{"ramp", loadtest.Ramp(10, 500, 2*time.Second)},
		{"poisson", loadtest.Poisson(200, 7)},
	} {
		for _, depth := range []int{1, 4} {
			t.Run(test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const ops = 500
					var want []time.Duration
					for n := range int64(ops) {
						want = append(want, test.pacer.At(n))
					}
					begin := time.Now()
					got := make([]time.Duration, ops)
					s := &server{depth: depth, do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
						got[op.N] = time.Since(begin)
						return true, nil
					}}
					res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 3, Ops: ops, Pacer: test.pacer})
					require.NoError(t, err)
					check(t, s, res)
					require.Equal(t, want, got)
					require.Zero(t, res.Lag.Max())
				})
			})
		}
	}
}

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		name        string
		why         string
		cfg         loadtest.Config
		ops, missed int64
		elapsed     time.Duration
	}{
		{"closed loop", "the operation begun at 0.9 s is finished", loadtest.Config{}, 4, 0, 1200 * time.Millisecond},
		{"Ops come first", "", loadtest.Config{Ops: 2}, 2, 0, 600 * time.Millisecond},
		{"Ops come later", "", loadtest.Config{Ops: 20}, 4, 0, 1200 * time.Millisecond},
		{"open loop", "due at 0, 0.1 … 0.9 s", loadtest.Config{Sessions: 4, Pacer: loadtest.Rate(10)}, 10, 0, 1200 * time.Millisecond},
		{"open loop, one session", "the other six were due", loadtest.Config{Pacer: loadtest.Rate(10)}, 4, 6, 1200 * time.Millisecond},
		{"open loop, Ops", "only eight were asked for", loadtest.Config{Pacer: loadtest.Rate(10), Ops: 8}, 4, 4, 1200 * time.Millisecond},
		{"schedule ends", "a negative At", loadtest.Config{Sessions: 4, Pacer: three{}}, 3, 0, 300 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
					return true, wait(ctx, 300*time.Millisecond)
				}}
				test.cfg.Duration = time.Second
				res, err := loadtest.Run(t.Context(), s, test.cfg)
				require.NoError(t, err)
				check(t, s, res)
				require.Equal(t, test.ops, res.Accepted)
				require.Equal(t, test.missed, res.Missed)
				require.Equal(t, test.elapsed, res.Elapsed)
				if test.missed > 0 {
					require.Len(t, res.Warnings, 1)
					require.ErrorIs(t, res.Warnings[0], loadtest.ErrMissed)
				}
			})
		})
	}
}

// three is a schedule of three operations.
type three struct{}

func (three) At(n int64) time.Duration {
	if n == 3 {
		return -1
	}
	return 0
}

// With Depth an arrival that is not due must wait for its time, and replies
// that are outstanding must not wait for it.
func TestOpenLoopPipelinerDoesNotWaitForArrivals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{depth: 8, do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
			return true, wait(ctx, time.Millisecond)
		}}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 50, Pacer: loadtest.Rate(10)})
		require.NoError(t, err)
		check(t, s, res)
		require.Equal(t, time.Millisecond, res.Latency.Max())
		require.Zero(t, res.Lag.Max())
	})
}

func TestLatencyIncludesDial(t *testing.T) {
	for _, test := range []struct {
		name  string
		pacer loadtest.Pacer
	}{{"closed loop", nil}, {"open loop", loadtest.Rate(1)}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{
					dial: func(ctx context.Context, n int64) error { return wait(ctx, 10*time.Millisecond) },
					do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
						return true, wait(ctx, time.Millisecond)
					},
				}
				res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 2, Ops: 10, OpsPerSession: 1, Pacer: test.pacer})
				require.NoError(t, err)
				check(t, s, res)
				require.EqualValues(t, 10, res.Dials)
				require.EqualValues(t, 10, res.Dial.Count())
				require.Equal(t, 11*time.Millisecond, res.Latency.Min())
				require.Equal(t, 11*time.Millisecond, res.Latency.Max())
				require.Equal(t, time.Millisecond, res.Service.Max())
				require.Equal(t, 10*time.Millisecond, res.Lag.Min())
				require.Equal(t, 10*time.Millisecond, res.Dial.Max())
			})
		})
	}
}

// Idle sessions must not make Continue believe that time flies.
func TestOpenLoopAsksContinueInTime(t *testing.T) {
	for _, depth := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{depth: depth}
			asked, ahead := int64(0), int64(0)
			res, err := loadtest.Run(t.Context(), s, loadtest.Config{
				Sessions: 500, Pacer: loadtest.Rate(10), Continue: func() bool {
					asked++
					ahead = max(ahead, asked-s.ops.Load())
					return asked <= 300
				}})
			require.NoError(t, err)
			check(t, s, res)
			require.EqualValues(t, 300, res.Ops)
			require.Zero(t, res.Lag.Max())
			require.LessOrEqual(t, ahead, int64(64))
		})
	}
}

// Operations that come at once need as many workers at once.
func TestOpenLoopBunches(t *testing.T) {
	for _, tap := range []string{"ops", "continue"} {
		t.Run(tap, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
					return true, wait(ctx, 100*time.Millisecond)
				}}
				cfg := loadtest.Config{Sessions: 100, Pacer: bunches(100), Ops: 1000}
				if tap == "continue" {
					cfg.Ops, cfg.Continue = 0, times(1000)
				}
				res, err := loadtest.Run(t.Context(), s, cfg)
				require.NoError(t, err)
				check(t, s, res)
				require.EqualValues(t, 1000, res.Ops)
				require.Equal(t, 100*time.Millisecond, res.Latency.Max())
			})
		})
	}
}

// bunches of operations, a second apart.
type bunches int64

func (b bunches) At(n int64) time.Duration { return time.Duration(n/int64(b)) * time.Second }
