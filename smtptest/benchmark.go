package smtptest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/benchmail/benchmail/loadtest"
)

// Benchmark sends one message for each iteration of b.Loop to the server behind
// d, over cfg.Sessions sessions at once, reports the metrics that [Report] lists,
// and returns what it found. It is all that a benchmark needs:
//
//	func BenchmarkServer(b *testing.B) {
//		srv := smtptest.NewSink(b) // or your own server
//		smtptest.Benchmark(b, srv.Dialer(), loadtest.Config{Sessions: 16})
//	}
//
// How many messages is decided by -benchtime, so Ops, Duration and Continue of
// cfg must not be set. In CI give a count, as in -benchtime=20000x: a time
// overshoots when the server gets slower on the way, and high percentiles compare
// only between equal counts. The -timeout of go test, ten minutes if not given,
// is for all benchmarks of a package together.
//
// Sessions are opened and cfg.Warmup messages are sent before the first iteration;
// only with cfg.OpsPerSession are sessions opened within the measured part.
//
// Messages that the server refuses or loses are no failure but the metric
// errors/op, and their most frequent causes are logged, as are the reasons to
// doubt the result. Benchmark fails b, and does not return, if the load could not
// be applied or if not one message was accepted. A benchmark that must not lose
// any mail says so:
//
//	if res := smtptest.Benchmark(b, d, cfg); res.ErrorRate() > 0 {
//		b.Error("lost mail")
//	}
//
// Call it once in a benchmark function; use b.Run for several configurations,
// and put what differs into their names, as in "sessions=16/security=starttls",
// for benchstat -col /sessions. The function may be run by [testing.Benchmark],
// which keeps failures to itself: its result has N == 0 then.
//
// -benchmem counts what this process allocates between the first iteration and
// the moment the last one is handed out: the load engine, and the server if it
// runs in the same process.
func Benchmark(b *testing.B, d loadtest.Dialer, cfg loadtest.Config) *loadtest.Result {
	b.Helper()
	switch {
	case cfg.Ops != 0 || cfg.Duration != 0:
		b.Fatal("smtptest: Benchmark: Config.Ops and Config.Duration must be 0: -benchtime says how many messages are sent, as in -benchtime=20000x or -benchtime=10s")
	case cfg.Continue != nil:
		b.Fatal("smtptest: Benchmark: Config.Continue must be nil: Benchmark sets it to b.Loop. For a loop of your own call loadtest.Run and smtptest.Report")
	case d == nil:
		b.Fatal("smtptest: Benchmark: the Dialer is nil")
	}
	if b.N <= 1 { // otherwise a run before this one has printed the benchmark's name already
		printUnits()
	}

	b.StartTimer() // b.Loop fails if the caller has stopped it to set up a server
	asked, ended := int64(0), false
	cfg.Continue = func() bool {
		if ended = !b.Loop(); ended {
			return false
		}
		asked++
		return true
	}
	res, err := loadtest.Run(b.Context(), d, cfg)
	switch {
	case err != nil:
		b.Fatalf("smtptest: Benchmark: %v%s", err, findings(res))
	case asked == 0:
		b.Fatal("smtptest: Benchmark: b.Loop has ended before: call Benchmark once in a benchmark function, outside of any loop, and use b.Run for several")
	case !ended || res.Ops != asked:
		// Without failing, the framework would complain that the loop was left,
		// or report more iterations than there were messages.
		b.Fatalf("smtptest: Benchmark: the run ended after %d messages, before -benchtime was reached: Config.Pacer has an end. Use one without, or loadtest.Run and smtptest.Report", res.Ops)
	}
	Report(b, res)
	logFindings(b, res)
	return res
}

// findings says in a few lines what went wrong in a run that failed.
func findings(res *loadtest.Result) string {
	if res == nil || res.Ops == 0 && len(res.Errors) == 0 {
		return ""
	}
	var s strings.Builder
	fmt.Fprintf(&s, "\n%d messages: %d accepted, %d refused, %d failed, %d in doubt", res.Ops, res.Accepted, res.Refused, res.Failed, res.InDoubt)
	for _, line := range errorLines(res, 5) {
		s.WriteString("\n" + line)
	}
	return s.String()
}

// logFindings logs what a person should know beside the metrics. go test prints
// at most ten lines of a benchmark's log, so there are at most nine, and each is
// one line. b.Log is the only safe way: stdout and stderr would end up within the
// benchmark's result line.
func logFindings(b *testing.B, res *loadtest.Result) {
	b.Helper()
	const most = 4
	for i, w := range res.Warnings {
		if i == most-1 && len(res.Warnings) > most {
			b.Logf("and %d more warnings", len(res.Warnings)-i)
			break
		}
		b.Logf("warning: %s", oneLine(w.Error()))
	}
	for _, line := range errorLines(res, 4) {
		b.Log(line)
	}
}

// errorLines describes the most frequent kinds of errors in at most n+1 lines.
func errorLines(res *loadtest.Result, n int) (lines []string) {
	for i, e := range res.Errors {
		if i == n {
			return append(lines, fmt.Sprintf("and %d more kinds of errors", len(res.Errors)-i))
		}
		line := fmt.Sprintf("%d × %s", e.Count, e.Kind)
		if e.Example != nil {
			line += ": " + e.Example.Error()
		}
		lines = append(lines, oneLine(line))
	}
	return lines
}

// oneLine makes a line of s that is not too long: errors quote the server.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
