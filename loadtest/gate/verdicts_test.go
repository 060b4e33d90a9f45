package gate_test

import (
	"fmt"
	"strings"
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

// TestExactBase: what did not vary in the base and is more in each sample of the
// head has changed, whether the head varies or not.
func TestExactBase(t *testing.T) {
	base := bench("X", 10, 100, "allocs/op")
	for _, tt := range []struct {
		name, head string
		want       gate.Verdict
		reason     string
	}{
		{"more", bench("X", 5, 101, "allocs/op") + bench("X", 5, 103, "allocs/op"), gate.Worse, "it was exactly 100 and is 101 to 103, 1 % worse or more"},
		{"fewer", bench("X", 5, 99, "allocs/op") + bench("X", 5, 97, "allocs/op"), gate.Better, "it was exactly 100 and is 97 to 99, 1 % better or more"},
		{"some are more", bench("X", 5, 100, "allocs/op") + bench("X", 5, 101, "allocs/op"), gate.Same, "not exact, as it varies"},
	} {
		rep := compare(t, base, tt.head, gate.Policy{})
		r := rowOf(t, rep, "X", "allocs/op")
		assert.Equal(t, tt.want, r.Verdict, "%s: %s", tt.name, r.Reason)
		assert.Contains(t, r.Reason, tt.reason, tt.name)
	}
	p := gate.Policy{Metrics: []gate.Metric{{Unit: "allocs/op", Exact: true, MinEffect: 0.05}}}
	r := rowOf(t, compare(t, base, bench("X", 5, 101, "allocs/op")+bench("X", 5, 103, "allocs/op"), p), "X", "allocs/op")
	assert.Equal(t, gate.Same, r.Verdict, r.Reason)
}

// TestNeedOfTheFloor: Need is enough for the noise floor, too. Here the base's
// second instance is slower by 4 % at least, so it takes many to make the floor
// less than 5 %.
func TestNeedOfTheFloor(t *testing.T) {
	noisy := []float64{1, 1.01, 0.97, 1.04, 1.02, 0.98, 1, 1.03, 0.96, 0.99}
	p := gate.Policy{Metrics: []gate.Metric{{Unit: "m", Better: gate.Lower}}}
	r := rowOf(t, arms(t, p, func(arm, n int) float64 {
		v := noisy[(7*n+3*arm)%len(noisy)]
		if arm == gate.ArmAgain {
			v *= 1.07
		}
		return v
	}), "X", "m")
	assert.Equal(t, gate.Undecided, r.Verdict)
	assert.Contains(t, r.Reason, "not decidable here with ", r.Reason)
	t.Logf("floor %v with %d pairs, need %d", r.Floor, r.Base.N, r.Need)
	assert.Greater(t, r.Need, 60)
}

// TestDoubledByChance: results of few digits are alike by chance, and no failure.
func TestDoubledByChance(t *testing.T) {
	steady := func(ns ...int) string {
		var s strings.Builder
		for _, v := range ns {
			fmt.Fprintf(&s, "BenchmarkX-2 1000 %d ns/op 16 B/op 1 allocs/op\n", v)
		}
		return s.String()
	}
	head := steady(101, 102, 101, 102, 103, 103, 101, 102)
	for name, base := range map[string]string{
		"at random":   steady(101, 101, 102, 103, 102, 103, 103, 101),
		"to and fro":  steady(101, 102, 101, 102, 101, 102, 101, 102),
		"two by two":  steady(101, 101, 102, 102, 103, 103),
		"all are one": steady(101, 101, 101, 101, 101, 101),
	} {
		rep := compare(t, base, head, gate.Policy{})
		assert.Empty(t, rep.Problems, name)
	}
	rep := compare(t, steady(101, 104, 102, 103, 101, 104, 102, 103), head, gate.Policy{})
	assert.Contains(t, strings.Join(rep.Problems, "\n"), "was a file appended to itself?")
}

// TestUndecidedSentence: what is certain is not called chance, and the p that is
// needed is told, which is not Policy.Alpha.
func TestUndecidedSentence(t *testing.T) {
	r := rowOf(t, compare(t, bench("X", 10, 100.0, "ns/op"), bench("X", 10, 104.9, "ns/op"), gate.Policy{}), "X", "sec/op")
	assert.Equal(t, gate.Undecided, r.Verdict)
	assert.Regexp(t, `^it is 4\.9 % worse \(p = 1\.1e-05\), and that it is more than 5 % worse is not ruled out \(p = 0\.\d+, 0\.05 is needed\): about \d+ samples of each would do$`, r.Reason)

	noisy := func(v float64) string { return bench("X", 5, v, "ns/op") + bench("X", 5, 1.5*v, "ns/op") }
	r = rowOf(t, compare(t, noisy(100), noisy(108), gate.Policy{}), "X", "sec/op")
	assert.Equal(t, gate.Undecided, r.Verdict)
	assert.Regexp(t, `^it seems to be \S+ % worse, which may be chance \(p = 0\.\d+, 0\.01 is needed\), and that it is more than 5 % worse is not ruled out \(p = `, r.Reason)

	// The limit itself can be told from neither side.
	even := strings.Repeat("BenchmarkX 1 100 ns/op\nBenchmarkX 1 140 ns/op\n", 5)
	r = rowOf(t, compare(t, even, strings.ReplaceAll(strings.ReplaceAll(even, "100", "105"), "140", "147"), gate.Policy{}), "X", "sec/op")
	assert.Equal(t, gate.Undecided, r.Verdict)
	assert.Contains(t, r.Reason, "not even 100000 samples of each would do")
}

// TestTwoKindsOfSamples: where the medians have changed one way and most of the
// samples the other way, the test is of the latter and says nothing of the former.
func TestTwoKindsOfSamples(t *testing.T) {
	base := bench("X", 36, 10, "ns/op") + bench("X", 44, 100, "ns/op")
	head := bench("X", 44, 90, "ns/op") + bench("X", 36, 200, "ns/op")
	for _, tt := range [][2]string{{base, head}, {head, base}} {
		r := rowOf(t, compare(t, tt[0], tt[1], gate.Policy{}), "X", "sec/op")
		assert.Less(t, r.P, 0.001)
		assert.Equal(t, gate.Undecided, r.Verdict, r.Reason)
		assert.Contains(t, r.Reason, "most samples say the opposite")
	}
}

// TestExactNoise: AB has seen the base lose mail before the comparison, so that the
// head loses some, too, is no change.
func TestExactNoise(t *testing.T) {
	p := gate.Policy{Metrics: []gate.Metric{{Unit: "m", Better: gate.Lower, Exact: true}}}
	lost := func(base, again float64) gate.Row {
		return rowOf(t, arms(t, p, func(arm, n int) float64 {
			if n == 4 {
				return []float64{base, again, 0.1}[arm]
			}
			return 0
		}), "X", "m")
	}
	r := lost(0, 0)
	assert.Equal(t, gate.Worse, r.Verdict)
	assert.Contains(t, r.Reason, "it was 0 in all of the base's 34 samples", "10 and 10 of the base and itself, and 14 beside the head's")
	for _, r := range []gate.Row{lost(0.1, 0), lost(0, 0.1)} {
		assert.Equal(t, gate.Undecided, r.Verdict, r.Reason)
		assert.Contains(t, r.Reason, "not exact, as it varies (base 0 to 0.1, head 0 to 0.1)")
	}
}

// TestCompareDiedHalfWay: what a test binary prints that was run without go test,
// which has no line "FAIL\tpackage" then.
func TestCompareDiedHalfWay(t *testing.T) {
	x := bench("X", 10, 100.0, "ns/op")
	for _, line := range []string{"FAIL", "fatal error: all goroutines are asleep - deadlock!"} {
		rep := compare(t, x, bench("X", 7, 100.0, "ns/op")+line+"\n", gate.Policy{})
		assert.Equal(t, []string{"head: line 8 says that the run failed: " + line}, rep.Failures())
	}
	assert.Empty(t, compare(t, x, x+"FAILING is what it does not\nPASS\n", gate.Policy{}).Failures())
}

// TestCompareByteOrderMark: PowerShell's > writes one, and the first result is
// behind it.
func TestCompareByteOrderMark(t *testing.T) {
	x := bench("X", 10, 100.0, "ns/op")
	assert.Equal(t, 10, rowOf(t, compare(t, "\ufeff"+x, x, gate.Policy{}), "X", "sec/op").Base.N)
}

// TestZeroSentences: from 100 to 0 is a relative change; and where some samples are
// 0 there is no interval of one.
func TestZeroSentences(t *testing.T) {
	p := gate.Policy{Metrics: []gate.Metric{{Unit: "msgs/s"}}}
	x, dead := bench("X", 10, 100, "msgs/s"), bench("X", 9, 0, "msgs/s")+bench("X", 1, 1, "msgs/s")
	assert.Equal(t, "it went from 100 to 0 (p = 1.1e-05)", rowOf(t, compare(t, x, dead, p), "X", "msgs/s").Reason)
	assert.Equal(t, "it went from 0 to 100, where there is no relative change (p = 1.1e-05)", rowOf(t, compare(t, dead, x, p), "X", "msgs/s").Reason)
	r := rowOf(t, compare(t, bench("X", 4, 0, "msgs/s")+bench("X", 6, 100.0, "msgs/s"), x, p), "X", "msgs/s")
	assert.Zero(t, r.RatioHi)
}

// TestEmptyMetrics are not nil.
func TestEmptyMetrics(t *testing.T) {
	x := bench("X", 10, 100.0, "ns/op")
	rep := compare(t, x, x, gate.Policy{Metrics: []gate.Metric{}})
	assert.Equal(t, []string{"nothing was gated: Policy.Metrics is empty; nil is for the default ones"}, rep.Failures())
}
