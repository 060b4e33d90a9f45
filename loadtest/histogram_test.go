package loadtest_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

func TestHistogram(t *testing.T) {
	var all []time.Duration
	var sum time.Duration
	for i := 1; i <= 10_000; i++ {
		d := time.Duration(i) * time.Microsecond
		all = append(all, d)
		sum += d
	}
	for _, shards := range []int{1, 3, 8} {
		h := loadtest.NewHistogram(shards, all...)
		require.EqualValues(t, 10_000, h.Count())
		require.Equal(t, time.Microsecond, h.Min())
		require.Equal(t, 10*time.Millisecond, h.Max())
		require.Equal(t, sum/10_000, h.Mean())
		require.Zero(t, h.Clamped())
		for _, q := range []float64{0.001, 0.1, 0.5, 0.9, 0.99, 0.999} {
			require.InDelta(t, q*10e6, h.Quantile(q), max(64, q*10e6/1000), "quantile %v", q)
		}
		var n int64
		last := time.Duration(-1)
		h.Buckets(func(from, to time.Duration, count int64) bool {
			require.Greater(t, from, last)
			require.GreaterOrEqual(t, to, from)
			require.Positive(t, count)
			last, n = to, n+count
			return true
		})
		require.EqualValues(t, 10_000, n)
	}
}

func TestHistogramEdges(t *testing.T) {
	for _, test := range []struct {
		name string
		why  string
		in   []time.Duration
		q    float64
		want time.Duration
	}{
		{"nothing", "", nil, 0.5, 0},
		{"zero", "the bucket of 0 ends at 63 ns, but that was not recorded", []time.Duration{0}, 0.5, 0},
		{"one", "no quantile is beyond the maximum", []time.Duration{1234567}, 0.99, 1234567},
		{"minimum", "q = 0 is exact", []time.Duration{1234567, 7654321}, 0, 1234567},
		{"maximum", "q = 1 is exact", []time.Duration{1234567, 7654321}, 1, 7654321},
		{"below", "", []time.Duration{1, 2}, -1, 1},
		{"above", "", []time.Duration{1, 2}, 2, 2},
		{"NaN", "", []time.Duration{1, 2}, math.NaN(), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := loadtest.NewHistogram(2, test.in...)
			require.Equal(t, test.want, h.Quantile(test.q))
		})
	}
}

func TestHistogramClamps(t *testing.T) {
	h := loadtest.NewHistogram(2, -time.Second, time.Millisecond, 2*time.Hour, 3*time.Hour)
	require.EqualValues(t, 4, h.Count(), "what is out of range is counted all the same")
	require.EqualValues(t, 3, h.Clamped())
	require.Equal(t, -time.Second, h.Min())
	require.Equal(t, 3*time.Hour, h.Max())
	require.InEpsilon(t, time.Hour, h.Quantile(0.9), 0.001)
}

func TestHistogramZeroValue(t *testing.T) {
	var h loadtest.Histogram
	require.Zero(t, h.Count())
	require.Zero(t, h.Min())
	require.Zero(t, h.Max())
	require.Zero(t, h.Mean())
	require.Zero(t, h.Quantile(0.5))
	h.Buckets(func(time.Duration, time.Duration, int64) bool {
		t.Error("a bucket")
		return false
	})
}

// For the race detector.
func TestHistogramConcurrentReads(t *testing.T) {
	h := loadtest.NewHistogram(1, 1, 2, 3, time.Second)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for q := range 100 {
				h.Quantile(float64(q) / 100)
			}
			h.Buckets(func(time.Duration, time.Duration, int64) bool { return true })
			_ = h.Mean() + h.Min() + h.Max()
		})
	}
	readers.Wait()
}
