package gate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/benchmail/benchmail/loadtest/gate"
)

func TestSignedRank(t *testing.T) {
	for _, tt := range []struct {
		name          string
		d             []float64
		greater, less float64
		why           string
	}{
		{"none", nil, 1, 1, "nothing is known"},
		{"zeros", []float64{0, 0}, 1, 1, "no difference says nothing"},
		{"one", []float64{3}, 0.5, 1, "a coin"},
		{"all above", []float64{1, 2, 3, 4, 5}, 1.0 / 32, 1, "one of 2^5 ways"},
		{"all below", []float64{-1, -2, -3, -4, -5}, 1, 1.0 / 32, "the other way round"},
		{"smallest below", []float64{-1, 2, 3, 4, 5}, 2.0 / 32, 31.0 / 32, "ranks sums of 14 and 15 of 15"},
		{"table", []float64{1, 2, 3, 4, 5, 6, 7, -8}, 25.0 / 256, 1 - 19.0/256, "P(W+ ≥ 28) of n = 8 in Wilcoxon's table is .098"},
		{"equal ones", []float64{1, 1, 1, -1}, 5.0 / 16, 15.0 / 16, "they share the rank 2.5: it is the binomial"},
		{"zero left out", []float64{0, 1, 2, 3, 4, 5}, 1.0 / 32, 1, "as if it were not there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			greater, less := gate.SignedRank(tt.d)
			assert.InDelta(t, tt.greater, greater, 1e-12, tt.why)
			assert.InDelta(t, tt.less, less, 1e-12, tt.why)
		})
	}
}

// TestSignedRankApproximation: where the exact distribution ends, the normal one
// goes on.
func TestSignedRankApproximation(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		d := make([]float64, 60)
		for i := range d {
			d[i] = rng.NormFloat64() + 0.3
		}
		exact, _ := gate.SignedRank(d)
		// A 61st that is far smaller than all others adds one to each rank.
		approximate, _ := gate.SignedRank(append(d, 1e-9))
		// The normal tail is a little heavier: the approximation errs on the safe
		// side.
		assert.InEpsilon(t, math.Log(exact), math.Log(approximate), 0.1)
	}
}

func TestHodgesLehmann(t *testing.T) {
	est, lo, hi := gate.HodgesLehmann([]float64{1, 2, 3, 4, 100})
	assert.Equal(t, 3.0, est, "the outlier counts as one that is large")
	assert.True(t, math.IsInf(lo, -1) && math.IsInf(hi, 1), "five values have no interval of 95 %%")

	est, lo, hi = gate.HodgesLehmann([]float64{1, 2, 3, 4, 5, 6})
	assert.Equal(t, 3.5, est)
	assert.Equal(t, []float64{1, 6}, []float64{lo, hi}, "the widest that there is: 1 of 2^6 at each end")

	d := []float64{-1.2, .4, .5, 1.1, 1.9, 2.3, 2.6, 3.4, 4.1, 5.0}
	greater, _ := gate.SignedRank(d)
	assert.InDelta(t, 7.0/1024, greater, 1e-12, "rank 4 is missing: there are 7 sums of ranks up to 4")
	est, lo, hi = gate.HodgesLehmann(d)
	assert.InDelta(t, 2.0, est, 0.1)
	assert.Greater(t, lo, 0.0)
	assert.Less(t, hi, 4.1)
}

// TestIntervalsCover: an interval of 95 % has the true value in it in 95 of 100
// cases, or more, as ranks are whole numbers.
func TestIntervalsCover(t *testing.T) {
	const runs = 1000
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{6, 10, 25, 70} {
		one, two := 0, 0
		for range runs {
			x, y := make([]float64, n), make([]float64, n)
			for i := range x {
				x[i], y[i] = rng.ExpFloat64(), rng.ExpFloat64()+7
			}
			d := make([]float64, n)
			for i := range d {
				d[i] = y[i] - x[i]
			}
			if _, lo, hi := gate.HodgesLehmann(d); lo <= 7 && 7 <= hi {
				one++
			}
			if _, lo, hi := gate.Shift(x, y); lo <= 7 && 7 <= hi {
				two++
			}
		}
		assert.GreaterOrEqual(t, float64(one)/runs, 0.925, "pairs, n = %d", n)
		assert.GreaterOrEqual(t, float64(two)/runs, 0.925, "two samples, n = %d", n)
		if n > 10 {
			assert.LessOrEqual(t, float64(one)/runs, 0.975, "pairs, n = %d: too wide", n)
			assert.LessOrEqual(t, float64(two)/runs, 0.975, "two samples, n = %d: too wide", n)
		}
	}
}

func TestHolm(t *testing.T) {
	for _, tt := range []struct {
		name string
		ps   []float64
		want []bool
		why  string
	}{
		{"none", nil, []bool{}, ""},
		{"one", []float64{0.05}, []bool{true}, "no correction"},
		{"first", []float64{0.03, 0.2}, []bool{false, false}, "0.025 is needed of the smallest of two"},
		{"step down", []float64{0.05, 0.025}, []bool{true, true}, "when the first is, 0.05 is enough of the second"},
		{"stop", []float64{0.01, 0.03, 0.04}, []bool{true, false, false}, "0.04 would do for the last, but the one before it has failed"},
	} {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, gate.Holm(tt.ps, 0.05), tt.why) })
	}
}

// TestSmallestP has the figures that everybody quotes.
func TestSmallestP(t *testing.T) {
	for n, want := range map[int]float64{3: .1, 4: .0286, 5: .0079, 6: .00216, 10: 1.08e-5} {
		assert.InEpsilon(t, want, gate.SmallestP(n, n), 0.01, "n = %d", n)
	}
	assert.Equal(t, 1.0, gate.SmallestP(0, 5))
}

func TestSamplesFor(t *testing.T) {
	// (z.975 + z.9)² = 10.5 by 0.955; of two samples twice that.
	assert.Equal(t, 12, gate.SamplesFor(1, 1, 0.025, 1))
	assert.Equal(t, 23, gate.SamplesFor(1, 1, 0.025, 2))
	assert.Equal(t, 45, gate.SamplesFor(-0.5, 1, 0.025, 1), "half the distance takes four times as many")
	assert.Equal(t, 100_000, gate.SamplesFor(0, 1, 0.025, 1), "no number would do")
}
