package gate

import (
	"flag"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/perf/benchfmt"
)

// AB compares two benchmarks that run by turns in this process, on this machine,
// now: base and head take turns (A B, B A, A B, …) in many short samples, so that
// what the machine does besides falls on both alike. It stops when the answer is
// clear or when Policy.Budget is spent, logs a table, writes what [Report.Check]
// writes, and fails tb if the head is worse.
//
//	func TestNotSlower(t *testing.T) {
//		base, head := startBase(t), startHead(t) // once, not in the functions below
//		gate.AB(t,
//			func(b *testing.B) { smtptest.Benchmark(b, base, cfg) },
//			func(b *testing.B) { smtptest.Benchmark(b, head, cfg) },
//			gate.Policy{})
//	}
//
// The functions are leaf benchmarks, with one loop over b.Loop or b.N and without
// b.Run. Each is called for every sample, through [testing.Benchmark], with the
// same number of iterations (-benchtime is not regarded), and with b.N in place of
// b.Loop twice, the first time with one iteration. What they set up before b.Loop
// costs time, and is in cpu-ns/op if AB has to measure that, so servers are
// started before. Allocations are those of the whole process, and are in the samples with -benchmem, or if
// Policy.Metrics names them. tb must not be a *testing.B, in which
// testing.Benchmark would wait for itself. One AB runs at a time; tests that run in
// parallel with it disturb it.
//
// After a testing.Benchmark the package testing prints no lines goos, pkg and cpu
// before the benchmarks of the same process, which benchstat tells packages apart
// by: for results that are kept, run go test -run '^$' -bench.
//
// First of all AB compares the base with itself. What it finds is the noise floor:
// a difference that is smaller is not claimed, and if the policy wants to see
// smaller ones, then AB says that they cannot be seen here.
//
// The test is the signed-rank test of Wilcoxon on the logarithms of the ratios of
// neighbouring samples, with Holm's correction for the number of gated metrics and
// with Policy.Alpha shared out among all looks at the samples, so that stopping
// early does not make false alarms more frequent. Before it claims that the head is
// worse AB takes more samples, and they have to confirm it, unless the time is
// up.
//
// A sample that fails, on either side, ends the comparison and fails tb; the
// Report has what was found until then. What samples have logged, such as the
// reasons to doubt them, is told in Report.Notes.
func AB(tb testing.TB, base, head func(*testing.B), p Policy) *Report {
	tb.Helper()
	return ABA(tb, base, base, head, p)
}

// ABA is AB with a second instance of the base, from which the noise floor is
// taken: two processes that run the same program are not equally fast, and what
// differs between them must not be taken for a difference of the programs.
// again must be set up like base and head, by itself.
func ABA(tb testing.TB, base, again, head func(*testing.B), p Policy) *Report {
	tb.Helper()
	rep, err := measure(tb, base, again, head, p)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	rep.Check(tb)
	return rep
}

func measure(tb testing.TB, base, again, head func(*testing.B), p Policy) (*Report, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	if base == nil || again == nil || head == nil {
		return nil, fmt.Errorf("gate: AB: a side is nil: a func(*testing.B) is needed")
	}
	if _, ok := tb.(*testing.B); ok {
		return nil, fmt.Errorf("gate: AB: called from a benchmark, in which testing.Benchmark would wait for itself: call it from a test")
	}
	old := flag.Lookup("test.benchtime")
	if old == nil {
		return nil, fmt.Errorf("gate: AB: works in a test only, as it uses testing.Benchmark")
	}

	running.Lock()
	defer running.Unlock()
	start := time.Now() // not while another AB was running, which may take minutes
	budget, notes := p.Budget, []string(nil)
	if t, ok := tb.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := t.Deadline(); ok {
			// go test kills the process at its -timeout, results and all.
			if left := time.Until(end) * 9 / 10; left < budget {
				budget = left
				notes = append(notes, fmt.Sprintf("Policy.Budget of %v was cut down to %v: go test ends at its -timeout", p.Budget, left.Round(time.Second)))
			}
		}
	}
	defer func(v string) { _ = flag.Set("test.benchtime", v) }(old.Value.String())

	arms := [...]func(*testing.B){armBase: base, armAgain: again, armHead: head}
	ops := p.Ops
	nothing := func(why, problem string) *Report {
		return &Report{Policy: p, Problems: []string{problem}, Notes: notes,
			AB: &ABInfo{Ops: ops, Stopped: why, Elapsed: time.Since(start)}}
	}
	failed := func(a arm, err error) *Report {
		return nothing("a side has failed", fmt.Sprintf("%v: warm-up: %v", a, err))
	}
	if ops == 0 {
		if ops, err = opsFor(base, p.SampleTime); err != nil {
			return failed(armBase, err), nil
		}
	}
	sample := time.Duration(math.MaxInt64)
	for a, fn := range arms {
		began := time.Now()
		if _, err := runBenchmark(fn, ops); err != nil {
			return failed(arm(a), err), nil
		}
		// The shortest: one that was held up must not end it all.
		sample = min(sample, time.Since(began))
	}
	const least = 2 * (noisePairs + firstLook)
	if took := least * sample; time.Since(start)+took > budget {
		return nothing("the time would not do",
			fmt.Sprintf("Policy.Budget of %v is too short: a sample of %d iterations takes %v, and at least %d are needed, which take %v: raise Budget, or lower SampleTime or Ops",
				budget, ops, sample.Round(time.Microsecond), least, took.Round(time.Millisecond))), nil
	}

	var journals [len(arms)]journal
	name, allocs := benchmarkName(tb.Name()), p.wantsAllocs()
	s := &sequence{
		policy: p,
		budget: budget,
		now:    func() time.Duration { return time.Since(start) },
		take: func(a arm) (*benchfmt.Result, error) {
			if err := tb.Context().Err(); err != nil {
				return nil, err
			}
			res, err := runBenchmark(arms[a], ops)
			if err != nil {
				return nil, err
			}
			journals[a].add(res.log)
			return result(name, res, allocs), nil
		},
	}
	rep := s.run()
	rep.Notes = append(notes, rep.Notes...)
	for a := range journals {
		if note := journals[a].note(arm(a)); note != "" {
			rep.Notes = append(rep.Notes, note)
		}
	}
	return rep, nil
}

// benchmarkName makes the name of the results of a test, with what go test adds.
func benchmarkName(test string) string {
	name := strings.TrimLeft(strings.TrimPrefix(test, "Test"), "_")
	if r, n := utf8.DecodeRuneInString(name); !unicode.IsUpper(r) {
		// "Benchmarkfoo" is no benchmark.
		name = strings.ToUpper(name[:n]) + name[n:]
		if r, _ := utf8.DecodeRuneInString(name); !unicode.IsUpper(r) {
			name = "AB" + name
		}
	}
	name = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
	if n := runtime.GOMAXPROCS(0); n != 1 {
		name += fmt.Sprintf("-%d", n)
	}
	return name
}

// wantsAllocs says whether samples have allocations: with -benchmem, or if they
// are gated by name. By default they are not: what a server that runs along
// allocates is no exact number.
func (p Policy) wantsAllocs() bool {
	if f := flag.Lookup("test.benchmem"); f != nil && f.Value.String() == "true" {
		return true
	}
	return slices.ContainsFunc(p.Metrics, func(m Metric) bool { return m.Unit == "allocs/op" || m.Unit == "B/op" })
}
