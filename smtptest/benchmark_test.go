package smtptest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"
)

// goTest runs the real go test for one package and returns its standard output
// and error together, as a person would save them to a file.
func goTest(t *testing.T, pkg string, args ...string) (string, error) {
	t.Helper()
	gocmd, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command: what go test prints of a benchmark is not tested")
	}
	cmd := exec.CommandContext(t.Context(), gocmd, append([]string{"test", "-run=^$", "-timeout=60s"}, append(args, pkg)...)...)
	cmd.Env = append(os.Environ(), "GOFLAGS=") // a -v of the outer go test would change the output
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// jsonOutput returns what the events of go test -json have as output.
func jsonOutput(t *testing.T, events string) string {
	t.Helper()
	var s strings.Builder
	for dec := json.NewDecoder(strings.NewReader(events)); ; {
		var e struct{ Action, Output string }
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return s.String()
		} else if err != nil {
			t.Fatalf("%v in:\n%s", err, events)
		}
		s.WriteString(e.Output) // go vet of the package has other events
	}
}

// parse reads go test's output as benchstat does, and fails for all that makes
// benchstat drop or separate results.
func parse(t *testing.T, output string) (results []*benchfmt.Result, units benchfmt.UnitMetadataMap) {
	t.Helper()
	metadata := 0
	r := benchfmt.NewReader(strings.NewReader(output), "output")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			results = append(results, rec.Clone())
		case *benchfmt.UnitMetadata:
			metadata++
		default:
			t.Errorf("lost result: %v", rec)
		}
	}
	require.NoError(t, r.Err())
	assert.Equal(t, 12, metadata, "each unit's direction once")
	require.NotEmpty(t, results)
	for _, res := range results {
		var config []string
		for _, c := range res.Config {
			config = append(config, c.Key)
		}
		slices.Sort(config)
		assert.Subset(t, []string{"cpu", "goarch", "goos", "pkg"}, config, "benchstat does not compare across other configuration")
		assert.Equal(t, results[0].Config, res.Config)
	}
	return results, r.Units()
}

// Metrics of Benchmark; ns/op and MB/s as benchfmt tidies them.
var (
	always   = []string{"sec/op", "B/s", "errors/op", "max-sec", "msgs/s", "p50-sec", "p90-sec", "p99-sec"}
	alone    = []string{"cpu-sec/op"} // without a Meter
	dial     = []string{"dial-p50-sec", "dial-p99-sec"}
	metered  = []string{"server-cpu-sec/op", "server-peak-RSS-bytes"}
	benchmem = []string{"B/op", "allocs/op"}
)

func TestBenchmarkOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("runs go test several times")
	}
	dir := t.TempDir()
	var saved []string // files for benchstat
	for _, tt := range []struct {
		name  string
		args  []string
		each  int // results of each benchmark
		extra []string
		save  bool
		why   string
	}{
		{"plain", []string{"-count=6", "-cpu=1,2", "-benchtime=200x"}, 12, nil, true, "without -v the name is printed before the run"},
		{"verbose", []string{"-count=6", "-cpu=1,2", "-benchtime=200x", "-v"}, 12, nil, true, "and with it after"},
		{"benchmem", []string{"-count=2", "-benchtime=200x", "-benchmem"}, 2, benchmem, false, "B/op and allocs/op are the framework's"},
		{"json", []string{"-count=2", "-benchtime=200x", "-json"}, 2, nil, false, "test2json splits lines"},
		{"once", []string{"-benchtime=1x"}, 1, nil, false, "fewer messages than sessions"},
		{"time", []string{"-count=2", "-benchtime=2ms"}, 2, nil, false, "b.Loop finds the count"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := goTest(t, "./testdata/bench", append(tt.args, "-bench=OK")...)
			require.NoError(t, err, out)
			if tt.name == "json" {
				out = jsonOutput(t, out)
			}
			defer func() {
				if t.Failed() {
					t.Logf("output:\n%s", out)
				}
			}()
			results, units := parse(t, out)

			plain := slices.Concat(always, alone)
			want := map[string][]string{
				"OK": plain, "OKErrors": plain, "OKCounts": plain, "OKReport": plain, "OKPaced": plain,
				"OKAll/sessions=1": slices.Concat(always, dial, metered, benchmem),
				"OKAll/sessions=8": slices.Concat(always, dial, metered, benchmem),
			}
			got := map[string]int{}
			for _, res := range results {
				base, _, _ := strings.Cut(string(res.Name), "-")
				got[base]++
				var have []string
				for _, v := range res.Values {
					have = append(have, v.Unit)
					assert.NotZero(t, units.GetBetter(v.Unit), "%s has no direction", v.Unit)
				}
				set := map[string]bool{}
				for _, u := range append(slices.Clone(tt.extra), want[base]...) {
					set[u] = true
				}
				assert.ElementsMatch(t, slices.Collect(maps.Keys(set)), have, "%s: %s", res.Name, tt.why)
				assert.Equal(t, "sec/op", have[0], "some tools read the first metric only")
				if perOp, _ := res.Value("sec/op"); assert.Positive(t, perOp) {
					rate, _ := res.Value("msgs/s")
					assert.InEpsilon(t, 1, perOp*rate, 0.001, "ns/op and msgs/s say the same")
				}
			}
			for base := range want {
				assert.Equal(t, tt.each, got[base], "results of %s", base)
			}
			assert.Len(t, got, len(want))
			if tt.save {
				file := filepath.Join(dir, tt.name+".txt")
				require.NoError(t, os.WriteFile(file, []byte(out), 0o600))
				saved = append(saved, file)
			}
			if tt.name == "plain" {
				assert.Equal(t, 2*tt.each, strings.Count(out, ": warning: the server was throttled\n"), "of OKAll, once for each result")
				for _, log := range []string{
					": 4 × MAIL 450: MAIL 450 by a server that talks: much\n", // in one line
					": and 2 more kinds of errors\n",
				} {
					assert.True(t, strings.Contains(out, log), log)
				}
			}
		})
	}
	t.Run("benchstat", func(t *testing.T) {
		benchstat, err := exec.LookPath("benchstat")
		if err != nil {
			t.Skip("no benchstat; to install: go install golang.org/x/perf/cmd/benchstat@latest")
		}
		require.Len(t, saved, 2)
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), benchstat, saved...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		require.NoError(t, cmd.Run(), stderr.String())
		assert.Empty(t, stderr.String(), "benchstat complains about syntax and units there")
		for _, unit := range slices.Concat(always, alone, dial, metered) {
			assert.Regexp(t, `│\s+`+regexp.QuoteMeta(unit)+`\s+│`, stdout.String(), "a table for each unit")
		}
		assert.NotContains(t, stdout.String(), "need >=", "the runs are compared as samples of the same benchmarks")
	})
}

// The command of the README, with a real server and STARTTLS.
func TestBenchmarkQuickstart(t *testing.T) {
	if testing.Short() {
		t.Skip("runs go test")
	}
	out, err := goTest(t, "../examples/quickstart", "-bench=.", "-benchtime=200x", "-count=2")
	require.NoError(t, err, out)
	results, _ := parse(t, out)
	require.Len(t, results, 2, out)
	for _, res := range results {
		var have []string
		for _, v := range res.Values {
			have = append(have, v.Unit)
		}
		assert.ElementsMatch(t, slices.Concat(always, alone), have)
		errs, _ := res.Value("errors/op")
		assert.Zero(t, errs)
		assert.Equal(t, 200, res.Iters)
	}
}

// With testing.Benchmark nobody reads benchmark results from standard output.
func TestBenchmarkInTests(t *testing.T) {
	if testing.Short() {
		t.Skip("runs go test")
	}
	out, err := goTest(t, "./testdata/bench", "-run=InTests", "-benchtime=100x", "-v")
	require.NoError(t, err, out)
	assert.Contains(t, out, "--- PASS: TestInTests")
	assert.NotContains(t, out, "Unit")
}

func TestBenchmarkFails(t *testing.T) {
	if testing.Short() {
		t.Skip("runs go test")
	}
	out, err := goTest(t, "./testdata/bench", "-bench=Fail", "-benchtime=100x", "-count=2")
	require.Error(t, err, out)
	for _, tt := range []struct{ name, want, why string }{
		{"ops", "Config.Ops and Config.Duration must be 0: -benchtime says", "what to do instead"},
		{"duration", "Config.Ops and Config.Duration must be 0: -benchtime says", "what to do instead"},
		{"continue", "Config.Continue must be nil", "a second loop"},
		{"dialer", "the Dialer is nil", "no panic in a session's goroutine"},
		{"sessions", "Sessions", "Run's own error, which names the field"},
		{"refused", "none of 100 messages was accepted", "no ns/op without an op"},
		{"refused", "100 × MAIL 550 5.7.1: MAIL 550 5.7.1 by a server that talks: much", "the cause"},
		{"too_many", "failed", "why the run ended"},
		{"too_many", "10 accepted", "and what had been done"},
		{"pacer", "Config.Pacer has an end", "the framework would only say that the loop was left"},
		{"twice", "call Benchmark once", "b.Loop cannot begin again"},
		{"loop", "call Benchmark once", "b.Loop cannot begin again"},
		{"meter", "no such container", "a hole among the samples would be worse"},
		{"report", "none of 3 messages was accepted", "also for those who call Report"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, after, ok := strings.Cut(out, "--- FAIL: BenchmarkFail/"+tt.name+"\n")
			require.True(t, ok, "did not fail:\n%s", out)
			message, _, _ := strings.Cut(after, "--- FAIL")
			assert.Contains(t, message, tt.want, tt.why)
			assert.NotContains(t, message, "break or return in loop", "that is the framework's error")
			assert.NotRegexp(t, `(?m)^[a-z]\S*: `, message, "would be read as configuration of what follows")
		})
	}
	assert.NotContains(t, out, "panic:")
	assert.NotRegexp(t, `(?m)^BenchmarkFail/\S+\s+\d+\s+\d`, out, "a benchmark that failed has no result")
}
