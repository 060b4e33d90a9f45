package loadtest

import "testing"

// BenchmarkRecord is the recorder's share of an operation (the goal: 0.2 µs
// with the engine's share). It needs the recorder itself, so it is in the
// package.
func BenchmarkRecord(b *testing.B) {
	r := newRecorder()
	var op Op
	for range 5 {
		op.Phases.Add(PhaseMail, 12345)
	}
	e := ended{late: -1, end: 100_000}
	b.ReportAllocs()
	for b.Loop() {
		r.shards[0].operation(&e, &op)
	}
}
