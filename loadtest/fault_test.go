package loadtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

func TestOutcomes(t *testing.T) {
	type want struct{ accepted, refused, throttled, failed, inDoubt, dials int64 }
	both := func(a, b error) error { return fmt.Errorf("%w, %w", a, b) }
	for _, test := range []struct {
		name string
		why  string
		err  error
		want want // of 3 operations that end so
	}{
		{"accepted", "", nil, want{accepted: 3, dials: 1}},
		{"refused", "a refusal keeps the session", loadtest.ErrRefused, want{refused: 3, dials: 1}},
		{"throttled", "421 ends the session", loadtest.ErrThrottled, want{refused: 3, throttled: 3, dials: 3}},
		{"in doubt", "", loadtest.ErrInDoubt, want{inDoubt: 3, dials: 3}},
		{"failed", "", io.EOF, want{failed: 3, dials: 3}},
		{"generator", "", loadtest.ErrGenerator, want{failed: 3, dials: 3}},
		{"refused, throttled", "421 is a refusal, and more", both(loadtest.ErrRefused, loadtest.ErrThrottled), want{refused: 3, throttled: 3, dials: 3}},
		{"refused, in doubt", "only doubt claims nothing", both(loadtest.ErrRefused, loadtest.ErrInDoubt), want{inDoubt: 3, dials: 3}},
		{"throttled, in doubt", "only doubt claims nothing", both(loadtest.ErrThrottled, loadtest.ErrInDoubt), want{inDoubt: 3, dials: 3}},
		{"refused, EOF", "the server did answer", both(loadtest.ErrRefused, io.EOF), want{refused: 3, dials: 1}},
	} {
		for _, depth := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/depth=%d", test.name, depth), func(t *testing.T) {
				s := &server{depth: depth, do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
					return test.err == nil, test.err
				}}
				// An operation at a time, so that each finds the session as
				// the one before it left it.
				res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 3, Continue: func() bool { return true }})
				require.NoError(t, err)
				check(t, s, res)
				got := want{res.Accepted, res.Refused, res.Throttled, res.Failed, res.InDoubt, res.Dials}
				if depth > 1 { // how many were in flight when the session was lost is a matter of luck
					got.dials, test.want.dials = 0, 0
				}
				require.Equal(t, test.want, got)
				require.Equal(t, res.Accepted+res.Refused, res.Latency.Count())
				require.Equal(t, res.Accepted+res.Refused, res.Service.Count())
				if test.err == nil {
					require.Empty(t, res.Errors)
				} else {
					require.Len(t, res.Errors, 1)
					require.EqualValues(t, 3, res.Errors[0].Count)
					require.Equal(t, test.err, res.Errors[0].Example)
				}
			})
		}
	}
}

// A flaky server fails in every way there is, at random.
func flaky(seed uint64, depth int) *server {
	random := func(n int64) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }
	s := &server{depth: depth}
	s.dial = func(ctx context.Context, n int64) error {
		r := random(^n)
		if err := wait(ctx, time.Duration(r.IntN(20))*time.Millisecond); err != nil {
			return err
		}
		if n == 0 || r.IntN(4) > 0 {
			return nil
		}
		return []error{io.EOF, loadtest.ErrThrottled, loadtest.ErrRefused}[r.IntN(3)]
	}
	s.do = func(ctx context.Context, op *loadtest.Op) (bool, error) {
		r := random(op.N)
		if err := wait(ctx, time.Duration(r.IntN(20))*time.Millisecond); err != nil {
			return false, err
		}
		switch r.IntN(20) {
		case 0:
			return false, io.ErrUnexpectedEOF
		case 1:
			return false, loadtest.ErrRefused
		case 2:
			return false, loadtest.ErrThrottled
		case 3:
			return false, loadtest.ErrInDoubt
		case 4:
			return true, loadtest.ErrInDoubt
		case 5: // hangs
			<-ctx.Done()
			return r.IntN(2) == 0, fmt.Errorf("%w: %w", loadtest.ErrInDoubt, context.Cause(ctx))
		}
		return true, nil
	}
	return s
}

func randomConfig(seed uint64) (loadtest.Config, int) {
	r := rand.New(rand.NewPCG(seed, 1))
	cfg := loadtest.Config{Sessions: 1 + r.IntN(20), Ops: 300, OpTimeout: time.Second}
	if r.IntN(2) == 0 {
		cfg.OpsPerSession = 1 + r.Int64N(5)
	}
	if r.IntN(2) == 0 {
		cfg.Continue, cfg.Ops = times(300), 0
	}
	switch r.IntN(3) {
	case 0:
		cfg.Pacer = loadtest.Rate(1000)
	case 1:
		cfg.Pacer = loadtest.Poisson(1000, seed)
	}
	return cfg, 1 + r.IntN(2)*r.IntN(8)
}

func TestCountsAddUpWhateverHappens(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			cfg, depth := randomConfig(seed)
			s := flaky(seed, depth)
			dial := s.dial
			s.dial = func(ctx context.Context, n int64) error {
				if n < int64(cfg.Sessions) {
					return nil // the pool opens
				}
				return dial(ctx, n)
			}
			res, err := loadtest.Run(t.Context(), s, cfg)
			require.NoError(t, err, "seed %d", seed)
			check(t, s, res)
			require.EqualValues(t, 300, res.Ops, "seed %d", seed)
			require.EqualValues(t, 300, s.ops.Load()+res.DialsFailed, "seed %d: each operation was started, or its session not opened", seed)
			require.Equal(t, s.dials.Load(), res.Dials+res.DialsFailed, "seed %d", seed)
			var errs int64
			for _, e := range res.Errors {
				errs += e.Count
			}
			require.Equal(t, res.Ops-res.Accepted, errs, "seed %d: %v", seed, res.Errors)
			if t.Failed() {
				t.Fatal("seed", seed)
			}
		})
	}
}

func TestCancelAtAnyMoment(t *testing.T) {
	cause := errors.New("enough")
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			cfg, depth := randomConfig(seed)
			cfg.Warmup = int64(seed % 3 * 10)
			s := flaky(seed, depth)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var cancelled time.Time
			after := time.Duration(rand.New(rand.NewPCG(seed, 2)).IntN(200)) * time.Millisecond
			timer := time.AfterFunc(after, func() {
				cancelled = time.Now()
				cancel(cause)
			})
			defer timer.Stop()
			res, err := loadtest.Run(ctx, s, cfg)
			if errors.Is(err, cause) {
				require.LessOrEqual(t, time.Since(cancelled), cfg.OpTimeout, "seed %d", seed)
			} else if err != nil {
				// The pool could not be opened, as the server is flaky.
				require.ErrorContains(t, err, "opened", "seed %d", seed)
			}
			require.Zero(t, s.open.Load(), "seed %d", seed)
			require.Equal(t, res.Ops, res.Accepted+res.Refused+res.Failed+res.InDoubt, "seed %d", seed)
			if cfg.Warmup == 0 {
				check(t, s, res) // else the server has what the warm-up did, too
			}
			if t.Failed() {
				t.Fatal("seed", seed)
			}
		})
	}
}

// An operation in flight when ctx ends may end well.
func TestCancelLetsOperationsEnd(t *testing.T) {
	for _, test := range []struct {
		name             string
		takes            time.Duration
		accepted, failed int64
		ends             time.Duration
	}{
		{"in time", 3 * time.Second, 4, 0, 3 * time.Second},
		{"not in time", time.Hour, 0, 4, 11 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
					err := wait(ctx, test.takes)
					return err == nil, err
				}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begin := time.Now()
				res, err := loadtest.Run(ctx, s, loadtest.Config{Sessions: 4, Ops: 100, OpTimeout: 10 * time.Second})
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, "loadtest: run cancelled")
				check(t, s, res)
				require.Equal(t, test.accepted, res.Accepted)
				require.Equal(t, test.failed, res.Failed)
				require.LessOrEqual(t, time.Since(begin), test.ends)
			})
		})
	}
}

func TestCancelGivesUpDials(t *testing.T) {
	for _, perSession := range []int64{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{dial: func(ctx context.Context, n int64) error {
				<-ctx.Done()
				return ctx.Err()
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			res, err := loadtest.Run(ctx, s, loadtest.Config{Sessions: 4, Ops: 100, OpsPerSession: perSession})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, time.Second, time.Since(begin))
			require.Equal(t, 4*perSession, res.Failed)
			require.Zero(t, res.DialsFailed)
			check(t, s, res)
		})
	}
}

func TestOpTimeout(t *testing.T) {
	for _, depth := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{depth: depth, do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
				if op.N%10 == 5 {
					<-ctx.Done()
					if context.Cause(ctx) != loadtest.ErrOpTimeout {
						return false, errors.New("ended, but not as its time was up")
					}
					return false, ctx.Err()
				}
				err := wait(ctx, 10*time.Millisecond)
				return err == nil, err
			}}
			begin := time.Now()
			res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 10, OpTimeout: 16 * time.Second})
			require.NoError(t, err)
			check(t, s, res)
			require.EqualValues(t, 10, res.Ops)
			require.EqualValues(t, 2, res.Dials)
			require.GreaterOrEqual(t, time.Since(begin), 16*time.Second)
			require.LessOrEqual(t, time.Since(begin), 18*time.Second)
			require.Equal(t, "timeout", res.Errors[0].Kind)
			require.Less(t, res.Latency.Max(), time.Second, "it is no latency")
		})
	}
}

// An operation that ends just as its time is over must not take the next one
// with it: the session's context has ended.
func TestOpTimeoutAtTheLastMoment(t *testing.T) {
	for _, depth := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{depth: depth, do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
				if ctx.Err() != nil {
					return false, errors.New("began too late")
				}
				if op.N == 3 {
					<-ctx.Done()
				}
				return true, nil
			}}
			res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 100, OpTimeout: time.Second})
			require.NoError(t, err)
			check(t, s, res)
			if depth == 1 {
				require.EqualValues(t, 100, res.Accepted)
			}
			require.EqualValues(t, 2, res.Dials)
		})
	}
}

func TestPoolCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("connection refused")
		s := &server{dial: func(ctx context.Context, n int64) error {
			if err := wait(ctx, time.Duration(n)*time.Millisecond); err != nil {
				return err
			}
			if n == 3 {
				return cause
			}
			return nil
		}}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 10, Ops: 100})
		require.ErrorIs(t, err, cause)
		require.EqualError(t, err, "loadtest: opened 3 of 10 sessions: connection refused")
		check(t, s, res)
		require.Zero(t, s.ops.Load())
		require.EqualValues(t, 1, res.DialsFailed)
		require.Equal(t, []loadtest.ErrorCount{{Kind: "connection refused", Count: 1, Example: cause}}, res.Errors)
	})
}

// A big pool may take long, as long as it grows.
func TestPoolOpensSlowly(t *testing.T) {
	for _, test := range []struct {
		name string
		hang int64
		want string
	}{
		{"grows", 1000, ""},
		{"hangs", 50, "opened 50 of 100 sessions"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turn := make(chan struct{}, 1)
				opened := int64(0)
				s := &server{dial: func(ctx context.Context, n int64) error {
					select {
					case turn <- struct{}{}:
						defer func() { <-turn }()
					case <-ctx.Done():
						return ctx.Err()
					}
					if opened == test.hang {
						<-ctx.Done()
						return context.Cause(ctx)
					}
					opened++
					return wait(ctx, time.Second)
				}}
				res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 100, Ops: 100, OpTimeout: 5 * time.Second})
				check(t, s, res)
				if test.want == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, test.want)
				require.ErrorIs(t, err, loadtest.ErrOpTimeout)
			})
		})
	}
}

func TestFirstDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{dial: func(ctx context.Context, n int64) error { return io.EOF }}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 100, OpsPerSession: 1})
		require.ErrorIs(t, err, io.EOF)
		require.EqualError(t, err, "loadtest: no session could be opened: EOF")
		check(t, s, res)
		require.EqualValues(t, 1, res.Failed)
	})
}

// A server that refuses sessions has answered the operations they were for.
func TestSessionsAreRefused(t *testing.T) {
	for _, test := range []struct {
		err       error
		throttled int64
	}{{loadtest.ErrRefused, 0}, {loadtest.ErrThrottled, 3}} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{dial: func(ctx context.Context, n int64) error {
				if err := wait(ctx, 20*time.Millisecond); err != nil {
					return err
				}
				if n%2 == 1 {
					return test.err
				}
				return nil
			}}
			res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 6, OpsPerSession: 1})
			require.NoError(t, err)
			check(t, s, res)
			require.EqualValues(t, 3, res.Refused)
			require.EqualValues(t, test.throttled, res.Throttled)
			require.EqualValues(t, 3, res.DialsFailed)
			require.EqualValues(t, 3, slower(res.Service, 19*time.Millisecond), "how long a refusal took")
			require.EqualValues(t, 6, res.Service.Count())
			require.EqualValues(t, 6, res.Lag.Count())
			require.Equal(t, 20*time.Millisecond, res.Latency.Max())
		})
	}
}

func TestDialBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		s := &server{}
		s.dial = func(ctx context.Context, n int64) error {
			dials = append(dials, time.Now())
			if n > 0 && n <= 9 {
				return io.EOF
			}
			return nil
		}
		first := true
		s.do = func(ctx context.Context, op *loadtest.Op) (bool, error) {
			if first {
				first = false
				return false, io.ErrUnexpectedEOF
			}
			return true, nil
		}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 100})
		require.NoError(t, err)
		check(t, s, res)
		require.EqualValues(t, 10, res.Failed)
		require.EqualValues(t, 9, res.DialsFailed)
		var gaps []time.Duration
		for i := 2; i < len(dials); i++ {
			gaps = append(gaps, dials[i].Sub(dials[i-1])/time.Millisecond)
		}
		require.Equal(t, []time.Duration{10, 20, 40, 80, 160, 320, 640, 1000, 1000}, gaps)
	})
}

// A worker that backs off holds no operation: others perform them all
// meanwhile, and the run does not wait for it either.
func TestBackOffHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{dial: func(ctx context.Context, n int64) error {
			if n >= 2 {
				return io.EOF
			}
			return nil
		}}
		s.do = func(ctx context.Context, op *loadtest.Op) (bool, error) {
			if op.N == 0 {
				return false, io.EOF
			}
			return true, wait(ctx, time.Millisecond)
		}
		begin := time.Now()
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 2, Ops: 1000})
		require.NoError(t, err)
		check(t, s, res)
		require.Equal(t, res.Failed, 1+res.DialsFailed)
		require.Equal(t, time.Duration(res.Accepted)*time.Millisecond, time.Since(begin))
	})
}

func TestServerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		down := func() bool { return time.Since(begin) >= time.Hour }
		s := &server{
			dial: func(ctx context.Context, n int64) error {
				if down() {
					return io.EOF
				}
				return nil
			},
			do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
				if down() {
					return false, io.EOF
				}
				return true, wait(ctx, time.Second)
			}}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Sessions: 4, Duration: 2 * time.Hour, OpTimeout: 30 * time.Second})
		require.ErrorIs(t, err, io.EOF)
		require.EqualError(t, err, "loadtest: no session could be opened for 30s: EOF")
		check(t, s, res)
		require.InDelta(t, time.Hour+30*time.Second, time.Since(begin), float64(2*time.Second))
		require.EqualValues(t, 4*3600, res.Accepted)
	})
}

func TestMaxFailed(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		fails bool
	}{
		{"failed", io.EOF, true},
		{"in doubt", loadtest.ErrInDoubt, true},
		{"refused", loadtest.ErrRefused, false},
		{"throttled", loadtest.ErrThrottled, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) { return false, test.err }}
			res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 1000, MaxFailed: 10})
			check(t, s, res)
			if !test.fails {
				require.NoError(t, err)
				require.EqualValues(t, 1000, res.Ops)
				return
			}
			require.ErrorIs(t, err, loadtest.ErrTooManyFailed)
			require.ErrorIs(t, err, test.err)
			require.ErrorContains(t, err, "MaxFailed (10)")
			require.EqualValues(t, 11, res.Failed+res.InDoubt)
			require.EqualValues(t, 11, res.Ops)
		})
	}
}

func TestExactlyMaxFailedIsNoError(t *testing.T) {
	s := &server{do: func(ctx context.Context, op *loadtest.Op) (bool, error) {
		if op.N < 10 {
			return false, io.EOF
		}
		return true, nil
	}}
	res, err := loadtest.Run(t.Context(), s, loadtest.Config{Ops: 100, MaxFailed: 10})
	require.NoError(t, err)
	require.EqualValues(t, 10, res.Failed)
}

func TestNothingButAnErrorFromDial(t *testing.T) {
	res, err := loadtest.Run(t.Context(), nilDialer{}, loadtest.Config{})
	require.ErrorContains(t, err, "neither a session nor an error")
	require.EqualValues(t, 1, res.DialsFailed)
}

type nilDialer struct{}

func (nilDialer) Dial(context.Context) (loadtest.Session, error) { return nil, nil }

func TestInvalidConfig(t *testing.T) {
	for _, test := range []struct {
		cfg  loadtest.Config
		want string
	}{
		{loadtest.Config{Sessions: -1}, "negative Config.Sessions: -1"},
		{loadtest.Config{OpsPerSession: -1}, "Config.OpsPerSession"},
		{loadtest.Config{Ops: -5}, "negative Config.Ops: -5"},
		{loadtest.Config{Duration: -1}, "Config.Duration"},
		{loadtest.Config{Warmup: -1}, "Config.Warmup"},
		{loadtest.Config{OpTimeout: -1}, "Config.OpTimeout"},
		{loadtest.Config{MaxFailed: -1}, "Config.MaxFailed"},
	} {
		s := &server{}
		res, err := loadtest.Run(t.Context(), s, test.cfg)
		require.ErrorContains(t, err, test.want)
		require.True(t, strings.HasPrefix(err.Error(), "loadtest: "), err)
		require.NotNil(t, res.Latency)
		require.Zero(t, s.dials.Load())
	}
	_, err := loadtest.Run(t.Context(), nil, loadtest.Config{})
	require.ErrorContains(t, err, "no Dialer")
}
