package gate_test

import (
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

func table(t *testing.T, r *gate.Report) string    { return written(t, r.WriteTable) }
func markdown(t *testing.T, r *gate.Report) string { return written(t, r.WriteMarkdown) }

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, write(&b))
	return b.String()
}

// summary is of ten samples whose interval is 2 % to each side.
func summary(median float64) gate.Summary {
	return gate.Summary{N: 10, Median: median, Lo: 0.98 * median, Hi: 1.02 * median}
}

const (
	pkg  = "example.org/server"
	send = "Send/sessions=16/size=4k-2"
)

// row is one that was compared.
func row(unit string, better gate.Direction, base, head, p float64, v gate.Verdict, reason string) gate.Row {
	r := gate.Row{
		Package: pkg, Benchmark: send, Unit: unit, Better: better, Gated: v != gate.NotGated,
		Base: summary(base), Head: summary(head), P: p, MinEffect: 0.05, Verdict: v, Reason: reason,
	}
	if base != 0 && head != 0 {
		r.Ratio, r.RatioLo, r.RatioHi = head/base, 0.98*head/base, 1.02*head/base
	}
	return r
}

// failing is a report with a row of each kind.
func failing() *gate.Report {
	exact := row("errors/op", gate.Lower, 0, 0.0125, 0, gate.Worse, "0 in all 10 samples of the base, and up to 12.50m now")
	exact.Exact = true
	undecided := row("server-cpu-sec/op", gate.Lower, 31.2e-6, 32.3e-6, 0.083, gate.Undecided, "3.5 % more, which may be chance: about 40 samples would tell")
	undecided.Need = 40
	few := row("p99-sec", gate.Lower, 4.1e-3, 4.0e-3, -1, gate.TooFew, "2 samples of each side: 5 are needed")
	few.Base.N, few.Base.Lo, few.Base.Hi = 2, 0, 0
	few.Head.N, few.Head.Lo, few.Head.Hi = 2, 0, 0
	missing := gate.Row{Package: pkg, Benchmark: "Deliver-2", Gated: true, P: -1, Verdict: gate.Missing, Reason: "the head does not have it"}
	added := gate.Row{Package: pkg, Benchmark: "Quit-2", Unit: "sec/op", Better: gate.Lower, Head: summary(2e-6), P: -1, Verdict: gate.New, Reason: "the base does not have it"}
	invalid := gate.Row{Package: pkg, Benchmark: "Odd-2", Unit: "sec/op", Better: gate.Lower, Gated: true, P: -1, Verdict: gate.Invalid, Reason: "the head has a value that is not a number",
		Base: summary(1), Head: gate.Summary{N: 10, Median: math.NaN(), Lo: math.Inf(-1), Hi: math.Inf(1)}}
	worse := row("sec/op", gate.Lower, 74.12e-6, 81.53e-6, 0.00001, gate.Worse, "10.0 % more, at least 7.9 %, where 5 % are allowed (p = 0.00001)")
	worse.Floor = 0.013
	return &gate.Report{
		Policy: gate.Policy{Alpha: 0.01, MinEffect: 0.05, Budget: 2 * time.Minute, SampleTime: 200 * time.Millisecond},
		Rows: []gate.Row{
			worse, undecided, exact, few, missing, invalid, added,
			row("msgs/s", gate.Higher, 13_491, 12_265, 0.00001, gate.NotGated, ""),
			row("B/s", gate.Higher, 55.2e6, 50.1e6, 0.00001, gate.NotGated, ""),
			row("server-peak-RSS-bytes", gate.Lower, 64<<20, 65<<20, 0.4, gate.NotGated, ""),
			row("dials/op", 0, 0, 0, 1, gate.NotGated, ""),
		},
		Problems: []string{"head.txt, line 12 cannot be read: parsing measurement: invalid syntax"},
		Notes:    []string{"errors/op varies in the head."},
		AB:       &gate.ABInfo{Pairs: 10, NoisePairs: 5, Ops: 2700, Looks: 3, Elapsed: 31_234 * time.Millisecond, Stopped: "all decided"},
	}
}

// passing is a report without a failure.
func passing() *gate.Report {
	better := row("p99-sec", gate.Lower, 4.1e-3, 3.3e-3, 0.00004, gate.Better, "19.5 % less")
	same := row("sec/op", gate.Lower, 74.12e-6, 74.53e-6, 0.31, gate.Same, "0.6 % more, at most 2.1 %, where 5 % are allowed")
	return &gate.Report{Rows: []gate.Row{same, better, row("msgs/s", gate.Higher, 13_491, 13_417, 0.31, gate.NotGated, "")}}
}
