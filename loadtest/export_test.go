package loadtest

import "time"

// For tests of what cannot be made to happen: a generator that is late.
func LateWarnings(late, latency, elapsed, cpu time.Duration) []error {
	t := new(tally)
	for range 1000 {
		t.late.record(int64(late), digits)
		t.latency.record(int64(latency), digits)
	}
	r := new(run)
	return r.doubts(&Result{Latency: &t.latency, Elapsed: elapsed, CPU: cpu}, t)
}

// NewHistogram returns a Histogram of durations, as if recorded by several
// cores.
func NewHistogram(shards int, durations ...time.Duration) *Histogram {
	parts := make([]Histogram, shards)
	for i, d := range durations {
		parts[i%shards].record(int64(d), digits)
	}
	h := new(Histogram)
	for i := range parts {
		h.merge(&parts[i])
	}
	return h
}

// HoldsBuffers reports whether a session of SMTP has buffers of its own.
func HoldsBuffers(s Session) bool { return s.(*session).buf != nil }

var (
	KindOf    = kindOf
	ErrnoKind = errnoKind
)
