package gate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
