package gate

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchunit"

	"github.com/benchmail/benchmail/internal/cputime"
)

// running is held while benchmarks run: two comparisons at once would measure each
// other, and the number of iterations is a flag of the whole process.
var running sync.Mutex

// benchtime sets -test.benchtime to a number of iterations, which
// testing.Benchmark takes from there and from nowhere else.
func benchtime(ops int) error {
	return flag.Set("test.benchtime", strconv.Itoa(ops)+"x")
}

// measured is a result with what was measured around it.
type measured struct {
	testing.BenchmarkResult
	took time.Duration // all of the last call
	cpu  time.Duration // CPU time of this process in it, -1 if it is not known
	log  string        // all on one line
}

// runBenchmark runs fn for ops iterations.
//
// testing.Benchmark keeps failures to itself: the result of a benchmark that has
// failed has N == 0, and its log is gone. And it adds up those of
// sub-benchmarks, of which a sample cannot be made.
func runBenchmark(fn func(*testing.B), ops int) (res measured, err error) {
	if err := benchtime(ops); err != nil {
		return res, err
	}
	var last *testing.B
	returned := false
	res.BenchmarkResult = testing.Benchmark(func(b *testing.B) {
		last, returned = b, false
		start, cpu := time.Now(), cputime.Process()
		fn(b)
		res.took, res.cpu = time.Since(start), -1
		if cpu > 0 {
			res.cpu = cputime.Process() - cpu
		}
		returned = true
	})
	switch {
	case last == nil:
		return res, errors.New("testing.Benchmark has not run it")
	case last.Skipped():
		return res, fmt.Errorf("it has skipped itself: %s", why(last))
	case last.Failed():
		return res, fmt.Errorf("it has failed: %s", why(last))
	case !returned:
		return res, errors.New("it has ended its goroutine without failing")
	case res.T != last.Elapsed(): // the sum of sub-benchmarks, in one iteration
		return res, errors.New("it has sub-benchmarks: it must be a loop over b.Loop or b.N, without b.Run")
	case res.N != ops:
		return res, fmt.Errorf("it has made %d iterations where %d were asked for: it must be a loop over b.Loop or b.N, without b.Run", res.N, ops)
	}
	res.log = logOf(last)
	return res, nil
}

// why returns the reason for a failure.
func why(b *testing.B) string {
	if text := logOf(b); text != "" {
		return text
	}
	return "the testing package does not tell why; run it with go test -bench to see"
}

// logOf returns what a benchmark has logged, "" if nothing. The testing package has
// no way to ask for it; if its insides change, reports say less, and
// TestFailureText says so.
func logOf(b *testing.B) (text string) {
	defer func() { _ = recover() }()
	if f := reflect.ValueOf(b).Elem().FieldByName("output"); f.IsValid() {
		text = oneLine(string(f.Bytes()))
	}
	return text
}

// A journal is what the samples of a side have logged without a failure: mostly
// reasons to doubt them.
type journal struct {
	samples, logged int
	first           string
}

func (j *journal) add(log string) {
	j.samples++
	if log == "" {
		return
	}
	if j.logged++; j.logged == 1 {
		const most = 500
		if len(log) > most {
			log = strings.ToValidUTF8(log[:most], "") + "…"
		}
		j.first = log
	}
}

// note is for a Report, "" if nothing was logged.
func (j *journal) note(a arm) string {
	if j.logged == 0 {
		return ""
	}
	return fmt.Sprintf("%v: %d of %s have logged something, the first of them: %s", a, j.logged, plural(j.samples, "sample"), j.first)
}

// result makes a benchfmt result of it, with the units as smtptest and go test
// print them. Allocations are in it only if asked for: whether the benchmark wants
// them reported is not to be seen from here.
func result(name string, res measured, allocs bool) *benchfmt.Result {
	out := &benchfmt.Result{Name: benchfmt.Name(name), Iters: res.N}
	out.SetConfig("goos", runtime.GOOS)
	out.SetConfig("goarch", runtime.GOARCH)
	for i := range out.Config {
		out.Config[i].File = true
	}
	extra := maps.Clone(res.Extra)
	add := func(value float64, unit string) {
		v := benchfmt.Value{Value: value, Unit: unit}
		if tidied, u := benchunit.Tidy(value, unit); u != unit {
			v = benchfmt.Value{Value: tidied, Unit: u, OrigValue: value, OrigUnit: unit}
		}
		out.Values = append(out.Values, v)
		delete(extra, unit)
	}
	// As package testing does: what was reported stands over what was measured, and
	// a time that is reported as 0 is one that is not wanted.
	if v, ok := extra["ns/op"]; !ok {
		add(float64(res.T.Nanoseconds())/float64(res.N), "ns/op")
	} else if v != 0 {
		add(v, "ns/op")
	}
	delete(extra, "ns/op")
	if v, ok := extra["MB/s"]; ok {
		add(v, "MB/s")
	} else if res.Bytes > 0 && res.T > 0 {
		add(float64(res.Bytes)*float64(res.N)/1e6/res.T.Seconds(), "MB/s")
	}
	for _, unit := range slices.Sorted(maps.Keys(extra)) {
		if unit != "B/op" && unit != "allocs/op" {
			add(extra[unit], unit)
		}
	}
	// Where the server's own CPU time is known, this process has only the load.
	_, server := res.Extra["server-cpu-ns/op"]
	_, reported := res.Extra["cpu-ns/op"]
	if !server && !reported && res.cpu >= 0 {
		add(float64(res.cpu)/float64(res.N), "cpu-ns/op")
	}
	if allocs {
		counted := func(measured float64, unit string) {
			if v, ok := res.Extra[unit]; ok {
				measured = v
			}
			add(measured, unit)
		}
		counted(float64(res.MemBytes)/float64(res.N), "B/op")
		counted(math.Floor(float64(res.MemAllocs)/float64(res.N)), "allocs/op")
	}
	return out
}

// opsFor finds how many iterations of fn take so long by the benchmark's clock,
// and has warmed it up then. What it sets up before b.Loop is not in that: with
// many sessions to open, a sample would have a single iteration. Where the clock
// is stopped most of the time, a sample lasts ten times as long, and no longer.
func opsFor(fn func(*testing.B), want time.Duration) (int, error) {
	const most = 1_000_000_000
	for n := 1; ; {
		// The fastest of three: a machine with other work must not make the samples
		// short for good.
		took := time.Duration(math.MaxInt64)
		for range 3 {
			res, err := runBenchmark(fn, n)
			if err != nil {
				return 0, err
			}
			if took = min(took, max(res.T, res.took/10, time.Microsecond)); took < want/2 {
				break
			}
		}
		more := float64(n) * float64(want) / float64(took)
		if took >= want/2 || n >= most {
			return int(min(max(1, more), most)), nil
		}
		n = int(min(most, max(float64(n+1), min(1.1*more, 20*float64(n)))))
	}
}
