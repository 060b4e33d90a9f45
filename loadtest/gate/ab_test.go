package gate_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// steady is a benchmark whose metrics are what the test says, and that takes no
// time worth mentioning.
func steady(metrics map[string]float64) func(*testing.B) {
	return func(b *testing.B) {
		for b.Loop() {
		}
		for unit, v := range metrics {
			b.ReportMetric(v, unit)
		}
	}
}

// ab runs AB as a test of its own.
func ab(t *testing.T, base, head func(*testing.B), p gate.Policy) (*gate.Report, *fakeTB) {
	t.Helper()
	var rep *gate.Report
	tb := (&fakeTB{TB: t, name: "TestNotSlower/sessions=16"}).run(func(tb testing.TB) { rep = gate.AB(tb, base, head, p) })
	return rep, tb
}

var perOp = gate.Policy{Metrics: []gate.Metric{{Unit: "ns/op"}}, Ops: 1}

func TestABVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name       string
		base, head float64
		policy     gate.Policy
		want       gate.Verdict
		fails      bool
	}{
		{"same", 100, 100, perOp, gate.Same, false},
		{"worse", 100, 110, perOp, gate.Worse, true},
		{"better", 100, 80, perOp, gate.Better, false},
		{"a little", 100, 104, perOp, gate.Same, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep, tb := ab(t, steady(map[string]float64{"ns/op": tt.base}), steady(map[string]float64{"ns/op": tt.head}), tt.policy)
			r := rowOf(t, rep, "NotSlower/sessions=16"+procs(), "sec/op")
			assert.Equal(t, tt.want, r.Verdict, r.Reason)
			assert.InDelta(t, tt.head/tt.base, r.Ratio, 1e-9)
			assert.Equal(t, tt.fails, len(tb.errors) > 0, "%v", tb.errors)
			assert.Contains(t, strings.Join(tb.logged, "\n"), string(tt.want), "the table is logged")
			require.NotNil(t, rep.AB)
			assert.Equal(t, 1, rep.AB.Ops)
			assert.Positive(t, rep.AB.Elapsed)
			assert.Contains(t, rep.AB.Stopped, map[bool]string{true: "confirmed", false: "all is decided"}[tt.fails])
		})
	}
}

func procs() string {
	if n := runtime.GOMAXPROCS(0); n != 1 {
		return fmt.Sprintf("-%d", n)
	}
	return ""
}

// TestABTakesTurns: A A' A' A …, and then A B B A ….
func TestABTakesTurns(t *testing.T) {
	var order strings.Builder
	arm := func(name string) func(*testing.B) {
		return func(b *testing.B) {
			order.WriteString(name)
			steady(map[string]float64{"ns/op": 100})(b)
		}
	}
	var rep *gate.Report
	(&fakeTB{TB: t}).run(func(tb testing.TB) { rep = gate.ABA(tb, arm("A"), arm("a"), arm("B"), perOp) })
	require.NotNil(t, rep)
	assert.Equal(t, "AaB"+strings.Repeat("AaaA", 5)+strings.Repeat("ABBA", 5), order.String(),
		"each is warmed up once; ten pairs of noise; ten pairs are enough if nothing varies")
}

// TestABFailures: nothing was measured, and AB says why.
func TestABFailures(t *testing.T) {
	fine := steady(map[string]float64{"ns/op": 100})
	samples := 0
	dies := func(b *testing.B) {
		if samples++; samples > 5 {
			b.Fatal("the server has gone:\n", "connection refused")
		}
		fine(b)
	}
	for _, tt := range []struct {
		name       string
		base, head func(*testing.B)
		want       string
		why        string
	}{
		{"head fails", fine, func(b *testing.B) { b.Fatal("no server") }, "head: warm-up: it has failed: ", "testing.Benchmark would say nothing"},
		{"base fails", func(b *testing.B) { b.Error("no server"); fine(b) }, fine, "base: warm-up: it has failed: ", "Error is a failure as well"},
		{"head skips", fine, func(b *testing.B) { b.Skip("no Docker") }, "head: warm-up: it has skipped itself: ", "a gate that has seen nothing must not pass"},
		{"head dies half-way", fine, dies, "head: sample 5: it has failed: ", "what was found until then is still there"},
		{"goexit", fine, func(*testing.B) { runtime.Goexit() }, "head: warm-up: ", "it would be taken for done"},
		{"no loop", fine, func(*testing.B) {}, "", "a loop over b.N of none: it is called twice and has made ops iterations"},
		{"sub-benchmarks", fine, func(b *testing.B) { b.Run("x", fine) }, "it must be a loop over b.Loop or b.N, without b.Run", "testing.Benchmark adds them up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := perOp
			p.Ops = 2
			rep, tb := ab(t, tt.base, tt.head, p)
			require.NotNil(t, rep, tb.fatal)
			if tt.want == "" {
				return
			}
			require.Len(t, rep.Problems, 1, tt.why)
			assert.Contains(t, rep.Problems[0], tt.want)
			assert.Contains(t, strings.Join(tb.errors, "\n"), tt.want)
			assert.ErrorIs(t, rep.Err(), gate.ErrFailed)
			assert.Equal(t, "a side has failed", rep.AB.Stopped)
		})
	}
	assert.Equal(t, 6, samples)
}

// TestABKeepsWhatItFound: a side that dies after the first look.
func TestABKeepsWhatItFound(t *testing.T) {
	samples := 0
	rep, _ := ab(t, steady(map[string]float64{"ns/op": 100}), func(b *testing.B) {
		if samples++; samples > 12 {
			b.Fatal("gone")
		}
		steady(map[string]float64{"ns/op": 110})(b)
	}, perOp)
	require.Len(t, rep.Problems, 1)
	assert.Contains(t, rep.Problems[0], "head: sample 12: it has failed: ")
	assert.Contains(t, rep.Problems[0], "gone")
	assert.Equal(t, 11, rep.AB.Pairs)
	assert.Equal(t, 11, rep.Rows[0].Base.N)
}

// TestFailureText holds that a benchmark's log can be read, for which the testing
// package has no function.
func TestFailureText(t *testing.T) {
	_, tb := ab(t, steady(nil), func(b *testing.B) { b.Fatalf("554 5.7.1 %s", "no") }, perOp)
	require.Len(t, tb.errors, 1)
	assert.Contains(t, tb.errors[0], "554 5.7.1 no")
}

// TestABMisuse: it cannot begin.
func TestABMisuse(t *testing.T) {
	fine := steady(map[string]float64{"ns/op": 100})
	for _, tt := range []struct {
		name       string
		base, head func(*testing.B)
		policy     gate.Policy
		want       string
	}{
		{"nil", fine, nil, perOp, "a side is nil"},
		{"policy", fine, fine, gate.Policy{Alpha: 1}, "Policy.Alpha is 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep, tb := ab(t, tt.base, tt.head, tt.policy)
			assert.Nil(t, rep)
			assert.Contains(t, tb.fatal, tt.want)
		})
	}
	t.Run("in a benchmark", func(t *testing.T) {
		res := testing.Benchmark(func(b *testing.B) { gate.AB(b, fine, fine, perOp) })
		assert.Zero(t, res.N, "it has failed, and not waited for itself")
	})
}

func TestABBudget(t *testing.T) {
	slow := func(b *testing.B) {
		for b.Loop() {
			<-time.After(time.Millisecond)
		}
	}
	t.Run("too short", func(t *testing.T) {
		p := perOp
		p.Budget = 20 * time.Millisecond
		rep, tb := ab(t, slow, slow, p)
		require.Len(t, rep.Problems, 1)
		assert.Contains(t, rep.Problems[0], "Policy.Budget of 20ms is too short")
		assert.Contains(t, rep.Problems[0], "at least 40 are needed")
		assert.NotEmpty(t, tb.errors)
	})
	t.Run("go test ends before", func(t *testing.T) {
		tb := &deadlineTB{fakeTB{TB: t}, time.Now().Add(10 * time.Millisecond)}
		var rep *gate.Report
		done := make(chan struct{})
		go func() {
			defer close(done)
			rep = gate.AB(tb, slow, slow, perOp)
		}()
		<-done
		require.Len(t, rep.Problems, 1)
		require.NotEmpty(t, rep.Notes)
		assert.Contains(t, rep.Notes[0], "go test ends at its -timeout")
	})
	t.Run("spent", func(t *testing.T) {
		// It goes up and down by far more than a thousand pairs could average out,
		// which is where AB ends on a quick machine.
		rng := rand.New(rand.NewPCG(1, 2))
		noisy := func(b *testing.B) {
			for b.Loop() {
			}
			b.ReportMetric(100*math.Exp(2*rng.NormFloat64()), "ns/op")
		}
		p := perOp
		p.Budget, p.FailUndecided = 2*time.Second, true
		rep, tb := ab(t, noisy, noisy, p)
		r := rep.Rows[0]
		require.Equal(t, gate.Undecided, r.Verdict, r.Reason)
		assert.Contains(t, r.Reason, "not decidable here")
		assert.Greater(t, r.Floor, 0.05)
		assert.Greater(t, r.Need, r.Base.N)
		assert.NotEmpty(t, tb.errors, "FailUndecided")
	})
	t.Run("test is cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		tb := &contextTB{fakeTB{TB: t}, ctx}
		var rep *gate.Report
		done := make(chan struct{})
		go func() {
			defer close(done)
			rep = gate.AB(tb, func(b *testing.B) {
				if n++; n == 7 {
					cancel()
				}
				slow(b)
			}, slow, perOp)
		}()
		<-done
		require.Len(t, rep.Problems, 1)
		assert.Contains(t, rep.Problems[0], "context canceled")
	})
}

type deadlineTB struct {
	fakeTB
	end time.Time
}

func (d *deadlineTB) Deadline() (time.Time, bool) { return d.end, true }

type contextTB struct {
	fakeTB
	ctx context.Context
}

func (c *contextTB) Context() context.Context { return c.ctx }

// TestABIterations: each sample has as many as take SampleTime, or Ops, and the
// flag of go test is as it was.
func TestABIterations(t *testing.T) {
	before := flag.Lookup("test.benchtime").Value.String()
	var ns []int
	count := func(b *testing.B) {
		for b.Loop() {
			<-time.After(100 * time.Microsecond)
		}
		ns = append(ns, b.N)
		b.ReportMetric(100, "ns/op")
	}
	p := perOp
	p.Ops, p.SampleTime = 0, 5*time.Millisecond
	rep, _ := ab(t, count, count, p)
	assert.Empty(t, rep.Problems)
	assert.Greater(t, rep.AB.Ops, 1)
	last := ns[len(ns)-40:]
	for _, n := range last {
		assert.Equal(t, rep.AB.Ops, n, "all samples have the same number")
	}
	assert.Equal(t, before, flag.Lookup("test.benchtime").Value.String())

	// With b.N in place of b.Loop the function is called twice a sample.
	ns = nil
	p.Ops = 3
	rep, _ = ab(t, func(b *testing.B) {
		for range b.N {
		}
		ns = append(ns, b.N)
		b.ReportMetric(100, "ns/op")
	}, count, p)
	assert.Empty(t, rep.Problems)
	assert.Contains(t, ns, 3)
	assert.Equal(t, 3, rep.AB.Ops)
}

// TestABMetrics: what a sample has.
func TestABMetrics(t *testing.T) {
	bench := func(b *testing.B) {
		b.SetBytes(10)
		for b.Loop() {
		}
		b.ReportMetric(1000, "msgs/s")
		b.ReportMetric(0, "errors/op")
	}
	units := func(rep *gate.Report) (all, gated []string) {
		for _, r := range rep.Rows {
			all = append(all, r.Unit)
			if r.Gated {
				gated = append(gated, r.Unit)
			}
		}
		return all, gated
	}
	p := gate.Policy{Ops: 100, Budget: 1500 * time.Millisecond}
	rep, _ := ab(t, bench, bench, p)
	all, gated := units(rep)
	assert.Equal(t, []string{"sec/op", "cpu-sec/op", "errors/op", "B/s", "msgs/s"}, all, "allocations are not asked for")
	assert.Equal(t, []string{"sec/op", "cpu-sec/op", "errors/op"}, gated)

	p.Metrics = []gate.Metric{{Unit: "allocs/op", Exact: true}, {Unit: "msgs/s"}}
	rep, _ = ab(t, bench, bench, p)
	_, gated = units(rep)
	assert.Equal(t, []string{"allocs/op", "msgs/s"}, gated)
	assert.Equal(t, gate.Same, rowOf(t, rep, rep.Rows[0].Benchmark, "allocs/op").Verdict)

	meter := func(b *testing.B) { bench(b); b.ReportMetric(5, "server-cpu-ns/op") }
	rep, _ = ab(t, meter, meter, gate.Policy{Ops: 100, Budget: 1500 * time.Millisecond})
	all, _ = units(rep)
	assert.NotContains(t, all, "cpu-sec/op", "the server's is the better one")
}

// TestABName: what is written to base.txt is the result of a benchmark, whatever
// the test is called.
func TestABName(t *testing.T) {
	for name, want := range map[string]string{
		"TestNotSlower":      "NotSlower",
		"TestX/sessions=4 b": "X/sessions=4_b",
		"Test":               "AB",
		"Test_slow":          "Slow",
		"Test/1":             "AB/1",
		"FuzzReply":          "FuzzReply",
		"":                   "AB",
		"Testétude/\u00a0\n": "Étude/__",
	} {
		dir := t.TempDir()
		var rep *gate.Report
		fine := steady(map[string]float64{"ns/op": 100})
		p := perOp
		p.Dir = dir
		(&fakeTB{TB: t, name: name}).run(func(tb testing.TB) { rep = gate.AB(tb, fine, fine, p) })
		require.NotNil(t, rep)
		f, err := os.Open(filepath.Join(dir, "base.txt"))
		require.NoError(t, err)
		r := benchfmt.NewReader(f, "base.txt")
		n := 0
		for r.Scan() {
			if res, ok := r.Result().(*benchfmt.Result); ok {
				assert.Equal(t, want+procs(), string(res.Name), "%q", name)
				n++
			}
		}
		assert.Equal(t, 10, n, "%q", name)
		f.Close()
	}
}
