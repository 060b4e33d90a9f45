// Package gate_test shows how the author of a mail server has CI refuse a change
// that makes the server slower: TestNotSlower. It compares the server with an
// older one, by turns on the same machine, so no figures have to be stored.
//
//	go test -count=1 -run 'NotSlower$' ./examples/gate
//
// examples/ci/gate.yml runs it on pull requests.
package gate_test

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/loadtest/gate"
	"github.com/benchmail/benchmail/smtptest"
)

// Two servers in the test's process: what can be compared so are two
// implementations or two configurations of one program. For two commits of it
// see TestContainerNotSlower.
func TestNotSlower(t *testing.T) {
	base, head := startServer(t, 200), startServer(t, 200)
	gate.AB(t, benchmark(base), benchmark(head), policy)
}

func benchmark(srv *smtptest.Server) func(*testing.B) {
	d := srv.Dialer()
	return func(b *testing.B) { smtptest.Benchmark(b, d, loadtest.Config{Sessions: 4}) }
}

// The policy of these examples is lax and quick, as they run along with all other
// tests. gate.Policy{} is a better one for a machine that has nothing else to do.
var policy = gate.Policy{
	Metrics: []gate.Metric{
		{Unit: "ns/op", MinEffect: 0.25},
		{Unit: "errors/op", Exact: true},
	},
	Ops:    100,
	Budget: 20 * time.Second,
}

// The server under test, with a knob: so many KiB are hashed for each message.
func startServer(tb testing.TB, burn int) *smtptest.Server {
	srv := smtptest.NewUnstartedServer(tb)
	srv.Discard = true
	srv.Hook = func(_ context.Context, c *smtptest.Command) smtptest.Action {
		if c.Verb == "." {
			var block [1024]byte
			for range burn {
				block[0] = sha256.Sum256(block[:])[0]
			}
		}
		return smtptest.Action{}
	}
	srv.Start()
	return srv
}

// TestSlower turns the knob: the gate has to find it.
func TestSlower(t *testing.T) {
	base, head := startServer(t, 500), startServer(t, 1500)
	rec := newRecorder(t)
	rep := gate.AB(rec, benchmark(base), benchmark(head), policy)
	checkWorse(t, rec, rep, "sec/op")
}

// TestServerGoes has the server end in the middle of it all.
func TestServerGoes(t *testing.T) {
	base, head := startServer(t, 200), startServer(t, 200)
	samples := 0
	rec := newRecorder(t)
	rep := gate.AB(rec, benchmark(base), func(b *testing.B) {
		if samples++; samples == 8 {
			head.Close()
		}
		benchmark(head)(b)
	}, policy)
	assert.True(t, rec.failed, "the gate has let it pass:\n%s", &rec.text)
	assert.Contains(t, rec.text.String(), "head: sample 7: it has failed: ")
	assert.Contains(t, rec.text.String(), "connection refused", "the reason is not lost")
	assert.Equal(t, 6, rep.AB.Pairs, "what was found until then")
}

// checkWorse checks that the test has failed as a metric is worse.
func checkWorse(t *testing.T, rec *recorder, rep *gate.Report, unit string) {
	t.Helper()
	assert.True(t, rec.failed, "the gate has let it pass:\n%s", &rec.text)
	assert.Contains(t, rec.text.String(), "worse")
	for _, row := range rep.Rows {
		if row.Unit == unit {
			assert.Equal(t, gate.Worse, row.Verdict, "%s: %s", row.Unit, row.Reason)
			return
		}
	}
	t.Errorf("the report has no %s", unit)
}
