package gate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// TestABWaits: in tests that run in parallel one AB waits for the other, which is
// no time that it has spent.
func TestABWaits(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	fine := steady(map[string]float64{"ns/op": 100})
	blocked, done := false, make(chan struct{})
	go func() {
		defer close(done)
		(&fakeTB{TB: t}).run(func(tb testing.TB) {
			gate.AB(tb, func(b *testing.B) {
				if !blocked {
					blocked = true
					close(began)
					<-release
				}
				fine(b)
			}, fine, perOp)
		})
	}()
	<-began
	time.AfterFunc(time.Second, func() { close(release) })
	p := perOp
	p.Budget = 900 * time.Millisecond
	rep, _ := ab(t, fine, fine, p)
	<-done
	require.NotNil(t, rep)
	assert.Empty(t, rep.Problems)
	assert.Less(t, rep.AB.Elapsed, 900*time.Millisecond)
}

// TestABSubBenchmarks: what testing.Benchmark makes of sub-benchmarks is a result of
// one iteration, which is what a sample of one iteration is.
func TestABSubBenchmarks(t *testing.T) {
	fine := steady(map[string]float64{"ns/op": 100})
	slow := func(b *testing.B) {
		for b.Loop() {
			time.Sleep(2 * time.Millisecond)
		}
	}
	short := gate.Policy{SampleTime: time.Millisecond}
	for _, tt := range []struct {
		name   string
		sub    func(*testing.B)
		policy gate.Policy
		why    string
	}{
		{"one iteration", fine, perOp, "by the policy"},
		{"slow ones", slow, short, "a single one takes longer than a sample"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep, _ := ab(t, func(b *testing.B) { b.Run("x", tt.sub) }, fine, tt.policy)
			require.Len(t, rep.Problems, 1, tt.why)
			assert.Contains(t, rep.Problems[0], "without b.Run")
		})
	}
}

// TestABReported: what a benchmark reports itself stands over what was measured, as
// in package testing.
func TestABReported(t *testing.T) {
	base := map[string]float64{"ns/op": 100, "cpu-ns/op": 50, "B/op": 1000, "allocs/op": 10}
	p := gate.Policy{Ops: 1, Metrics: []gate.Metric{{Unit: "cpu-ns/op"}, {Unit: "allocs/op", Exact: true}, {Unit: "B/op"}}}
	rep, _ := ab(t, steady(base), steady(map[string]float64{"ns/op": 100, "cpu-ns/op": 60, "B/op": 1000, "allocs/op": 11}), p)
	for unit, want := range map[string]gate.Verdict{"cpu-sec/op": gate.Worse, "allocs/op": gate.Worse, "B/op": gate.Same} {
		r := rowOf(t, rep, "NotSlower/sessions=16"+procs(), unit)
		assert.Equal(t, want, r.Verdict, "%s: %s", unit, r.Reason)
	}
	assert.InDelta(t, 10, rowOf(t, rep, "NotSlower/sessions=16"+procs(), "allocs/op").Base.Median, 0)
}

// TestABWithoutTime: package testing takes a time of 0 for "do not print it". It is
// no time that is the same on both sides.
func TestABWithoutTime(t *testing.T) {
	mute := steady(map[string]float64{"ns/op": 0, "msgs/s": 7})
	rep, tb := ab(t, mute, mute, perOp)
	assert.NotEmpty(t, tb.errors, "it is gated and not there: %+v", rep.Rows)
	for _, r := range rep.Rows {
		assert.NotEqual(t, "sec/op", r.Unit)
	}
}

// ratios runs AB on samples of which the head is so many times the base.
func ratios(t *testing.T, p gate.Policy, budget time.Duration, ratio func(pair int) map[string]float64) *gate.Report {
	t.Helper()
	clock, n := time.Duration(0), 0
	for unit := range ratio(0) {
		p.Metrics = append(p.Metrics, gate.Metric{Unit: unit, Better: gate.Lower})
	}
	p.Budget = budget
	rep, err := gate.RunSequence(p, func(arm int) (*benchfmt.Result, error) {
		clock += time.Second
		res := &benchfmt.Result{Name: benchfmt.Name("X"), Iters: 1}
		for unit, r := range ratio(n) {
			if arm != gate.ArmHead {
				r = 1
			}
			res.Values = append(res.Values, benchfmt.Value{Value: 100 * r, Unit: unit})
		}
		if arm == gate.ArmHead {
			n++
		}
		return res, nil
	}, func() time.Duration { return clock })
	require.NoError(t, err)
	return rep
}

// TestABConfirms: more samples confirm a metric, and not one another.
func TestABConfirms(t *testing.T) {
	rep := ratios(t, gate.Policy{}, time.Hour, func(pair int) map[string]float64 {
		switch {
		case pair < 10:
			return map[string]float64{"a": 1.1, "b": 1.033 + 0.0035*float64(pair)}
		case pair < 14:
			return map[string]float64{"a": 0.5, "b": 1.2}
		}
		return map[string]float64{"a": 1, "b": 1.1}
	})
	assert.Equal(t, gate.Worse, rowOf(t, rep, "X", "b").Verdict)
	assert.Equal(t, "the head is worse, and more samples have confirmed it", rep.AB.Stopped)
	assert.Equal(t, 3, rep.AB.Looks, "first a is worse and not b, then b and not a")

	rep = ratios(t, gate.Policy{}, 41*time.Second, func(int) map[string]float64 { return map[string]float64{"a": 1.1} })
	assert.Equal(t, gate.Worse, rowOf(t, rep, "X", "a").Verdict)
	assert.Equal(t, 1, rep.AB.Looks)
	assert.Equal(t, "the head is worse, and there was no time to confirm it", rep.AB.Stopped)
}

// TestABSetUp: what a sample takes to set up, such as to open its sessions, says
// nothing of how many iterations it should have.
func TestABSetUp(t *testing.T) {
	bench := func(b *testing.B) {
		time.Sleep(10 * time.Millisecond)
		for b.Loop() {
			time.Sleep(100 * time.Microsecond)
		}
		b.ReportMetric(100, "ns/op")
	}
	p := perOp
	p.Ops, p.SampleTime = 0, 8*time.Millisecond
	rep, _ := ab(t, bench, bench, p)
	assert.Empty(t, rep.Problems)
	assert.GreaterOrEqual(t, rep.AB.Ops, 4)

	// With the clock stopped nearly all the time, it ends all the same.
	stopped := func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			time.Sleep(time.Millisecond)
			b.StartTimer()
		}
		b.ReportMetric(100, "ns/op")
	}
	began := time.Now()
	p.SampleTime = time.Millisecond
	rep, _ = ab(t, stopped, stopped, p)
	assert.Less(t, time.Since(began), 30*time.Second)
	assert.Empty(t, rep.Problems)
}
