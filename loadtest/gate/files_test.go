package gate_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// read returns all that is in benchmark results, none of it out of order.
func read(t *testing.T, name, text string) (results []*benchfmt.Result, units benchfmt.UnitMetadataMap) {
	t.Helper()
	reader := benchfmt.NewReader(strings.NewReader(text), name)
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.Result:
			results = append(results, rec.Clone())
		case *benchfmt.SyntaxError:
			require.NoError(t, rec)
		}
	}
	require.NoError(t, reader.Err())
	return results, reader.Units()
}

// Six samples each of two benchmarks, so that benchstat has nothing to ask for,
// with what is hard to write again: units that were changed, a 0 in such a unit,
// numbers of many digits, and a second package.
const baseText = `Unit p50-ns better=lower
Unit msgs/s better=higher
goos: linux
goarch: amd64
pkg: example.org/server
cpu: A CPU @ 2.00GHz
BenchmarkSend/size=4k-2   2000  74120.5 ns/op  55.2 MB/s  13491 msgs/s  0 p50-ns  0 errors/op
BenchmarkSend/size=4k-2   2000  74121 ns/op  55.2 MB/s  13492.0000001 msgs/s  64000 p50-ns  0 errors/op
BenchmarkSend/size=4k-2   2000  74129 ns/op  55.2 MB/s  13493 msgs/s  64001 p50-ns  0 errors/op
BenchmarkSend/size=4k-2   2000  74122 ns/op  55.2 MB/s  13494 msgs/s  64002 p50-ns  0 errors/op
BenchmarkSend/size=4k-2   2000  74123 ns/op  55.2 MB/s  13495 msgs/s  64003 p50-ns  0 errors/op
BenchmarkSend/size=4k-2   2000  74124 ns/op  55.3 MB/s  13496 msgs/s  64004 p50-ns  0 errors/op
pkg: example.org/other
BenchmarkQuit-2   100  0.1234567890123 ns/op
BenchmarkQuit-2   100  0.2 ns/op
BenchmarkQuit-2   100  0.3 ns/op
BenchmarkQuit-2   100  1e-07 ns/op
BenchmarkQuit-2   100  123456789012345 ns/op
BenchmarkQuit-2   100  0.6 ns/op
`

func headText() string { return strings.ReplaceAll(baseText, "-2   2000  74", "-2   2000  81") }

// sampled is a report with samples.
func sampled(t *testing.T) *gate.Report {
	t.Helper()
	r := passing()
	base, units := read(t, "base", baseText)
	head, _ := read(t, "head", headText())
	r.SetSides(base, head, units)
	return r
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	r := sampled(t)
	r.Rows = append(r.Rows, row("errors/op", gate.Lower, 0, 0, 1, gate.Same, "")) // which no line "Unit" tells
	for range 2 {                                                                 // the second time over those of the first
		require.NoError(t, r.WriteFiles(dir))
	}
	get := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(text)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o644), info.Mode(), e.Name())
		names = append(names, e.Name())
	}
	assert.Equal(t, fileNames, names)
	assert.Equal(t, table(t, r), get("report.txt"))
	assert.Equal(t, markdown(t, r), get("report.md"))
	var fromJSON gate.Report
	require.NoError(t, json.Unmarshal([]byte(get("report.json")), &fromJSON))
	assert.Equal(t, r.Rows, fromJSON.Rows)

	for name, text := range map[string]string{"base.txt": baseText, "head.txt": headText()} {
		want, _ := read(t, name, text)
		got, units := read(t, name, get(name))
		require.Len(t, got, len(want))
		for i := range want {
			assert.Equal(t, want[i].Config, got[i].Config)
			assert.Equal(t, want[i].Name, got[i].Name)
			assert.Equal(t, want[i].Iters, got[i].Iters)
			for j, v := range want[i].Values {
				if v.Unit == "p50-ns" {
					v.Unit = "p50-sec"
				}
				assert.Equal(t, v, got[i].Values[j])
			}
		}
		assert.Equal(t, -1, units.GetBetter("p50-sec"))
		assert.Equal(t, +1, units.GetBetter("msgs/s"))
		assert.Equal(t, -1, units.GetBetter("errors/op"), "the report knows it")
		assert.Contains(t, get(name), "\nUnit p50-ns better=lower\n", "as it was")
	}
}

// What was compared can be compared again, from the files.
func TestFilesForCompare(t *testing.T) {
	p := gate.Policy{Metrics: []gate.Metric{{Unit: "ns/op"}, {Unit: "msgs/s"}, {Unit: "p50-ns", MinEffect: 0.2}, {Unit: "errors/op", Exact: true}}}
	want, err := gate.Compare(strings.NewReader(baseText), strings.NewReader(headText()), p)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, want.WriteFiles(dir))
	open := func(name string) *os.File {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	got, err := gate.Compare(open("base.txt"), open("head.txt"), p)
	require.NoError(t, err)
	assert.Equal(t, want.Rows, got.Rows)
	assert.Equal(t, want.Failures(), got.Failures())
	assert.Equal(t, table(t, want), table(t, got))
	notBenchmarkResults(t, table(t, want))
	t.Log("\n" + table(t, want))
}

func TestFilesForBenchstat(t *testing.T) {
	if testing.Short() {
		t.Skip("runs go run")
	}
	dir := t.TempDir()
	require.NoError(t, sampled(t).WriteFiles(dir))
	out := benchstat(t, dir)
	assert.NotContains(t, out, "need >=", "all samples are of one benchmark")
	for _, unit := range []string{"sec/op", "B/s", "msgs/s", "p50-sec", "errors/op"} {
		assert.Regexp(t, `│\s+`+regexp.QuoteMeta(unit)+`\s+│`, out, "a table for each unit")
	}
	assert.NotContains(t, out, "p50-ns")
	assert.Regexp(t, `Send/size=4k-2\s+74\.12µ ± 0%\s+81\.12µ ± 0%\s+\+9\.44% \(p=0\.002 n=6\)`, out)
	assert.Regexp(t, `Send/size=4k-2\s+64.00µ ± \S+\s+64.00µ ± \S+\s+~ \(p=1\.000 n=6\)`, out, "and the one that is 0")
}

// TestFilesOfAB: those that AB writes itself.
func TestFilesOfAB(t *testing.T) {
	if testing.Short() {
		t.Skip("runs go run")
	}
	p := perOp
	p.Dir = t.TempDir()
	metrics := map[string]float64{"ns/op": 100, "msgs/s": 1e7, "errors/op": 0, "p50-ns": 1}
	rep, _ := ab(t, steady(metrics), steady(metrics), p)
	require.Empty(t, rep.Failures())
	out := benchstat(t, p.Dir)
	for _, unit := range []string{"sec/op", "msgs/s", "p50-sec", "errors/op", "cpu-sec/op"} {
		assert.Regexp(t, `│\s+`+regexp.QuoteMeta(unit)+`\s+│`, out, "a table for each unit")
	}
	assert.Equal(t, 5, strings.Count(out, "n=10"), "all samples, in each table:\n%s", out)
}

// benchstat compares base.txt and head.txt in a folder, with the version in
// go.mod, and fails the test if it complains.
func benchstat(t *testing.T, dir string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "run", "golang.org/x/perf/cmd/benchstat",
		filepath.Join(dir, "base.txt"), filepath.Join(dir, "head.txt"))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), stderr.String())
	assert.Empty(t, stderr.String())
	return stdout.String()
}

func TestFilesErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	err := passing().WriteFiles(filepath.Join(file, "x"))
	require.ErrorContains(t, err, "gate: making the folder for reports: mkdir "+file)

	// A folder cannot be replaced; the other files are written all the same, and
	// nothing is left behind.
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "report.md", "x"), 0o700))
	err = passing().WriteFiles(dir)
	require.ErrorContains(t, err, "gate: writing "+filepath.Join(dir, "report.md")+": ")
	assert.Equal(t, 1, strings.Count(err.Error(), "writing"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, fileNames, names)
}

var fileNames = []string{ // in order
	"base.txt", "bencher.json", "github-action-benchmark-bigger.json", "github-action-benchmark-smaller.json",
	"head.txt", "report.json", "report.md", "report.txt",
}
