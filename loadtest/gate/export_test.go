package gate

import (
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"
)

// What the tests of the statistics need.
var (
	SignedRank  = signedRank
	Holm        = holm
	SmallestP   = smallestP
	SamplesFor  = samplesFor
	DirectionOf = func(unit string) Direction { return knownDirections[tidy(unit)] }
)

func HodgesLehmann(d []float64) (est, lo, hi float64) {
	iv := hodgesLehmann(d, confidence)
	return iv.est, iv.lo, iv.hi
}

func Shift(x, y []float64) (est, lo, hi float64) {
	iv := shift(x, y, confidence)
	return iv.est, iv.lo, iv.hi
}

// SampleOf is a sample that took so much CPU time.
func SampleOf(cpu time.Duration) *benchfmt.Result {
	return result("X", measured{BenchmarkResult: testing.BenchmarkResult{N: 1, T: 1}, cpu: cpu}, false)
}

// Arms of a sequence.
const (
	ArmBase, ArmAgain, ArmHead = int(armBase), int(armAgain), int(armHead)
)

// RunSequence is AB with samples and a clock of the test's own.
func RunSequence(p Policy, take func(arm int) (*benchfmt.Result, error), now func() time.Duration) (*Report, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &sequence{policy: p, budget: p.Budget, now: now, take: func(a arm) (*benchfmt.Result, error) { return take(int(a)) }}
	return s.run(), nil
}

// SetSides gives r the samples that Compare or AB would have given it.
func (r *Report) SetSides(base, head []*benchfmt.Result, units benchfmt.UnitMetadataMap) {
	r.base = side{results: base, units: units}
	r.head = side{results: head, units: units}
}
