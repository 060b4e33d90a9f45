package containers_test

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"
)

// TestBenchmarkLines runs the example's benchmarks as a user does. Servers that
// write much, testcontainers' own log and Docker's messages must leave every
// result line whole, and each line must have all of its metrics.
func TestBenchmarkLines(t *testing.T) {
	needDocker(t)
	const count = 3
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-benchtime", "20x", "-count", "3", "../examples/container")
	out, err := cmd.CombinedOutput() // both, as they share a terminal
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)

	common := []string{"sec/op", "B/s", "msgs/s", "p50-sec", "p90-sec", "p99-sec", "max-sec", "errors/op", "server-cpu-sec/op", "server-peak-RSS-bytes"}
	idle := []string{"sec/op", "server-RSS-bytes/session"}
	lines := make(map[string]int)
	r := benchfmt.NewReader(bytes.NewReader(out), "output")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Errorf("a line is lost: %v", rec)
		case *benchfmt.Result:
			name := string(rec.Name.Base())
			lines[string(rec.Name.Full())]++
			units := common
			if name == "Idle" {
				units = idle
			}
			for _, unit := range units {
				v, ok := rec.Value(unit)
				assert.True(t, ok, "%s has no %s", rec.Name, unit)
				if unit != "errors/op" {
					assert.Positive(t, v, "%s %s", rec.Name, unit)
				}
			}
			if v, ok := rec.Value("errors/op"); ok {
				assert.Zero(t, v, "%s", rec.Name)
			}
		}
	}
	require.NoError(t, r.Err())
	assert.GreaterOrEqual(t, len(lines), 7, "%v", lines)
	for name, n := range lines {
		assert.Equal(t, count, n, "results of %s", name)
	}
}
