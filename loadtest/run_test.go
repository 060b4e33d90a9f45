package loadtest_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

func TestClosedLoop(t *testing.T) {
	for _, test := range []struct {
		name string
		why  string
		cfg  loadtest.Config
		cont int // if not 0, Continue returns true one time less often
		want int64
	}{
		{"zero", "the zero Config is one operation", loadtest.Config{}, 0, 1},
		{"ops", "", loadtest.Config{Ops: 1000, Sessions: 7}, 0, 1000},
		{"fewer ops than sessions", "", loadtest.Config{Ops: 3, Sessions: 7}, 0, 3},
		{"one per session", "", loadtest.Config{Ops: 100, Sessions: 7, OpsPerSession: 1}, 0, 100},
		{"few per session", "", loadtest.Config{Ops: 100, Sessions: 3, OpsPerSession: 7}, 0, 100},
		{"continue", "", loadtest.Config{Sessions: 7}, 5001, 5000},
		{"continue once", "", loadtest.Config{Sessions: 7}, 2, 1},
		{"continue never", "", loadtest.Config{Sessions: 7}, 1, 0},
		{"warm-up", "", loadtest.Config{Sessions: 7, Ops: 100, Warmup: 50}, 0, 100},
	} {
		for _, depth := range []int{1, 2, 10} {
			t.Run(test.name, func(t *testing.T) {
				s := &server{depth: depth, ns: map[int64]int{}}
				cfg := test.cfg
				if test.cont > 0 {
					cfg.Continue = times(test.cont - 1)
				}
				res, err := loadtest.Run(t.Context(), s, cfg)
				require.NoError(t, err)
				s.has.Add(-test.cfg.Warmup)
				check(t, s, res)
				require.Equal(t, test.want, res.Accepted)
				require.Equal(t, test.want, res.Latency.Count())
				require.Len(t, s.ns, int(test.want+test.cfg.Warmup))
				for n := range test.want + test.cfg.Warmup {
					require.Equal(t, 1, s.ns[n], "operation %d", n)
				}
			})
		}
	}
}

func times(n int) func() bool {
	return func() bool {
		n--
		return n >= 0
	}
}

func TestWarmUpIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
			if op.N < 50 { // slow, and not always well
				if err := wait(ctx, time.Second); err != nil {
					return false, err
				}
				if op.N%10 == 0 {
					return false, io.EOF
				}
			}
			return true, nil
		}}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 7, Ops: 100, Warmup: 50, MaxFailed: 1})
		require.NoError(t, err)
		require.EqualValues(t, 100, res.Ops)
		require.EqualValues(t, 100, res.Accepted)
		require.EqualValues(t, 145, s.has.Load())
		require.Zero(t, res.Latency.Max())
		require.Zero(t, res.Elapsed)
		require.Empty(t, res.Errors)
		require.EqualValues(t, 12, res.Dials, "sessions lost in the warm-up are replaced before the clock starts")
		require.EqualValues(t, 12, res.Dial.Count())
	})
}

func TestWarmUpFails(t *testing.T) {
	s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) { return false, io.EOF }}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 100, Warmup: 5})
	require.ErrorIs(t, err, io.EOF)
	require.EqualError(t, err, "loadtest: warm-up: all 5 operations failed: EOF")
	require.Zero(t, res.Ops)
	check(t, s, res)
}

// Refusals are findings, in a warm-up too: what is measured may be how fast a
// server refuses.
func TestWarmUpIsRefused(t *testing.T) {
	s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) { return false, loadtest.ErrRefused }}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 100, Warmup: 5})
	require.NoError(t, err)
	require.EqualValues(t, 100, res.Refused)
	check(t, s, res)
}

// Continue is b.Loop for most, and b.Loop must be called on one goroutine. A
// counter that is not synchronised makes the race detector the judge; the
// operation's own side shows that it was asked before each.
func TestContinueIsAskedByRun(t *testing.T) {
	for _, cfg := range []loadtest.Config{
		{Sessions: 1},
		{Sessions: 50},
		{Sessions: 5, OpsPerSession: 2},
		{Sessions: 5, Pacer: loadtest.Rate(1e5)},
		{Sessions: 5, Warmup: 20},
	} {
		asked, yes := 0, 0
		s := &server{}
		cfg.Continue = func() bool {
			asked++
			if asked > 3000 {
				return false
			}
			yes++
			return true
		}
		res, err := loadtest.Run(t.Context(), s, cfg)
		require.NoError(t, err)
		require.Equal(t, 3001, asked, "once more than operations, and not again")
		require.EqualValues(t, yes, res.Ops)
	}
}

// With Ops, Continue is not asked for an operation that will not be.
func TestContinueAndOps(t *testing.T) {
	asked := 0
	res, err := loadtest.Run(t.Context(), &server{}, loadtest.Config{Sessions: 4, Ops: 100, Continue: func() bool {
		asked++
		return true
	}})
	require.NoError(t, err)
	require.EqualValues(t, 100, res.Ops)
	require.Equal(t, 100, asked)
}

// Slow operations are not asked for far ahead: b.Loop would take its questions
// for progress.
func TestContinueIsNotAskedFarAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := int64(0)
		s := &server{}
		s.do = func(ctx context.Context, op *loadtest.Op) (bool, error) {
			return true, wait(ctx, time.Second)
		}
		ahead := int64(0)
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 4, Continue: func() bool {
			asked++
			ahead = max(ahead, asked-s.ops.Load())
			return asked <= 100
		}})
		require.NoError(t, err)
		require.EqualValues(t, 100, res.Ops)
		require.LessOrEqual(t, ahead, int64(16))
	})
}

// A Continue that ends its goroutine, as b.FailNow does, must leave nothing
// behind: synctest fails if it does.
func TestContinueExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
			return true, wait(ctx, time.Second)
		}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			n := 0
			loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 4, Pacer: loadtest.Rate(0.001), Continue: func() bool {
				if n++; n == 4 {
					runtime.Goexit()
				}
				return true
			}})
			t.Error("Run returned")
		}()
		begin := time.Now()
		<-done
		require.Zero(t, s.open.Load())
		require.Less(t, time.Since(begin), 2000*time.Second, "nobody waits for an arrival that is not wanted")
	})
}

func TestPipelinerFillsItsDepth(t *testing.T) {
	for _, sessions := range []int{1, 3} {
		// On any session: which worker gets how much is up to the scheduler.
		most := 0
		var mu sync.Mutex
		s := &server{depth: 5}
		s.onMost = func(n int) {
			mu.Lock()
			defer mu.Unlock()
			most = max(most, n)
		}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: sessions, Ops: 1000, OpsPerSession: 100})
		require.NoError(t, err)
		check(t, s, res)
		require.EqualValues(t, 1000, res.Accepted)
		require.Equal(t, 5, most)
	}
}

// A Start that fails counts for its operation, and those in flight are
// finished.
func TestPipelinerStartFails(t *testing.T) {
	for _, test := range []struct {
		err   error
		keeps bool
	}{{io.EOF, false}, {loadtest.ErrRefused, true}} {
		s := &server{depth: 4, start: func(op *loadtest.Op) error {
			if op.N%10 == 7 {
				return test.err
			}
			return nil
		}}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 100})
		require.NoError(t, err)
		check(t, s, res)
		require.EqualValues(t, 90, res.Accepted)
		require.EqualValues(t, 10, res.Refused+res.Failed)
		require.Equal(t, test.keeps, res.Dials == 1)
	}
}

func TestPhases(t *testing.T) {
	s := &server{phases: true}
	s.do = func(ctx context.Context, op *loadtest.Op) (bool, error) {
		op.Phases.Add(phaseNop, time.Duration(op.N))
		op.Phases.Add(phaseNop, time.Second)
		op.Bytes, op.Recipients, op.RecipientsRefused = 10, 3, 1
		if op.N == 0 {
			return false, loadtest.ErrInDoubt
		}
		return true, nil
	}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 11})
	require.NoError(t, err)
	require.Len(t, res.Phases, 3)
	require.EqualValues(t, 20, res.Phases["nop"].Count(), "not those of an operation without an answer")
	require.EqualValues(t, 2, res.Phases["hello"].Count())
	require.EqualValues(t, 2, res.Phases["goodbye"].Count())
	require.EqualValues(t, 100, res.Bytes)
	require.EqualValues(t, 30, res.Recipients)
	require.EqualValues(t, 10, res.RecipientsRefused)
}

func TestString(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
			op.Phases.Add(phaseNop, time.Millisecond)
			if op.N%10 == 0 {
				return false, fmt.Errorf("RCPT: %w", loadtest.ErrRefused)
			}
			return true, wait(ctx, 10*time.Millisecond)
		}}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 2, Duration: time.Second, Pacer: loadtest.Rate(200)})
		require.NoError(t, err)
		require.Equal(t, `200 operations in 1.01s on 2 sessions: 179.1 accepted/s
180 accepted, 20 refused (0 throttled), 0 failed, 0 in doubt
           count       p50       p90       p99       max
latency      200      10ms      10ms      10ms      10ms
service      200      10ms      10ms      10ms      10ms
lag          200        0s        0s        0s        0s
dial           2        0s        0s        0s        0s
  nop        200       1ms       1ms       1ms       1ms
20 × RCPT: refused by the server
`, res.String())
	})
}
