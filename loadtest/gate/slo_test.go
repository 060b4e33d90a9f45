package gate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/loadtest/gate"
)

// A fake is a server of which each operation takes a time and ends in a way.
type fake func(n int64) (time.Duration, error)

func (f fake) Dial(context.Context) (loadtest.Session, error) { return f, nil }
func (f fake) Close() error                                   { return nil }
func (f fake) Do(_ context.Context, op *loadtest.Op) error {
	d, err := f(op.N)
	time.Sleep(d)
	return err
}

// refused is an answer with a reply code.
type refused string

func (e refused) Error() string { return string(e) }
func (e refused) Kind() string  { return string(e) }
func (e refused) Unwrap() error { return loadtest.ErrRefused }

// slow has one operation of a hundred take 60 ms, and others 20 ms.
func slow(n int64) (time.Duration, error) {
	if n%100 == 99 {
		return 60 * time.Millisecond, nil
	}
	return 20 * time.Millisecond, nil
}

// faulty refuses one of ten, and loses one of a hundred.
func faulty(n int64) (time.Duration, error) {
	switch {
	case n%10 == 5:
		return time.Millisecond, refused("RCPT 451 4.7.1")
	case n%100 == 50:
		return time.Millisecond, fmt.Errorf("%w: lost", loadtest.ErrInDoubt)
	}
	return time.Millisecond, nil
}

func TestRequire(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		srv  fake
		ops  int64
		slo  gate.SLO
		want string // the error
		log  string
		why  string
	}{
		{"zero SLO", slow, 1000, gate.SLO{}, "", "", "no message was lost"},
		{"kept", slow, 1000, gate.SLO{P50: 20 * ms, P90: 20 * ms, P99: 21 * ms, Max: 60 * ms, MinRate: 40}, "", "", "the histogram says 20.005ms"},
		{"all broken", faulty, 200, gate.SLO{P50: 1, P90: 1, P99: 1, Max: 1, ErrorRate: 0.05, MinRate: 1e6}, `gate: the server breaks the SLO:
p50 latency: at most 1ns is asked for, 1ms was measured over 198 operations that were answered
p90 latency: at most 1ns is asked for, 1ms was measured over 198 operations that were answered
p99 latency: at most 1ns is asked for, 1ms was measured over 198 operations that were answered
longest latency: at most 1ns is asked for, 1ms was measured over 198 operations that were answered
errors: at most 5 % may be refused, failed or in doubt, and 22 of 200 operations were (11 %): 20 refused, 0 failed, 2 in doubt (20 × RCPT 451 4.7.1, 2 × in doubt: sent, and no answer came: lost)
rate: at least 1e+06/s are asked for, 890/s were measured: 178 accepted in 200ms`, "", "all at once"},
		{"longest", slow, 1000, gate.SLO{Max: 59 * ms}, "gate: the server breaks the SLO:\nlongest latency: at most 59ms is asked for, 60ms was measured over 1000 operations that were answered", "", ""},
		{"by a hair", slow, 100, gate.SLO{Max: 60*ms - 1}, "gate: the server breaks the SLO:\nlongest latency: at most 59.999999ms is asked for, 60ms was measured over 100 operations that were answered", "", "both numbers can be told apart"},
		{"no error is the default", faulty, 10, gate.SLO{}, "gate: the server breaks the SLO:\nerrors: none may be refused, failed or in doubt, and 1 of 10 operations were (10 %): 1 refused, 0 failed, 0 in doubt (1 × RCPT 451 4.7.1)", "", ""},
		{"any error", faulty, 200, gate.SLO{ErrorRate: -1}, "", "", ""},
		{"all may be errors", faulty, 200, gate.SLO{ErrorRate: 1}, "", "", ""},
		{"just so many errors", faulty, 200, gate.SLO{ErrorRate: 0.11}, "", "", ""},
		{"p99 of few", slow, 50, gate.SLO{P99: 30 * ms}, "", "gate: p99 latency of 50 operations: 20ms; of fewer than 100 it is the longest", "no failure, and no silence"},
		{"p90 of few", slow, 9, gate.SLO{P90: 30 * ms}, "", "gate: p90 latency of 9 operations: 20ms; of fewer than 10 it is the longest", ""},
		{"p50 of one", slow, 1, gate.SLO{P50: 10 * ms}, "gate: the server breaks the SLO:\np50 latency: at most 10ms is asked for, 20ms was measured over 1 operation that was answered; of fewer than 2 it is the longest", "", ""},
		{"p99 of few is broken", slow, 50, gate.SLO{P99: 10 * ms}, "gate: the server breaks the SLO:\np99 latency: at most 10ms is asked for, 20ms was measured over 50 operations that were answered; of fewer than 100 it is the longest", "", ""},
		{"p99 of enough", slow, 100, gate.SLO{P99: 30 * ms}, "", "", "the longest of a hundred is not in their p99"},
		{"no answer", func(int64) (time.Duration, error) { return ms, errors.New("EOF") }, 5, gate.SLO{ErrorRate: 1}, "gate: none of 5 operations was answered: nothing is known of the server (5 × EOF)", "", "any share of errors is allowed, and still"},
		{"many kinds", func(n int64) (time.Duration, error) { return ms, refused(fmt.Sprint("MAIL 45", n)) }, 5, gate.SLO{}, "gate: the server breaks the SLO:\nerrors: none may be refused, failed or in doubt, and 5 of 5 operations were (100 %): 5 refused, 0 failed, 0 in doubt (1 × MAIL 450, 1 × MAIL 451, 1 × MAIL 452, 2 more kinds)", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				res, err := loadtest.Run(t.Context(), tt.srv, loadtest.Config{Ops: tt.ops, MaxFailed: 1000})
				require.NoError(t, err)
				tb := (&fakeTB{TB: t}).run(func(tb testing.TB) { gate.Require(tb, res, tt.slo) })
				assert.Empty(t, tb.fatal)
				if tt.want == "" {
					assert.Empty(t, tb.errors, tt.why)
				} else {
					assert.Equal(t, []string{tt.want}, tb.errors, tt.why)
				}
				if tt.log == "" {
					assert.Empty(t, tb.logged)
				} else {
					assert.Equal(t, []string{tt.log}, tb.logged, tt.why)
				}
			})
		})
	}
}

func TestRequireBadInput(t *testing.T) {
	for _, tt := range []struct {
		name  string
		res   *loadtest.Result
		slo   gate.SLO
		fatal string
		err   string
	}{
		{"nil", nil, gate.SLO{}, "gate: Require: the result is nil: see the error that came with it", ""},
		{"empty", &loadtest.Result{}, gate.SLO{}, "", "gate: the run has no operation: nothing is known of the server"},
		{"no session", &loadtest.Result{Errors: []loadtest.ErrorCount{{Kind: "connect: connection refused", Count: 16}}}, gate.SLO{}, "", "gate: the run has no operation: nothing is known of the server (16 × connect: connection refused)"},
		{"no histogram", &loadtest.Result{Ops: 1, Accepted: 1}, gate.SLO{}, "", "gate: none of 1 operation was answered: nothing is known of the server"},
		{"negative P50", &loadtest.Result{}, gate.SLO{P50: -1}, "gate: Require: SLO.P50 is -1ns: the longest duration that is allowed is needed, or 0", ""},
		{"negative Max", &loadtest.Result{}, gate.SLO{Max: -time.Second}, "gate: Require: SLO.Max is -1s: the longest duration that is allowed is needed, or 0", ""},
		{"ErrorRate NaN", &loadtest.Result{}, gate.SLO{ErrorRate: math.NaN()}, "gate: Require: SLO.ErrorRate is NaN: a share is needed, such as 0.001 for one of a thousand", ""},
		{"MinRate NaN", &loadtest.Result{}, gate.SLO{MinRate: math.NaN()}, "gate: Require: SLO.MinRate is NaN: a number of operations per second is needed, or 0", ""},
		{"MinRate negative", &loadtest.Result{}, gate.SLO{MinRate: -5}, "gate: Require: SLO.MinRate is -5: a number of operations per second is needed, or 0", ""},
		{"MinRate infinite", &loadtest.Result{}, gate.SLO{MinRate: math.Inf(1)}, "gate: Require: SLO.MinRate is +Inf: a number of operations per second is needed, or 0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := (&fakeTB{TB: t}).run(func(tb testing.TB) { gate.Require(tb, tt.res, tt.slo) })
			assert.Equal(t, tt.fatal, tb.fatal)
			if tt.err == "" {
				assert.Empty(t, tb.errors)
			} else {
				assert.Equal(t, []string{tt.err}, tb.errors)
			}
		})
	}
}

func TestRequireLogsDoubts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		res, err := loadtest.Run(t.Context(), fake(slow), loadtest.Config{Ops: 2})
		require.NoError(t, err)
		res.Warnings = []error{errors.New("loadtest: the generator was late")}
		tb := (&fakeTB{TB: t}).run(func(tb testing.TB) { gate.Require(tb, res, gate.SLO{}) })
		assert.Empty(t, tb.errors)
		assert.Equal(t, []string{"warning: loadtest: the generator was late"}, tb.logged)
	})
}
