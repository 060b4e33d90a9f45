package gate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// bench makes the output of so many runs of a benchmark, with a value that goes
// up by a percent from run to run.
func bench(name string, runs int, metrics ...any) string {
	var s strings.Builder
	for i := range runs {
		fmt.Fprintf(&s, "Benchmark%s 1000", name)
		for j := 0; j < len(metrics); j += 2 {
			v, unit := metrics[j], metrics[j+1]
			if f, ok := v.(float64); ok {
				v = f * (1 + 0.002*float64(i))
			}
			fmt.Fprintf(&s, " %v %v", v, unit)
		}
		s.WriteByte('\n')
	}
	return s.String()
}

func compare(t *testing.T, base, head string, p gate.Policy) *gate.Report {
	t.Helper()
	rep, err := gate.Compare(strings.NewReader(base), strings.NewReader(head), p)
	require.NoError(t, err)
	return rep
}

// rowOf returns the row of a metric, and fails if there is none.
func rowOf(t *testing.T, rep *gate.Report, benchmark, unit string) gate.Row {
	t.Helper()
	for _, r := range rep.Rows {
		if r.Benchmark == benchmark && r.Unit == unit {
			return r
		}
	}
	t.Fatalf("no row of %s %s: %+v", benchmark, unit, rep.Rows)
	return gate.Row{}
}

func TestCompareVerdicts(t *testing.T) {
	named := func(m ...gate.Metric) gate.Policy { return gate.Policy{Metrics: m} }
	for _, tt := range []struct {
		name       string
		base, head string
		unit       string
		policy     gate.Policy
		want       gate.Verdict
		reason     string // part of it
		why        string
	}{
		{"same", bench("X", 10, 100.0, "ns/op"), bench("X", 10, 100.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Same, "not worse by more than 5 %", "the very same values"},
		{"slower", bench("X", 10, 100.0, "ns/op"), bench("X", 10, 110.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Worse, "10 % worse", "what the gate is for"},
		{"faster", bench("X", 10, 100.0, "ns/op"), bench("X", 10, 80.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Better, "20 % better", ""},
		{"certain and small", bench("X", 10, 100.0, "ns/op"), bench("X", 10, 103.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Same, "not worse by more than 5 %", "below the minimum effect, however certain"},
		{"small is too much", bench("X", 10, 100.0, "ns/op"), bench("X", 10, 103.0, "ns/op"), "sec/op", gate.Policy{MinEffect: 0.02},
			gate.Worse, "3 % worse", "if the policy says so"},
		{"rate is lower", bench("X", 10, 100.0, "MB/s"), bench("X", 10, 80.0, "MB/s"), "B/s", named(gate.Metric{Unit: "MB/s"}),
			gate.Worse, "20 % worse", "more is better: benchfmt knows"},
		{"rate is higher", bench("X", 10, 100.0, "msgs/s"), bench("X", 10, 120.0, "msgs/s"), "msgs/s", named(gate.Metric{Unit: "msgs/s"}),
			gate.Better, "20 % better", "more is better: we know our own"},
		{"direction of the results", "Unit frobs better=higher\n" + bench("X", 10, 100.0, "frobs"), bench("X", 10, 80.0, "frobs"), "frobs", named(gate.Metric{Unit: "frobs"}),
			gate.Worse, "20 % worse", "a Unit line"},
		{"direction of the policy", "Unit frobs better=higher\n" + bench("X", 10, 100.0, "frobs"), bench("X", 10, 80.0, "frobs"), "frobs", named(gate.Metric{Unit: "frobs", Better: gate.Lower}),
			gate.Better, "20 % better", "it is stronger than a Unit line"},
		{"no direction", bench("X", 10, 100.0, "frobs"), bench("X", 10, 80.0, "frobs"), "frobs", named(gate.Metric{Unit: "frobs"}),
			gate.Incomparable, "better=lower", "and what to do"},
		{"too few", bench("X", 3, 100.0, "ns/op"), bench("X", 3, 200.0, "ns/op"), "sec/op", gate.Policy{},
			gate.TooFew, "with 3 and 3 samples no difference has a p below 0.1, and 0.01 is needed: take 5 of each", "no difference could be found"},
		{"one", bench("X", 1, 100.0, "ns/op"), bench("X", 1, 200.0, "ns/op"), "sec/op", gate.Policy{},
			gate.TooFew, "take 5 of each", "somebody forgot -count"},
		{"few on one side", bench("X", 20, 100.0, "ns/op"), bench("X", 1, 200.0, "ns/op"), "sec/op", gate.Policy{},
			gate.TooFew, "with 20 and 1 samples", "a run that was cut off"},
		{"missing metric", bench("X", 10, 100.0, "ns/op", 5.0, "server-cpu-ns/op"), bench("X", 10, 100.0, "ns/op"), "server-cpu-sec/op", gate.Policy{},
			gate.Missing, "the head does not have this metric, and the base has it in 10 results", "the Meter was taken out"},
		{"new metric", bench("X", 10, 100.0, "ns/op"), bench("X", 10, 100.0, "ns/op", 5.0, "server-cpu-ns/op"), "server-cpu-sec/op", gate.Policy{},
			gate.New, "the base does not have this metric", "no failure"},
		{"NaN", bench("X", 10, 100.0, "ns/op"), bench("X", 9, 100.0, "ns/op") + bench("X", 1, "NaN", "ns/op"), "sec/op", gate.Policy{},
			gate.Invalid, "head: NaN is no measurement", "0/0 in a benchmark"},
		{"infinite", bench("X", 9, 100.0, "ns/op") + bench("X", 1, "+Inf", "ns/op"), bench("X", 10, 100.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Invalid, "base: +Inf is no measurement", "x/0 in a benchmark"},
		{"negative", bench("X", 10, 100.0, "ns/op"), bench("X", 10, "-5", "ns/op"), "sec/op", gate.Policy{},
			gate.Invalid, "is negative", "a clock that went back"},
		{"unit twice", bench("X", 10, 100.0, "ns/op"), bench("X", 10, 100.0, "ns/op", 200.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Invalid, "the unit is there twice in one result", "which of them is it?"},
		{"zero in the base", bench("X", 10, 0, "ns/op"), bench("X", 10, 100.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Incomparable, "it is 0 in the base", "no relative change"},
		{"zero on both sides", bench("X", 10, 0, "ns/op"), bench("X", 10, 0, "ns/op"), "sec/op", gate.Policy{},
			gate.Same, "0 on both sides", ""},
		{"zero in some", bench("X", 6, 0, "ns/op") + bench("X", 4, 1.0, "ns/op"), bench("X", 6, 0, "ns/op") + bench("X", 4, 1.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Undecided, "it is 0 in some samples", "there is an order, and no ratio"},
		{"zero in some, and more", bench("X", 6, 0, "ns/op") + bench("X", 4, 1.0, "ns/op"), bench("X", 10, 5.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Worse, "it went from 0 to", "the order is certain"},
		{"errors", bench("X", 10, 1.0, "ns/op", 0, "errors/op"), bench("X", 9, 1.0, "ns/op", 0, "errors/op") + bench("X", 1, 1.0, "ns/op", "0.001", "errors/op"), "errors/op", gate.Policy{},
			gate.Worse, "it was 0 in all of the base's 10 samples, and is up to 0.001 in 1 of the head's 10", "mail was lost: once is enough"},
		{"fewer errors", bench("X", 10, "0.5", "errors/op"), bench("X", 10, 0, "errors/op"), "errors/op", gate.Policy{},
			gate.Better, "exactly 0.5 and is exactly 0", ""},
		{"an allocation more", bench("X", 1, 46, "allocs/op"), bench("X", 1, 47, "allocs/op"), "allocs/op", gate.Policy{},
			gate.Worse, "it was exactly 46 and is exactly 47", "exact: one sample is enough"},
		{"an allocation more is allowed", bench("X", 1, 46, "allocs/op"), bench("X", 1, 47, "allocs/op"), "allocs/op", named(gate.Metric{Unit: "allocs/op", Exact: true, MinEffect: 0.05}),
			gate.Same, "which 5 % allow", "the policy's own limit for it"},
		{"allocations that vary", bench("X", 10, 100.0, "allocs/op"), bench("X", 10, 100.0, "allocs/op"), "allocs/op", gate.Policy{},
			gate.Same, "not exact, as it varies (base 100 to 101.8", "a server that runs along: no false alarm for one of them"},
		{"allocations that vary and grow", bench("X", 10, 100.0, "allocs/op"), bench("X", 10, 120.0, "allocs/op"), "allocs/op", gate.Policy{},
			gate.Worse, "20 % worse", ""},
		{"exact by the results", "Unit trips assume=exact better=lower\n" + bench("X", 1, 4, "trips"), bench("X", 1, 5, "trips"), "trips", named(gate.Metric{Unit: "trips"}),
			gate.Worse, "exactly 4 and is exactly 5", "benchfmt's assume=exact"},
		{"not gated", bench("X", 10, 1.0, "ns/op", 1.0, "p99-ns"), bench("X", 10, 1.0, "ns/op", 2.0, "p99-ns"), "p99-sec", gate.Policy{},
			gate.NotGated, "", "it is in the table, and that is all"},
		{"noisy", bench("X", 5, 100.0, "ns/op") + bench("X", 5, 160.0, "ns/op"), bench("X", 5, 108.0, "ns/op") + bench("X", 5, 161.0, "ns/op"), "sec/op", gate.Policy{},
			gate.Undecided, "samples of each would do", "nothing can be said, and it says so"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep := compare(t, tt.base, tt.head, tt.policy)
			r := rowOf(t, rep, "X", tt.unit)
			assert.Equal(t, tt.want, r.Verdict, "%s: %s", tt.why, r.Reason)
			assert.Contains(t, r.Reason, tt.reason)
			failures := map[gate.Verdict]bool{gate.Worse: true, gate.Missing: true, gate.TooFew: true, gate.Incomparable: true, gate.Invalid: true}
			assert.Equal(t, failures[tt.want], rep.Err() != nil, "%v", rep.Err())
			if rep.Err() != nil {
				assert.ErrorIs(t, rep.Err(), gate.ErrFailed)
				assert.ErrorContains(t, rep.Err(), r.Reason)
			}
			if tt.want == gate.Undecided && strings.Contains(r.Reason, "would do") {
				assert.Greater(t, r.Need, r.Base.N)
			}
		})
	}
}

// TestCompareFiles: what is wrong with the files as a whole.
func TestCompareFiles(t *testing.T) {
	x := bench("X-2", 10, 100.0, "ns/op")
	for _, tt := range []struct {
		name       string
		base, head string
		policy     gate.Policy
		want       string // in Failures; "" means none
		why        string
	}{
		{"fine", x, x, gate.Policy{}, "", ""},
		{"benchmark is missing", x + bench("Y-2", 10, 100.0, "ns/op"), x, gate.Policy{}, "Y-2: the head has no results of it", "it was deleted, or it failed"},
		{"benchmark is new", x, x + bench("Y-2", 10, 100.0, "ns/op"), gate.Policy{}, "", "nothing to compare it with"},
		{"nothing in common", x, bench("Y-2", 10, 100.0, "ns/op"), gate.Policy{}, "base and head have no benchmark in common", "two repositories"},
		{"another GOMAXPROCS", x, bench("X-4", 10, 100.0, "ns/op"), gate.Policy{}, "X-2: the head has no results of it; it has X-4, which ran with another GOMAXPROCS", "CI got another machine"},
		{"another package", "pkg: a\n" + x, "pkg: b\n" + x, gate.Policy{}, `it has one of this name in package "b"`, "the package was moved"},
		{"two packages", "pkg: a\n" + x + "pkg: b\n" + x, "pkg: a\n" + x + "pkg: b\n" + x, gate.Policy{}, "", "one name, two benchmarks"},
		{"line is broken", x, x + "BenchmarkX-2 \tsome log\n", gate.Policy{}, "head: line 11 cannot be read, and its result is lost", "a log in the middle of it: benchstat drops it without a word"},
		{"line is truncated", x, x[:len(x)-4], gate.Policy{}, "10 of 10 results of the base and 9 of 10 of the head have it", "the disk was full: what is left of it is a number in ns"},
		{"line has no unit", x, x[:len(x)-7], gate.Policy{}, "head: line 10 cannot be read", "the disk was full"},
		{"run has failed", x, x + "--- FAIL: BenchmarkY-2\nFAIL\tpkg\t1s\n", gate.Policy{}, "head: line 11 says that the run failed: --- FAIL: BenchmarkY-2", "what was printed before is not all"},
		{"panic", x + "panic: runtime error\n", x, gate.Policy{}, "base: line 11 says that the run failed: panic: runtime error", ""},
		{"configuration differs", "cpu: A\n" + x, "cpu: B\n" + x, gate.Policy{}, `the results' configuration differs: cpu is "A" and "B"`, "another machine"},
		{"configuration differs within", "cpu: A\n" + x + "cpu: B\n" + x, "cpu: A\n" + x, gate.Policy{}, `cpu is "A" and "B"`, "files of two machines in one"},
		{"configuration only in one", "cpu: A\n" + x, x, gate.Policy{}, `cpu is "A" and ""`, ""},
		{"configuration may differ", "commit: A\n" + x, "commit: B\n" + x, gate.Policy{IgnoreConfig: []string{"commit"}}, "", "the policy says so"},
		{"named metric is nowhere", x, x, gate.Policy{Metrics: []gate.Metric{{Unit: "server-cpu-ns/op"}}}, "no benchmark of the base has the metric server-cpu-ns/op", "a typing error must not pass"},
		{"nothing to gate", bench("X-2", 10, 1.0, "frobs"), bench("X-2", 10, 1.0, "frobs"), gate.Policy{}, "nothing was gated: no benchmark has any of ns/op", "a gate that has seen nothing"},
		{"file appended to itself", bench("X-2", 5, 100.0, "ns/op", 3.0, "p99-ns", 5.0, "msgs/s") + bench("X-2", 5, 100.0, "ns/op", 3.0, "p99-ns", 5.0, "msgs/s"), bench("X-2", 10, 100.0, "ns/op"), gate.Policy{},
			"each of its results more than once: was a file appended to itself?", "ten samples that are five"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep := compare(t, tt.base, tt.head, tt.policy)
			list := strings.Join(rep.Failures(), "\n")
			if tt.want == "" {
				assert.Empty(t, list, tt.why)
				return
			}
			assert.Contains(t, list, tt.want, tt.why)
			assert.ErrorIs(t, rep.Err(), gate.ErrFailed)
		})
	}
}

// TestCompareErrors: there is nothing to compare.
func TestCompareErrors(t *testing.T) {
	x := bench("X-2", 10, 100.0, "ns/op")
	broken := io.MultiReader(strings.NewReader(x), iotest.ErrReader(errors.New("disk on fire")))
	for _, tt := range []struct {
		name       string
		base, head io.Reader
		policy     gate.Policy
		is         error
		want       string
	}{
		{"empty base", strings.NewReader(""), strings.NewReader(x), gate.Policy{}, gate.ErrNoResults, "base: no benchmark results in 0 bytes: it must be the output of go test -bench"},
		{"empty head", strings.NewReader(x), strings.NewReader("PASS\nok\tpkg\t1s\n"), gate.Policy{}, gate.ErrNoResults, "head: no benchmark results"},
		{"head has failed", strings.NewReader(x), strings.NewReader("--- FAIL: BenchmarkX\nFAIL\tpkg\t1s\n"), gate.Policy{}, gate.ErrNoResults, "line 1 says that the run failed"},
		{"reader fails", broken, strings.NewReader(x), gate.Policy{}, nil, "base: disk on fire"},
		{"alpha", nil, nil, gate.Policy{Alpha: 5}, nil, "Policy.Alpha is 5: a probability"},
		{"min effect", nil, nil, gate.Policy{MinEffect: -1}, nil, "Policy.MinEffect is -1"},
		{"unit", nil, nil, gate.Policy{Metrics: []gate.Metric{{Unit: "ns per op"}}}, nil, `Policy.Metrics[0].Unit is "ns per op"`},
		{"unit twice", nil, nil, gate.Policy{Metrics: []gate.Metric{{Unit: "ns/op"}, {Unit: "sec/op"}}}, nil, "Metrics has sec/op twice"},
		{"direction", nil, nil, gate.Policy{Metrics: []gate.Metric{{Unit: "ns/op", Better: 7}}}, nil, "Better of ns/op is 7"},
		{"ignored key", nil, nil, gate.Policy{IgnoreConfig: []string{"a b("}}, nil, "IgnoreConfig"},
		{"budget", nil, nil, gate.Policy{Budget: -1}, nil, "must not be negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rep, err := gate.Compare(tt.base, tt.head, tt.policy)
			require.ErrorContains(t, err, tt.want)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			assert.Nil(t, rep)
		})
	}
}

// TestCompareManyMetrics: alpha is for all together, so with more metrics more
// samples are needed.
func TestCompareManyMetrics(t *testing.T) {
	var metrics []gate.Metric
	var values []any
	for i := range 20 {
		unit := fmt.Sprintf("m%d-ns/op", i)
		metrics = append(metrics, gate.Metric{Unit: unit, Better: gate.Lower})
		values = append(values, 100.0, unit)
	}
	p := gate.Policy{Metrics: metrics}
	rep := compare(t, bench("X", 5, values...), bench("X", 5, values...), p)
	assert.Contains(t, rowOf(t, rep, "X", "m0-sec/op").Reason, "take 8 of each", "5 and 5 samples have no p below .0079, and .0005 is needed")
	rep = compare(t, bench("X", 8, values...), bench("X", 8, values...), p)
	assert.Equal(t, gate.Same, rowOf(t, rep, "X", "m0-sec/op").Verdict)
}

func FuzzCompare(f *testing.F) {
	x := bench("X-2", 6, 100.0, "ns/op", 0, "errors/op", 5.0, "msgs/s")
	f.Add(x, x)
	f.Add("Unit a better=higher assume=exact\npkg: a\nBenchmarkX 1 NaN a\n", "BenchmarkX 1 1 a 1 a\nFAIL\t\n")
	f.Add(bench("X", 6, 0, "ns/op"), bench("X", 6, 1e308, "ns/op", -1.0, "B/op"))
	f.Fuzz(func(t *testing.T, base, head string) {
		rep, err := gate.Compare(strings.NewReader(base), strings.NewReader(head), gate.Policy{})
		if err != nil {
			assert.Nil(t, rep)
			return
		}
		// Whatever it says, it can be written.
		require.NoError(t, rep.WriteTable(io.Discard))
		require.NoError(t, rep.WriteMarkdown(io.Discard))
		_, err = json.Marshal(rep)
		require.NoError(t, err)
		// The same on both sides is never worse.
		rep, err = gate.Compare(strings.NewReader(base), strings.NewReader(base), gate.Policy{})
		require.NoError(t, err)
		for _, r := range rep.Rows {
			assert.NotContains(t, []gate.Verdict{gate.Worse, gate.Better, gate.New}, r.Verdict, "%+v", r)
		}
	})
}
