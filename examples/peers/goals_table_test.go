package peers_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMedian(t *testing.T) {
	assert.Equal(t, 2.0, samples{9, 2, 1}.median())
	assert.Equal(t, 3.0, samples{4, 1, 2, 9}.median())
}

// The median of ratios is not the ratio of medians: only the first survives a
// machine that is slow for one whole round.
func TestRatioIsOfRounds(t *testing.T) {
	assert.Equal(t, samples{0.5, 0.5, 0.5}, ratio(samples{1, 10, 2}, samples{2, 20, 4}))
	assert.Empty(t, ratio(samples{1}, nil))
}

func TestGoalTable(t *testing.T) {
	for _, row := range []struct {
		name string
		goal goal
		want string
		why  string
	}{
		{"at most", goal{atMost: 0.9, measured: samples{0.9}}, "yes", "a bound is reached by itself"},
		{"above", goal{atMost: 0.9, measured: samples{0.8, 0.91, 0.95}}, "no", "the median counts, not the best"},
		{"at least", goal{atLeast: 1, measured: samples{1.2}}, "yes", ""},
		{"below", goal{atLeast: 1, measured: samples{0.99}}, "no", ""},
		{"nothing", goal{zero: true, measured: samples{0.0005}}, "yes", "an allocation of the runtime's in 2000 messages is not ours"},
		{"something", goal{zero: true, measured: samples{1}}, "no", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			assert.Equal(t, row.want, row.goal.reached(), row.why)
		})
	}

	table := goalTable{list: []*goal{{id: "G", what: "something", atMost: 0.5}, {id: "H", what: "else", atMost: 1}}}
	var out strings.Builder
	table.print(&out)
	assert.Empty(t, out.String(), "without benchmarks there is nothing to say")
	table.record("G", samples{0.4, 0.2, 0.6})
	table.absent("x is not installed")
	table.absent("x is not installed")
	table.print(&out)
	assert.Contains(t, out.String(), "| G | something | 0.400 [0.200 … 0.600] of 3 | ≤ 0.5 | ")
	assert.Contains(t, out.String(), "| H | else | not measured |")
	assert.Equal(t, 1, strings.Count(out.String(), "NOT MEASURED, as x is not installed"))
}
