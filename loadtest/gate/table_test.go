package gate_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"

	"github.com/benchmail/benchmail/loadtest/gate"
)

func TestTable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report *gate.Report
		want   string
	}{
		{"failing", failing(), `
                               base           head         change       p     n  floor  verdict
 example.org/server
  Send/sessions=16/size=4k-2
    sec/op                   74.12µ ± 2%    81.53µ ± 2%   +10.00%  <0.001    10   1.3%  worse
    server-cpu-sec/op        31.20µ ± 2%    32.30µ ± 2%    +3.53%   0.083    10      -  undecided
    errors/op                 0.000 ± 0%    12.50m ± 2%         ?  <0.001    10      -  worse
    p99-sec                  4.100m ±  ∞    4.000m ±  ∞    -2.44%       -     2      -  too few samples
  Deliver-2
    (benchmark)                   -              -              -       -     -      -  missing
  Odd-2
    sec/op                    1.000 ± 2%         -              -       -    10      -  invalid
  Quit-2
    sec/op                        -         2.000µ ± 2%         -       -  0+10      -  new

Not gated
 example.org/server
  Send/sessions=16/size=4k-2
    msgs/s                   13.49k ± 2%    12.27k ± 2%    -9.09%            10
    B/s                     52.64Mi ± 2%   47.78Mi ± 2%    -9.24%            10
    server-peak-RSS-bytes   64.00Mi ± 2%   65.00Mi ± 2%    +1.56%            10
    dials/op                  0.000 ± 0%     0.000 ± 0%     0.00%            10

Failures
  - head.txt, line 12 cannot be read: parsing measurement: invalid syntax
  - Send/sessions=16/size=4k-2 sec/op: 10.0 % more, at least 7.9 %, where 5 % are allowed (p = 0.00001)
  - Send/sessions=16/size=4k-2 errors/op: 0 in all 10 samples of the base, and up to 12.50m now
  - Send/sessions=16/size=4k-2 p99-sec: 2 samples of each side: 5 are needed
  - Deliver-2: the head does not have it
  - Odd-2 sec/op: the head has a value that is not a number

Notes
  - errors/op varies in the head.

Sampled 10 pairs of base and head and 5 pairs of the base and itself, 2700 iterations each, in 31.2s with 3 looks at
  them, and stopped: all decided.
FAIL: 1 problem, 2 of 6 gated metrics worse, 1 missing, 1 with too few samples, 1 invalid (1 undecided, 1 new)
`},
		{"passing", passing(), `
                base          head         change       p   n  verdict
 example.org/server
  Send/sessions=16/size=4k-2
    sec/op    74.12µ ± 2%   74.53µ ± 2%    +0.55%   0.310  10  same
    p99-sec   4.100m ± 2%   3.300m ± 2%   -19.51%  <0.001  10  better

Not gated
 example.org/server
  Send/sessions=16/size=4k-2
    msgs/s    13.49k ± 2%   13.42k ± 2%    -0.55%          10

PASS: none of 2 gated metrics worse (1 better, 1 same)
`},
		{"empty", &gate.Report{}, `
PASS: no metric is gated
`},
		{"nothing but a problem", &gate.Report{Problems: []string{"The base has no results."}}, `
Failures
  - The base has no results.

FAIL: 1 problem, nothing was judged
`},
		{"invalid", &gate.Report{Rows: []gate.Row{
			{Benchmark: "A", Unit: "sec/op", Gated: true, Verdict: gate.Invalid, Base: gate.Summary{N: 10}, Head: summary(1), P: -1, Reason: "base: NaN is no measurement"},
		}}, `
             base      head        change  p   n  verdict
  A
    sec/op      -     1.000 ± 2%        -  -  10  invalid

Failures
  - A sec/op: base: NaN is no measurement

FAIL: 1 of 1 gated metric invalid
`},
		{"worlds apart", &gate.Report{
			Policy: gate.Policy{FailUndecided: true},
			Rows: []gate.Row{
				{Benchmark: "A", Unit: "B/op", Gated: true, Verdict: gate.Undecided, Base: gate.Summary{N: 10, Median: 10, Lo: 1, Hi: 1e9}, Head: summary(10e9), Ratio: 1e9, P: 0.04, Reason: "40 samples would tell"},
				{Benchmark: "A", Unit: "allocs/op", Gated: true, Exact: true, Verdict: gate.Better, Base: gate.Summary{N: 1, Median: 12}, Head: gate.Summary{N: 3}, P: -1},
			},
		}, `
                 base               head          change      p    n  verdict
  A
    B/op        10.00 ± >9999%   9.313Gi ± 2%     ×1e+09  0.040   10  undecided
    allocs/op   12.00 ±     0%     0.000 ± 0%   -100.00%      -  1+3  better

Failures
  - A B/op: 40 samples would tell

FAIL: 1 of 2 gated metrics undecided (1 better)
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, strings.TrimPrefix(tt.want, "\n"), table(t, tt.report))
		})
	}
}

// Programs that read benchmark results must find none in a table: CI pipes its
// log to them, and a configuration keeps what follows from being compared.
func notBenchmarkResults(t *testing.T, text string) {
	t.Helper()
	probe := "\nBenchmarkProbe 1 1 ns/op\n"
	reader := benchfmt.NewReader(strings.NewReader(text+probe), "table")
	var records []benchfmt.Record
	for reader.Scan() {
		rec := reader.Result()
		records = append(records, rec)
		if res, ok := rec.(*benchfmt.Result); ok {
			assert.Empty(t, res.Config, "a line was taken for configuration")
		}
	}
	require.NoError(t, reader.Err())
	assert.Len(t, records, 1, "of the probe only")
	assert.Empty(t, reader.Units())
}

func TestTableIsNoBenchmarkResult(t *testing.T) {
	notBenchmarkResults(t, table(t, failing()))
	notBenchmarkResults(t, table(t, passing()))
	notBenchmarkResults(t, table(t, &gate.Report{}))
	for _, hostile := range []string{
		"commit: abc", "Benchmark", "BenchmarkX 1 2 ns/op", "Unit x better=lower", "pkg:", "x\ncommit: abc", "x\nBenchmarkY 1 2 ns/op", "x\r\nUnit ns/op better=higher",
	} {
		hostile := gate.Row{Package: hostile, Benchmark: hostile, Unit: hostile, Gated: true, Verdict: gate.Worse, Reason: hostile}
		rest := hostile
		rest.Gated, rest.Verdict = false, gate.NotGated
		long := strings.Repeat(hostile.Reason+" ", 50)
		notBenchmarkResults(t, table(t, &gate.Report{
			Rows:     []gate.Row{hostile, rest},
			Problems: []string{hostile.Reason, long}, Notes: []string{hostile.Reason, long},
			AB: &gate.ABInfo{Stopped: long},
		}))
	}
}

func TestTableFits(t *testing.T) {
	r := failing()
	r.Problems = append(r.Problems, strings.Repeat("Ein langer Satz über 3 µs ± 2 %. ", 30))
	for line := range strings.Lines(table(t, r)) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 120, line)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestTableWriteError(t *testing.T) {
	require.ErrorIs(t, failing().WriteTable(brokenWriter{}), errBroken)
}
