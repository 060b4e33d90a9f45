package gate_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

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
