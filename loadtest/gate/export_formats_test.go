package gate_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

func TestGitHubActionBenchmark(t *testing.T) {
	var smaller, bigger strings.Builder
	require.NoError(t, failing().WriteGitHubActionBenchmark(&smaller, &bigger))
	const series = `"Send/sessions=16/size=4k-2 (example.org/server)`
	assert.JSONEq(t, `[
		{"name": `+series+` ns/op", "unit": "ns/op", "value": 81530, "range": "± 2%", "extra": "n=10, base 74.12µ ± 2%, change +10.00%, worse"},
		{"name": `+series+` server-cpu-ns/op", "unit": "server-cpu-ns/op", "value": 32300, "range": "± 2%", "extra": "n=10, base 31.20µ ± 2%, change +3.53%, undecided"},
		{"name": `+series+` errors/op", "unit": "errors/op", "value": 0.0125, "range": "± 2%", "extra": "n=10, base 0.000 ± 0%, change ?, worse"},
		{"name": `+series+` p99-ns", "unit": "p99-ns", "value": 4000000, "extra": "n=2, base 4.100m ± ∞, change -2.44%, too few samples"},
		{"name": "Quit-2 (example.org/server) ns/op", "unit": "ns/op", "value": 2000, "range": "± 2%", "extra": "n=10, base -, change -, new"},
		{"name": `+series+` server-peak-RSS-bytes", "unit": "server-peak-RSS-bytes", "value": 68157440, "range": "± 2%", "extra": "n=10, base 64.00Mi ± 2%, change +1.56%"}
	]`, smaller.String())
	assert.JSONEq(t, `[
		{"name": `+series+` msgs/s", "unit": "msgs/s", "value": 12265, "range": "± 2%", "extra": "n=10, base 13.49k ± 2%, change -9.09%"},
		{"name": `+series+` MB/s", "unit": "MB/s", "value": 50.1, "range": "± 2%", "extra": "n=10, base 52.64Mi ± 2%, change -9.24%"}
	]`, bigger.String())

	var one, empty strings.Builder
	require.NoError(t, failing().WriteGitHubActionBenchmark(nil, &one))
	assert.Equal(t, bigger.String(), one.String())
	require.NoError(t, (&gate.Report{}).WriteGitHubActionBenchmark(&empty, nil))
	assert.Equal(t, "[]\n", empty.String())

	require.ErrorIs(t, failing().WriteGitHubActionBenchmark(brokenWriter{}, nil), errBroken)
	require.ErrorIs(t, failing().WriteGitHubActionBenchmark(nil, brokenWriter{}), errBroken)
}

func TestBencher(t *testing.T) {
	var b strings.Builder
	require.NoError(t, failing().WriteBencher(&b))
	assert.JSONEq(t, `{
		"Send/sessions=16/size=4k-2 (example.org/server)": {
			"latency":                {"value": 81530, "lower_value": 79899.4, "upper_value": 83160.6},
			"throughput":             {"value": 12265, "lower_value": 12019.7, "upper_value": 12510.3},
			"server-cpu-ns-per-op":   {"value": 32300, "lower_value": 31654, "upper_value": 32946},
			"errors-per-op":          {"value": 0.0125, "lower_value": 0.01225, "upper_value": 0.01275},
			"p99-ns":                 {"value": 4000000},
			"mb-per-s":               {"value": 50.1, "lower_value": 49.098, "upper_value": 51.102},
			"server-peak-rss-bytes":  {"value": 68157440, "lower_value": 66794291.2, "upper_value": 69520588.8},
			"dials-per-op":           {"value": 0, "lower_value": 0, "upper_value": 0}
		},
		"Quit-2 (example.org/server)": {
			"latency": {"value": 2000, "lower_value": 1960, "upper_value": 2040}
		}
	}`, b.String())
	assert.Equal(t, []gate.BencherMeasure{
		{Slug: "latency", Unit: "ns/op", Better: gate.Lower},
		{Slug: "server-cpu-ns-per-op", Unit: "server-cpu-ns/op", Better: gate.Lower},
		{Slug: "errors-per-op", Unit: "errors/op", Better: gate.Lower},
		{Slug: "p99-ns", Unit: "p99-ns", Better: gate.Lower},
		{Slug: "throughput", Unit: "msgs/s", Better: gate.Higher},
		{Slug: "mb-per-s", Unit: "MB/s", Better: gate.Higher},
		{Slug: "server-peak-rss-bytes", Unit: "server-peak-RSS-bytes", Better: gate.Lower},
		{Slug: "dials-per-op", Unit: "dials/op"},
	}, failing().BencherMeasures())

	b.Reset()
	require.NoError(t, (&gate.Report{}).WriteBencher(&b))
	assert.Equal(t, "{}\n", b.String())
	require.ErrorIs(t, failing().WriteBencher(brokenWriter{}), errBroken)
}

// Units have any form; each needs a slug that is valid and its own.
func TestBencherSlugs(t *testing.T) {
	r := &gate.Report{}
	units := []string{"p99-sec", "P99-sec", "p99/sec", "latency", "throughput", "%", "µJ/op", "--", "∞", "x_y.z", "sec", "a-sec-b/sec"}
	for _, unit := range units {
		r.Rows = append(r.Rows, gate.Row{Benchmark: "X", Unit: unit, Head: summary(1)})
	}
	want := []string{"p99-ns", "p99-ns-2", "p99-per-sec", "latency-2", "throughput-2", "percent", "uj-per-op", "metric", "metric-2", "x-y-z", "ns", "a-ns-b-per-sec"}
	var got []string
	for _, m := range r.BencherMeasures() {
		got = append(got, m.Slug)
		assert.Regexp(t, regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`), m.Slug)
	}
	assert.Equal(t, want, got)
	var b strings.Builder
	require.NoError(t, r.WriteBencher(&b))
	var bmf map[string]map[string]map[string]float64
	require.NoError(t, json.Unmarshal([]byte(b.String()), &bmf))
	assert.Len(t, bmf["X"], len(units), "none has taken another's place")
}
