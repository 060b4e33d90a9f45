package gate_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/containers"
	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/loadtest/gate"
	"github.com/benchmail/benchmail/smtptest"
)

// TestProof measures how often the gate is right: the same server on both sides
// must not alarm it, and one that is some 10 % slower must. Each comparison has
// servers of its own, and the kinds of comparison take turns. This printed the
// figures in the documentation of package gate:
//
//	BENCHMAIL_PROOF=40 go test -count=1 -run Proof -v -timeout 5h -benchtime 100ms ./examples/gate
//
// Without BENCHMAIL_PROOF each kind but Compare is tried once, with a head that is
// much slower, to see that it works; it proves nothing.
func TestProof(t *testing.T) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("BENCHMAIL_PROOF"), "1"))
	require.NoError(t, err, "BENCHMAIL_PROOF is how often to compare")
	proof := os.Getenv("BENCHMAIL_PROOF") != ""

	kinds := []*kind{
		{name: "AB in process, same", compare: inProcess(0)},
		{name: "AB in process, slower", compare: inProcess(5), slower: true},
		{name: "AB of containers, same", compare: inContainers(0), docker: true},
		{name: "AB of containers, slower", compare: inContainers(6), docker: true, slower: true},
		{name: "Compare of 10 and 10, same", compare: oneAfterTheOther(0), contrast: true},
		{name: "Compare of 10 and 10, slower", compare: oneAfterTheOther(5), contrast: true, slower: true},
	}
	if !proof {
		kinds[1].compare, kinds[3].compare = inProcess(60), inContainers(160)
		kinds = kinds[:4]
		proofPolicy.Budget, proofPolicy.MinEffect = time.Minute, 0.25
	}
	for i := range n {
		for _, k := range kinds {
			t.Run(fmt.Sprintf("%s/%d", k.name, i), func(t *testing.T) {
				tr := k.compare(t)
				t.Logf("%s: %+v", k.name, tr)
				k.trials = append(k.trials, tr)
			})
		}
	}
	for _, k := range kinds {
		if k.docker && len(k.trials) == 0 {
			continue // there is no Docker, which the subtests have said
		}
		require.Len(t, k.trials, n, "%s: some have failed", k.name)
		alarms := k.report(t)
		switch {
		case k.contrast:
		case k.slower:
			assert.GreaterOrEqual(t, alarms, 0.95, k.name)
		default:
			assert.LessOrEqual(t, alarms, 0.01, k.name)
		}
	}
}

// A kind of comparison.
type kind struct {
	name     string
	compare  func(*testing.T) trial
	slower   bool
	docker   bool
	contrast bool // it is here for contrast only
	trials   []trial
}

// A trial is one comparison.
type trial struct {
	alarm   bool // the head is called worse
	same    bool // the head is said not to be worse
	time    float64
	cpu     float64 // ratios of head and base
	samples int     // of each side
	took    time.Duration
}

// report logs what came out, and returns the share of alarms.
func (k *kind) report(t *testing.T) float64 {
	t.Helper()
	alarms, same := 0, 0
	for _, tr := range k.trials {
		if tr.alarm {
			alarms++
		}
		if tr.same {
			same++
		}
	}
	three := func(format string, value func(trial) float64) string {
		var v []float64
		for _, tr := range k.trials {
			v = append(v, value(tr))
		}
		slices.Sort(v)
		return fmt.Sprintf(format+" ["+format+" … "+format+"]", v[len(v)/2], v[0], v[len(v)-1])
	}
	n := len(k.trials)
	t.Logf("%s: of %d: worse %d, same %d, undecided %d; head/base: time %s, CPU %s; %s samples of each side; %s s", k.name, n, alarms, same, n-alarms-same,
		three("%.3f", func(tr trial) float64 { return tr.time }),
		three("%.3f", func(tr trial) float64 { return tr.cpu }),
		three("%.0f", func(tr trial) float64 { return float64(tr.samples) }),
		three("%.0f", func(tr trial) float64 { return tr.took.Seconds() }))
	return float64(alarms) / float64(n)
}

// judged makes a trial of a Report.
func judged(t *testing.T, rep *gate.Report, start time.Time) trial {
	t.Helper()
	require.Empty(t, rep.Problems)
	tr := trial{took: time.Since(start).Round(time.Second), same: true}
	for _, row := range rep.Rows {
		switch {
		case row.Verdict == gate.Worse:
			tr.alarm = true
		case row.Gated && row.Verdict != gate.Same && row.Verdict != gate.Better:
			tr.same = false
		}
		switch row.Unit {
		case "sec/op":
			tr.time, tr.samples = row.Ratio, row.Base.N
		case "cpu-sec/op", "server-cpu-sec/op":
			tr.cpu = row.Ratio
		}
	}
	tr.same = tr.same && !tr.alarm
	return tr
}

// What is compared: the default policy, and 16 sessions.
var (
	proofPolicy = gate.Policy{Budget: 3 * time.Minute}
	proofLoad   = loadtest.Config{Sessions: 16}
)

func inProcess(burn int) func(*testing.T) trial {
	return func(t *testing.T) trial {
		bench := func(srv *smtptest.Server) func(*testing.B) {
			d := srv.Dialer()
			return func(b *testing.B) { smtptest.Benchmark(b, d, proofLoad) }
		}
		base, head := startServer(t, 0), startServer(t, burn)
		start := time.Now()
		return judged(t, gate.AB(newRecorder(t), bench(base), bench(head), proofPolicy), start)
	}
}

func inContainers(burn int) func(*testing.T) trial {
	return func(t *testing.T) trial {
		start := time.Now()
		rep := containers.AB(newRecorder(t), server(), server("-burn", strconv.Itoa(burn)), func(b *testing.B, srv *containers.Server) {
			load := proofLoad
			load.Meter = srv
			smtptest.Benchmark(b, srv.MustDialer(b), load)
		}, proofPolicy)
		return judged(t, rep, start)
	}
}

// oneAfterTheOther does what people do: ten runs of the base, and then ten of the
// head, each as long as -benchtime says.
func oneAfterTheOther(burn int) func(*testing.T) trial {
	return func(t *testing.T) trial {
		start := time.Now()
		ten := func(burn int) string {
			d := startServer(t, burn).Dialer()
			var s strings.Builder
			for range 10 {
				res := testing.Benchmark(func(b *testing.B) { smtptest.Benchmark(b, d, proofLoad) })
				require.Positive(t, res.N)
				fmt.Fprintf(&s, "BenchmarkKnob %s\n", res)
			}
			return s.String()
		}
		base := ten(0)
		rep, err := gate.Compare(strings.NewReader(base), strings.NewReader(ten(burn)), gate.Policy{})
		require.NoError(t, err)
		return judged(t, rep, start)
	}
}
