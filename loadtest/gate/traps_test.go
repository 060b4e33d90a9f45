package gate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// TestABWaits: in tests that run in parallel one AB waits for the other, which is
// no time that it has spent.
func TestABWaits(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	fine := steady(map[string]float64{"ns/op": 100})
	blocked, done := false, make(chan struct{})
	go func() {
		defer close(done)
		(&fakeTB{TB: t}).run(func(tb testing.TB) {
			gate.AB(tb, func(b *testing.B) {
				if !blocked {
					blocked = true
					close(began)
					<-release
				}
				fine(b)
			}, fine, perOp)
		})
	}()
	<-began
	time.AfterFunc(time.Second, func() { close(release) })
	p := perOp
	p.Budget = 900 * time.Millisecond
	rep, _ := ab(t, fine, fine, p)
	<-done
	require.NotNil(t, rep)
	assert.Empty(t, rep.Problems)
	assert.Less(t, rep.AB.Elapsed, 900*time.Millisecond)
}
