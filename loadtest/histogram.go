package loadtest

import (
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Histogram is a distribution of durations. Durations up to one hour are kept
// to three significant digits, those of phases to two, and none to less than
// 64 ns; Min, Max and Mean are exact. The zero value is empty. The methods only read: they may be called
// from several goroutines at once.
type Histogram struct {
	hdr      *hdrhistogram.Histogram // nil until the first value
	count    int64
	min, max int64
	sum      float64 // in a float: an int64 holds only 2.5 million hours
	clamped  int64
}

const (
	// lowestDuration is the resolution. The clock costs as much to read.
	lowestDuration  = 64 * time.Nanosecond
	highestDuration = time.Hour
)

// record adds d. digits must be the same for all values of a Histogram.
func (h *Histogram) record(d int64, digits int) {
	if h.hdr == nil {
		h.hdr = hdrhistogram.New(int64(lowestDuration), int64(highestDuration), digits)
	}
	if h.count == 0 || d < h.min {
		h.min = d
	}
	if h.count == 0 || d > h.max {
		h.max = d
	}
	h.count++
	h.sum += float64(d)
	if d < 0 || d > int64(highestDuration) {
		// The library would drop it, and a lost maximum is the worst value to
		// lose.
		h.clamped++
		d = min(max(d, 0), int64(highestDuration))
	}
	if err := h.hdr.RecordValue(d); err != nil {
		panic("loadtest: " + err.Error()) // cannot be: d was clamped
	}
}

// merge adds what is in from, which must not be used any more.
func (h *Histogram) merge(from *Histogram) {
	if from.count == 0 {
		return
	}
	if h.count == 0 {
		*h = *from
		return
	}
	h.min, h.max = min(h.min, from.min), max(h.max, from.max)
	h.count += from.count
	h.sum += from.sum
	h.clamped += from.clamped
	if dropped := h.hdr.Merge(from.hdr); dropped != 0 {
		panic(fmt.Sprintf("loadtest: %d durations lost in a merge", dropped)) // cannot be: equal ranges
	}
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() int64 { return h.count }

// Min returns the shortest duration, 0 if there is none.
func (h *Histogram) Min() time.Duration { return time.Duration(h.min) }

// Max returns the longest duration, 0 if there is none.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Mean returns the arithmetic mean, 0 if there is no duration.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.count))
}

// Quantile returns the duration that a share q of all durations does not
// exceed: 0.5 is the median, 0 the minimum, 1 the maximum. It returns 0 if
// there is no duration. A q outside of 0 to 1 is taken as the nearer of them.
func (h *Histogram) Quantile(q float64) time.Duration {
	switch {
	case h.count == 0:
		return 0
	case math.IsNaN(q), q <= 0:
		return h.Min()
	case q >= 1:
		return h.Max()
	}
	// The library answers with the upper end of a bucket.
	v := h.hdr.ValueAtQuantile(q * 100)
	return time.Duration(min(max(v, h.min), h.max))
}

// Clamped returns how many durations were out of range. They are counted as the
// end of the range that is nearer; Min, Max and Mean know them as they were.
func (h *Histogram) Clamped() int64 { return h.clamped }

// Buckets calls yield, until it returns false, for each bucket that is not
// empty, in ascending order: count durations were between from and to, both
// included.
func (h *Histogram) Buckets(yield func(from, to time.Duration, count int64) bool) {
	if h.hdr == nil {
		return
	}
	for _, b := range h.hdr.Distribution() {
		if b.Count != 0 && !yield(time.Duration(b.From), time.Duration(b.To), b.Count) {
			return
		}
	}
}
