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
