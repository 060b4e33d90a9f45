package gate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// A machine makes samples as a busy machine would. All is multiplied: noise is
// log-normal.
type machine struct {
	noise   float64 // standard deviation of a sample's logarithm
	drift   float64 // the slope of time, for an hour
	wave    float64 // amplitude of a slow wave of 40 seconds
	spikes  float64 // chance that a sample takes up to twice as long
	bursts  float64 // chance that a burst of a second begins in which all takes half as long again
	slower  float64 // what the head takes more than the base
	metrics int     // how many metrics are gated, all alike and independent; 0 means 1
}

const sampleTime = 250 * time.Millisecond

// sampler returns samples of the machine, and its clock.
func (m machine) sampler(seed uint64) (take func(head bool) []float64, now func() time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 2))
	var clock, burst time.Duration
	take = func(head bool) []float64 {
		clock += sampleTime
		if rng.Float64() < m.bursts {
			burst = clock + time.Second
		}
		slow := 1 + m.drift*clock.Hours()
		slow *= 1 + m.wave*math.Sin(clock.Seconds()*2*math.Pi/40)
		if clock < burst {
			slow *= 1.5
		}
		if rng.Float64() < m.spikes {
			slow *= 1 + rng.Float64()
		}
		if head {
			slow *= 1 + m.slower
		}
		values := make([]float64, max(m.metrics, 1))
		for i := range values {
			values[i] = 1e5 * slow * math.Exp(m.noise*rng.NormFloat64())
		}
		return values
	}
	return take, func() time.Duration { return clock }
}

// policy gates the machine's metrics.
func (m machine) policy(p gate.Policy) gate.Policy {
	for i := range max(m.metrics, 1) {
		p.Metrics = append(p.Metrics, gate.Metric{Unit: fmt.Sprintf("m%d-ns/op", i), Better: gate.Lower})
	}
	return p
}

// ab runs AB on the machine.
func (m machine) ab(t *testing.T, p gate.Policy, seed uint64) *gate.Report {
	take, now := m.sampler(seed)
	rep, err := gate.RunSequence(m.policy(p), func(arm int) (*benchfmt.Result, error) {
		res := &benchfmt.Result{Name: benchfmt.Name("Simulated"), Iters: 1}
		for i, v := range take(arm == gate.ArmHead) {
			res.Values = append(res.Values, benchfmt.Value{Value: v * 1e-9, Unit: fmt.Sprintf("m%d-sec/op", i)})
		}
		return res, nil
	}, now)
	require.NoError(t, err)
	return rep
}

// compare runs n samples of the base and then n of the head, one after the
// other, and compares them.
func (m machine) compare(t *testing.T, p gate.Policy, n int, seed uint64) *gate.Report {
	take, _ := m.sampler(seed)
	file := func(head bool) string {
		var s strings.Builder
		for range n {
			s.WriteString("BenchmarkSimulated 1")
			for i, v := range take(head) {
				fmt.Fprintf(&s, " %v m%d-ns/op", v, i)
			}
			s.WriteByte('\n')
		}
		return s.String()
	}
	rep, err := gate.Compare(strings.NewReader(file(false)), strings.NewReader(file(true)), m.policy(p))
	require.NoError(t, err)
	return rep
}

// share returns how often a verdict came in so many runs with different seeds, and
// how many samples of each side they took on average.
func share(t *testing.T, runs int, verdict gate.Verdict, run func(seed uint64) *gate.Report) (share, samples float64) {
	hits := 0
	for seed := range runs {
		rep := run(uint64(seed))
		hit := false
		for _, row := range rep.Rows {
			hit = hit || row.Verdict == verdict
		}
		require.Empty(t, rep.Problems)
		if hit {
			hits++
		}
		samples += float64(rep.Rows[0].Base.N) / float64(runs)
	}
	return float64(hits) / float64(runs), samples
}

// atMost is what a chance of p can bring in so many runs, but for one time in a
// thousand.
func atMost(p float64, runs int) float64 {
	return p + 3.1*math.Sqrt(p*(1-p)/float64(runs)) + 1/float64(runs)
}

// noises are the machines on which nothing has changed.
var noises = []struct {
	name string
	machine
	why string
}{
	{"noise 1 %", machine{noise: 0.01}, "server CPU time on an idle machine"},
	{"noise 5 %", machine{noise: 0.05}, "time on a machine with some other work"},
	{"noise 20 %", machine{noise: 0.2}, "a machine that is good for nothing"},
	{"three metrics", machine{noise: 0.05, metrics: 3}, "each is one more chance of a false alarm"},
	{"drift", machine{noise: 0.02, drift: 10}, "it gets hot: 20 % slower after a minute and a bit"},
	{"wave", machine{noise: 0.02, wave: 0.2}, "a neighbour comes and goes"},
	{"spikes", machine{noise: 0.02, spikes: 0.1}, "outliers in one direction"},
	{"bursts", machine{noise: 0.02, bursts: 0.02}, "neighbouring samples are slow together"},
}

// TestFalseAlarms: with the same on both sides, and with no minimum effect to
// speak of, the chance of a false alarm is at most alpha.
func TestFalseAlarms(t *testing.T) {
	const alpha, runs = 0.05, 400 / simulated
	p := gate.Policy{Alpha: alpha, MinEffect: 1e-9, Budget: time.Minute}
	for _, tt := range noises {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ab, _ := share(t, runs, gate.Worse, func(seed uint64) *gate.Report { return tt.ab(t, p, seed) })
			assert.LessOrEqual(t, ab, atMost(alpha/2, runs), "AB: %s", tt.why)
			compare, _ := share(t, runs, gate.Worse, func(seed uint64) *gate.Report { return tt.compare(t, p, 10, seed) })
			if tt.drift == 0 && tt.wave == 0 && tt.bursts == 0 {
				assert.LessOrEqual(t, compare, atMost(alpha/2, runs), "Compare: %s", tt.why)
			}
			t.Logf("worse, with the same on both sides: AB %.3f, Compare %.3f; wanted %.3f", ab, compare, alpha/2)
		})
	}
}

// TestFalseAlarmsByDefault: with the default policy they are all but impossible,
// and AB says that the head is not worse.
func TestFalseAlarmsByDefault(t *testing.T) {
	const runs = 100 / simulated
	for _, tt := range noises {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ab, _ := share(t, runs, gate.Worse, func(seed uint64) *gate.Report { return tt.ab(t, gate.Policy{}, seed) })
			assert.LessOrEqual(t, ab, 0.01, tt.why)
			same, n := share(t, runs, gate.Same, func(seed uint64) *gate.Report { return tt.ab(t, gate.Policy{}, seed) })
			if tt.noise <= 0.05 {
				assert.GreaterOrEqual(t, same, 0.97, tt.why)
			}
			compare, _ := share(t, runs, gate.Worse, func(seed uint64) *gate.Report { return tt.compare(t, gate.Policy{}, 10, seed) })
			t.Logf("AB: worse %.2f, same %.2f, with %.0f samples of each; Compare of 10 and 10, one after the other: worse %.2f", ab, same, n, compare)
		})
	}
}

// TestPower: a head that is 10 % slower is found.
func TestPower(t *testing.T) {
	const runs = 100 / simulated
	for _, tt := range []struct {
		name string
		machine
		want float64
		why  string
	}{
		{"noise 1 %", machine{noise: 0.01}, 1, "it is ten times the noise"},
		{"noise 2 %", machine{noise: 0.02}, 0.99, ""},
		{"noise 5 %", machine{noise: 0.05}, 0.99, "common"},
		{"noise 10 %", machine{noise: 0.1}, 0.95, "as large as the difference"},
		{"three metrics", machine{noise: 0.05, metrics: 3}, 0.99, "all of them worse"},
		{"drift", machine{noise: 0.02, drift: 10}, 0.99, "turns take it out"},
		{"wave", machine{noise: 0.02, wave: 0.2}, 0.99, "turns take it out"},
		{"spikes", machine{noise: 0.02, spikes: 0.1}, 0.99, "ranks do not see how far out they are"},
		{"bursts", machine{noise: 0.02, bursts: 0.02}, 0.99, "ranks do not see how far out they are"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := tt.machine
			m.slower = 0.1
			ab, n := share(t, runs, gate.Worse, func(seed uint64) *gate.Report { return m.ab(t, gate.Policy{}, seed) })
			assert.GreaterOrEqual(t, ab, tt.want, tt.why)
			compare, _ := share(t, runs, gate.Worse, func(seed uint64) *gate.Report { return m.compare(t, gate.Policy{}, 10, seed) })
			t.Logf("10 %% slower: AB worse %.2f, with %.0f samples of each; Compare of 10 and 10: worse %.2f", ab, n, compare)
		})
	}
}

// TestFalseSame: a head that is as much slower as is just not allowed is not
// called the same more often than alpha says.
func TestFalseSame(t *testing.T) {
	const alpha, runs = 0.05, 400 / simulated
	for _, noise := range []float64{0.01, 0.05} {
		m := machine{noise: noise, slower: 0.05}
		p := gate.Policy{Alpha: alpha, MinEffect: 0.05, Budget: time.Minute}
		ab, _ := share(t, runs, gate.Same, func(seed uint64) *gate.Report { return m.ab(t, p, seed) })
		assert.LessOrEqual(t, ab, atMost(alpha, runs))
		compare, _ := share(t, runs, gate.Same, func(seed uint64) *gate.Report { return m.compare(t, p, 10, seed) })
		assert.LessOrEqual(t, compare, atMost(alpha, runs))
		t.Logf("noise %v: AB %.3f, Compare %.3f", noise, ab, compare)
	}
}
