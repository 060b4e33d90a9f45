package smtptest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/benchmail/benchmail/internal/cputime"
	"github.com/benchmail/benchmail/loadtest"
)

// Report reports res as metrics of b. [Benchmark] does so itself; Report is for
// results of loadtest.Run. Call it after the last iteration: the first b.Loop
// deletes all metrics.
//
//	ns/op                   time for an accepted message
//	MB/s                    mail data of accepted messages, in 1e6 octets per second
//	msgs/s                  accepted messages per second
//	p50-ns … max-ns         latency of mail transactions: p50-ns, p90-ns, p99-ns, max-ns
//	errors/op               share of messages refused, failed or in doubt, from 0 to 1
//	dial-p50-ns             from connect to ready, STARTTLS included; with Config.OpsPerSession,
//	dial-p99-ns             as sessions are opened within the measured part then
//	cpu-ns/op               CPU time of this process for an accepted message, the load engine's and
//	                        that of a server in the same process; without Config.Meter, on Unix
//	server-cpu-ns/op        CPU time of the server for an accepted message; with Config.Meter
//	server-peak-RSS-bytes   largest resident memory of the server; with a Config.Meter that knows it
//
// The set depends on the configuration only, never on what happened, so that it
// is the same for each -count. All times are res's own, from the start of the
// first message to the last reply. The clock of the testing package stops when
// the last iteration is handed out, with messages still in flight on every other
// session.
//
// What is per message is per accepted message: a server does not get faster by
// refusing half of them. Report fails b if none was accepted, as nothing is known
// then, and if Config.Meter has failed.
//
// The first call in a process of go test -bench also writes the direction of
// these units to standard output, as in "Unit msgs/s better=higher", for the
// programs that read benchmark results.
func Report(b *testing.B, res *loadtest.Result) {
	b.Helper()
	switch {
	case res.Accepted == 0:
		b.Fatalf("smtptest: none of %d messages was accepted%s", res.Ops, findings(res))
	case res.Config.Meter != nil && res.Usage == nil:
		b.Fatalf("smtptest: Config.Meter has measured nothing: %v", errors.Join(res.Warnings...))
	}
	printUnits()

	accepted := float64(res.Accepted)
	b.ReportMetric(ns(float64(res.Elapsed)/accepted), "ns/op")
	if s := res.Elapsed.Seconds(); s > 0 && res.Bytes > 0 {
		b.ReportMetric(mbPerSec(float64(res.Bytes)/1e6/s), "MB/s")
	}
	b.ReportMetric(res.Rate(), "msgs/s")
	quantile := func(h *loadtest.Histogram, q float64, unit string) {
		var d time.Duration
		if h != nil && h.Count() > 0 {
			d = h.Quantile(q)
		}
		b.ReportMetric(ns(float64(d)), unit)
	}
	quantile(res.Latency, 0.50, "p50-ns")
	quantile(res.Latency, 0.90, "p90-ns")
	quantile(res.Latency, 0.99, "p99-ns")
	quantile(res.Latency, 1, "max-ns")
	b.ReportMetric(share(res.ErrorRate()), "errors/op")
	if res.Config.OpsPerSession > 0 {
		quantile(res.Dial, 0.50, "dial-p50-ns")
		quantile(res.Dial, 0.99, "dial-p99-ns")
	}
	if res.Config.Meter == nil && cputime.Process() > 0 {
		b.ReportMetric(ns(float64(res.CPU)/accepted), "cpu-ns/op")
	}
	if res.Usage != nil {
		b.ReportMetric(ns(float64(res.Usage.CPU)/accepted), "server-cpu-ns/op")
		if res.Usage.PeakRSS > 0 {
			b.ReportMetric(float64(res.Usage.PeakRSS), "server-peak-RSS-bytes")
		}
	}
}

// A 0 goes astray: go test leaves out a ns/op of 0, and benchfmt, which turns
// p50-ns into p50-sec, leaves the unit as it is where this does not change the
// value. The metric would be a hole among the others. So these functions return
// the least number that go test does not print as 0.

func ns(v float64) float64 { return max(v, 1) }

func mbPerSec(v float64) float64 { return max(v, 0.01) } // printed with two decimals

// share lets 0 be, which has no unit to tidy: but one error in a hundred million
// is not none, and go test prints seven decimals.
func share(r float64) float64 {
	if r > 0 {
		return max(r, 1e-7)
	}
	return r
}

// unitLines is the direction of each unit that golang.org/x/perf does not know by
// itself: gates need it. All of them at once, that of package containers' own
// metric too, as only the first call may write. Never a line of another form:
// "word: text" would be a benchmark configuration, and benchstat does not compare
// results whose configurations differ.
const unitLines = `Unit msgs/s better=higher
Unit p50-ns better=lower
Unit p90-ns better=lower
Unit p99-ns better=lower
Unit max-ns better=lower
Unit errors/op better=lower
Unit dial-p50-ns better=lower
Unit dial-p99-ns better=lower
Unit cpu-ns/op better=lower
Unit server-cpu-ns/op better=lower
Unit server-peak-RSS-bytes better=lower
Unit server-RSS-bytes/session better=lower
`

var unitsOnce sync.Once

// printUnits writes unitLines where this cannot do harm. Without -v, go test
// prints a benchmark's name before all of its runs but the very first (-count,
// -cpu, the steps towards b.N), and the result when it has one: what is written
// in between makes the line invalid and the result is lost. So it must be the
// first run, and it is if this is the first call: a benchmark whose first run
// fails is not run again.
func printUnits() {
	unitsOnce.Do(func() {
		// In tests that use testing.Benchmark nobody reads benchmark results.
		if f := flag.Lookup("test.bench"); f == nil || f.Value.String() == "" {
			return
		}
		fmt.Fprint(os.Stdout, unitLines) // one write
	})
}
