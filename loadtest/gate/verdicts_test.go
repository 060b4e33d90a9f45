package gate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// TestCompareTooFewWithZeros: that some samples are 0 does not make them more.
func TestCompareTooFewWithZeros(t *testing.T) {
	rep := compare(t, bench("X", 2, 0, "ns/op")+bench("X", 1, 1.0, "ns/op"), bench("X", 3, 50.0, "ns/op"), gate.Policy{})
	r := rowOf(t, rep, "X", "sec/op")
	assert.Equal(t, gate.TooFew, r.Verdict, r.Reason)
	assert.Equal(t, 5, r.Need)
	assert.Error(t, rep.Err())
}

// TestCompareNothingDone: a result of 0 iterations is none.
func TestCompareNothingDone(t *testing.T) {
	x := bench("X", 10, 100.0, "ns/op")
	for name, head := range map[string]string{
		"one":  bench("X", 9, 100.0, "ns/op") + "BenchmarkX 0 5 ns/op\n",
		"zero": bench("X", 9, 100.0, "ns/op") + "BenchmarkX 0 0 ns/op\n",
	} {
		rep := compare(t, x, head, gate.Policy{})
		r := rowOf(t, rep, "X", "sec/op")
		assert.Equal(t, gate.Invalid, r.Verdict, "%s: %s", name, r.Reason)
		assert.Contains(t, r.Reason, "head: a result of 0 iterations")
	}
}

// TestFloorOfRates: a rate that falls and a time that grows are judged alike, also
// where the base is far from itself.
func TestFloorOfRates(t *testing.T) {
	judged := func(better gate.Direction, change float64) gate.Row {
		rep := arms(t, gate.Policy{Metrics: []gate.Metric{{Unit: "m", Better: better}}}, func(arm, n int) float64 {
			v := 1 + 0.001*float64(n)
			switch arm {
			case gate.ArmAgain:
				v *= 1.5
			case gate.ArmHead:
				v *= change
			}
			if better == gate.Higher {
				v = 1 / v
			}
			return v
		})
		return rowOf(t, rep, "X", "m")
	}
	for change := 0.6; change < 2; change += 0.02 {
		took, rate := judged(gate.Lower, change), judged(gate.Higher, change)
		assert.Equal(t, took.Verdict, rate.Verdict, "change %v, floor %v: %s; %s", change, took.Floor, took.Reason, rate.Reason)
	}
}

// arms runs AB on samples that are given by arm and number, with a minute of
// samples of a second.
func arms(t *testing.T, p gate.Policy, value func(arm, n int) float64) *gate.Report {
	t.Helper()
	clock, n := time.Duration(0), map[int]int{}
	p.Budget = time.Minute
	rep, err := gate.RunSequence(p, func(arm int) (*benchfmt.Result, error) {
		clock += time.Second
		v := value(arm, n[arm])
		n[arm]++
		return &benchfmt.Result{Name: benchfmt.Name("X"), Iters: 1, Values: []benchfmt.Value{{Value: v, Unit: "m"}}}, nil
	}, func() time.Duration { return clock })
	require.NoError(t, err)
	return rep
}

// TestExactByTheResults: any difference of a metric that the results call exact is
// one, as for Metric.Exact.
func TestExactByTheResults(t *testing.T) {
	p := gate.Policy{Metrics: []gate.Metric{{Unit: "trips"}}}
	unit := "Unit trips assume=exact better=lower\n"
	r := rowOf(t, compare(t, unit+bench("X", 1, 100, "trips"), unit+bench("X", 1, 101, "trips"), p), "X", "trips")
	assert.Equal(t, gate.Worse, r.Verdict, r.Reason)
	p.Metrics[0].MinEffect = 0.05
	r = rowOf(t, compare(t, unit+bench("X", 1, 100, "trips"), unit+bench("X", 1, 101, "trips"), p), "X", "trips")
	assert.Equal(t, gate.Same, r.Verdict, r.Reason)
}

// TestRateCannotFallByMore: nothing could be worse.
func TestRateCannotFallByMore(t *testing.T) {
	x, dead := bench("X", 10, 100.0, "msgs/s"), bench("X", 10, 0, "msgs/s")
	p := gate.Policy{Metrics: []gate.Metric{{Unit: "msgs/s", MinEffect: 1}}}
	for _, head := range []string{x, bench("X", 10, 1.0, "msgs/s"), dead} {
		rep := compare(t, x, head, p)
		r := rowOf(t, rep, "X", "msgs/s")
		assert.Equal(t, gate.Incomparable, r.Verdict, r.Reason)
		assert.Contains(t, r.Reason, "cannot become worse by 100 %")
		assert.Error(t, rep.Err())
	}
}
