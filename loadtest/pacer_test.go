package loadtest_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

// due counts operations due before d.
func due(p loadtest.Pacer, d time.Duration) (n int64) {
	for p.At(n) < d {
		n++
	}
	return n
}

func TestPacers(t *testing.T) {
	for _, test := range []struct {
		name  string
		pacer loadtest.Pacer
		in    time.Duration
		want  float64
		delta float64
	}{
		{"rate", loadtest.Rate(50), 10 * time.Second, 500, 0},
		{"slow rate", loadtest.Rate(0.1), time.Minute, 6, 0},
		{"fast rate", loadtest.Rate(1e6), 100 * time.Millisecond, 100_000, 1},
		{"up, within", loadtest.Ramp(0, 100, 10*time.Second), 5 * time.Second, 125, 1},
		{"up, to its end", loadtest.Ramp(0, 100, 10*time.Second), 10 * time.Second, 500, 1},
		{"up, and on", loadtest.Ramp(0, 100, 10*time.Second), 15 * time.Second, 1000, 1},
		{"up from a rate", loadtest.Ramp(50, 150, 10*time.Second), 10 * time.Second, 1000, 1},
		{"down, within", loadtest.Ramp(100, 20, 10*time.Second), 5 * time.Second, 400, 1},
		{"down, and on", loadtest.Ramp(100, 20, 10*time.Second), 20 * time.Second, 800, 1},
		{"level", loadtest.Ramp(100, 100, 10*time.Second), 20 * time.Second, 2000, 1},
		{"nearly level", loadtest.Ramp(100, 100+1e-9, 10*time.Second), 20 * time.Second, 2000, 1},
		{"poisson", loadtest.Poisson(100, 1), 1000 * time.Second, 100_000, 5 * math.Sqrt(100_000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.InDelta(t, test.want, due(test.pacer, test.in), test.delta)
			last := time.Duration(-1)
			for n := range int64(2000) {
				at := test.pacer.At(n)
				require.GreaterOrEqual(t, at, last, "operation %d", n)
				last = at
			}
		})
	}
}

// The gaps of a Poisson process are exponential: their mean equals their
// standard deviation, and a share 1/e is longer than the mean.
func TestPoissonGaps(t *testing.T) {
	const n, rate = 100_000, 1000.0
	p := loadtest.Poisson(rate, 42)
	var sum, squares float64
	longer, last := 0, 0.0
	for i := range int64(n) {
		at := p.At(i).Seconds()
		gap := at - last
		last = at
		sum += gap
		squares += gap * gap
		if gap > 1/rate {
			longer++
		}
	}
	mean := sum / n
	require.InEpsilon(t, 1/rate, mean, 0.02)
	require.InEpsilon(t, mean, math.Sqrt(squares/n-mean*mean), 0.02)
	require.InEpsilon(t, n/math.E, longer, 0.02)
}

func TestPoissonSeed(t *testing.T) {
	schedule := func(p loadtest.Pacer) (at []time.Duration) {
		for n := range int64(100) {
			at = append(at, p.At(n))
		}
		return at
	}
	p := loadtest.Poisson(10, 1)
	first := schedule(p)
	require.Equal(t, first, schedule(loadtest.Poisson(10, 1)), "the same seed")
	require.Equal(t, first, schedule(p), "used again")
	require.NotEqual(t, first, schedule(loadtest.Poisson(10, 2)), "another seed")
}

func TestPacerRefusesNonsense(t *testing.T) {
	for _, test := range []struct {
		pacer loadtest.Pacer
		want  string
	}{
		{loadtest.Rate(0), "loadtest: Config.Pacer: Rate: perSecond is 0; it must be a positive number of operations per second"},
		{loadtest.Rate(-1), "perSecond is -1"},
		{loadtest.Rate(math.NaN()), "perSecond is NaN"},
		{loadtest.Rate(math.Inf(1)), "perSecond is +Inf"},
		{loadtest.Poisson(math.NaN(), 1), "Poisson: perSecond is NaN"},
		{loadtest.Ramp(-1, 1, time.Second), "Ramp: from is -1"},
		{loadtest.Ramp(1, 0, time.Second), "Ramp: to is 0"},
		{loadtest.Ramp(1, math.Inf(1), time.Second), "Ramp: to is +Inf"},
		{loadtest.Ramp(1, 2, 0), "Ramp: over is 0s"},
	} {
		s := &server{}
		res, err := loadtest.Run(t.Context(), s, loadtest.Config{Pacer: test.pacer})
		require.ErrorContains(t, err, test.want)
		require.NotNil(t, res)
		require.Zero(t, s.dials.Load())
	}
}
