package loadtest

import "time"

// A Pacer is the schedule of an open loop.
type Pacer interface {
	// At returns when operation n starts, counted from the run's start. It is
	// called once for each n, in order, from 0; it never decreases. A negative
	// result ends the schedule.
	At(n int64) time.Duration
}
