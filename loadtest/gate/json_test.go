package gate_test

import (
	"encoding/json"
	"math"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

func TestJSONRoundTrip(t *testing.T) {
	want := failing()
	want.Rows = append(want.Rows[:5:5], want.Rows[6:]...) // without the one that is invalid
	want.Policy = gate.Policy{
		Metrics: []gate.Metric{{Unit: "sec/op", MinEffect: 0.03}, {Unit: "x", Better: gate.Higher, Exact: true}},
		Alpha:   0.02, MinEffect: 0.07, FailUndecided: true, IgnoreConfig: []string{"commit"},
		Budget: time.Minute, SampleTime: time.Second, Ops: 100, Dir: "out",
	}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	var got gate.Report
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, *want, got)
	assert.Equal(t, want.Failures(), got.Failures())
	assert.Equal(t, table(t, want), table(t, &got))

	for _, name := range regexp.MustCompile(`"[^"]*":`).FindAllString(string(text), -1) {
		assert.Regexp(t, `^"[a-z][a-z0-9_]*":$`, name)
	}
	for _, part := range []string{`"better":"lower"`, `"better":"higher"`, `"better":"unknown"`, `"budget_ns":60000000000`, `"elapsed_ns":31234000000`, `"p":-1`} {
		assert.Contains(t, string(text), part)
	}
}

// What JSON has no number for must not keep a report from its reader.
func TestJSONNotANumber(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		bad := gate.Summary{N: 1, Median: v, Lo: v, Hi: v}
		r := &gate.Report{Rows: []gate.Row{{
			Benchmark: "Odd", Unit: "sec/op", Base: bad, Head: bad, Ratio: v, RatioLo: v, RatioHi: v, P: v, MinEffect: v, Floor: v,
			Verdict: gate.Invalid, Reason: "not a number",
		}}}
		text, err := json.Marshal(r)
		require.NoError(t, err)
		var got gate.Report
		require.NoError(t, json.Unmarshal(text, &got), string(text))
		empty := gate.Summary{N: 1}
		assert.Equal(t, []gate.Row{{Benchmark: "Odd", Unit: "sec/op", Base: empty, Head: empty, P: -1, Verdict: gate.Invalid, Reason: "not a number"}}, got.Rows)
		assert.Contains(t, string(text), `"median":null`)
	}
}

func TestDirectionText(t *testing.T) {
	for _, d := range []gate.Direction{gate.Lower, gate.Higher, 0} {
		text, err := d.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, d.String(), string(text))
		got := gate.Direction(7)
		require.NoError(t, got.UnmarshalText(text))
		assert.Equal(t, d, got)
	}
	var d gate.Direction
	require.EqualError(t, json.Unmarshal([]byte(`"up"`), &d), `gate: direction "up": lower, higher and unknown are known`)
}
