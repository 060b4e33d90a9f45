package gate_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

func TestMarkdown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		report *gate.Report
		want   string
	}{
		{"failing", failing(), `
### FAIL: 1 problem, 2 of 6 gated metrics worse, 1 missing, 1 with too few samples, 1 invalid (1 undecided, 1 new)

| | base | head | change | p | n | noise floor | verdict |
|---|--:|--:|--:|--:|--:|--:|---|
| <code>example.org/server</code> | | | | | |  | |
| **<code>Send/sessions=16/size=4k-2</code>** | | | | | |  | |
| sec/op | 74.12µ ± 2% | 81.53µ ± 2% | +10.00% | &lt;0.001 | 10 | 1.3% | **worse** |
| server-cpu-sec/op | 31.20µ ± 2% | 32.30µ ± 2% | +3.53% | 0.083 | 10 | - | undecided |
| errors/op | 0.000 ± 0% | 12.50m ± 2% | ? | &lt;0.001 | 10 | - | **worse** |
| p99-sec | 4.100m ± ∞ | 4.000m ± ∞ | -2.44% | - | 2 | - | **too few samples** |
| **<code>Deliver-2</code>** | | | | | |  | |
| (benchmark) | - | - | - | - | - | - | **missing** |
| **<code>Odd-2</code>** | | | | | |  | |
| sec/op | 1.000 ± 2% | - | - | - | 10 | - | **invalid** |
| **<code>Quit-2</code>** | | | | | |  | |
| sec/op | - | 2.000µ ± 2% | - | - | 0+10 | - | new |

- head.txt, line 12 cannot be read: parsing measurement: invalid syntax
- Send/sessions=16/size=4k-2 sec/op: 10.0 % more, at least 7.9 %, where 5 % are allowed (p = 0.00001)
- Send/sessions=16/size=4k-2 errors/op: 0 in all 10 samples of the base, and up to 12.50m now
- Send/sessions=16/size=4k-2 p99-sec: 2 samples of each side: 5 are needed
- Deliver-2: the head does not have it
- Odd-2 sec/op: the head has a value that is not a number

<details><summary>4 metrics that are not gated</summary>

| | base | head | change | p | n | noise floor | verdict |
|---|--:|--:|--:|--:|--:|--:|---|
| <code>example.org/server</code> | | | | | |  | |
| **<code>Send/sessions=16/size=4k-2</code>** | | | | | |  | |
| msgs/s | 13.49k ± 2% | 12.27k ± 2% | -9.09% | &lt;0.001 | 10 | - |  |
| B/s | 52.64Mi ± 2% | 47.78Mi ± 2% | -9.24% | &lt;0.001 | 10 | - |  |
| server-peak-RSS-bytes | 64.00Mi ± 2% | 65.00Mi ± 2% | +1.56% | 0.400 | 10 | - |  |
| dials/op | 0.000 ± 0% | 0.000 ± 0% | 0.00% | 1.000 | 10 | - |  |

</details>

<details><summary>1 note</summary>

- errors/op varies in the head.

</details>

Sampled 10 pairs of base and head and 5 pairs of the base and itself, 2700 iterations each, in 31.2s with 3 looks at them, and stopped: all decided.

`},
		{"passing", passing(), `
### PASS: none of 2 gated metrics worse (1 better, 1 same)

| | base | head | change | p | n | verdict |
|---|--:|--:|--:|--:|--:|---|
| <code>example.org/server</code> | | | | | | |
| **<code>Send/sessions=16/size=4k-2</code>** | | | | | | |
| sec/op | 74.12µ ± 2% | 74.53µ ± 2% | +0.55% | 0.310 | 10 | same |
| p99-sec | 4.100m ± 2% | 3.300m ± 2% | -19.51% | &lt;0.001 | 10 | better |

<details><summary>1 metric that is not gated</summary>

| | base | head | change | p | n | verdict |
|---|--:|--:|--:|--:|--:|---|
| <code>example.org/server</code> | | | | | | |
| **<code>Send/sessions=16/size=4k-2</code>** | | | | | | |
| msgs/s | 13.49k ± 2% | 13.42k ± 2% | -0.55% | 0.310 | 10 |  |

</details>

`},
		{"empty", &gate.Report{}, "### PASS: no metric is gated\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, strings.TrimPrefix(tt.want, "\n"), markdown(t, tt.report))
		})
	}
}

// A benchmark's name is whatever the author of a pull request wants.
func TestMarkdownEscapes(t *testing.T) {
	const hostile = "a|b`c`<script>alert(1)</script>\n\n# heading\n</details>[x](https://example.org)*b*_i_~~s~~$m$![i](u)\\|&lt;"
	for _, r := range []*gate.Report{
		{Rows: []gate.Row{{Package: hostile, Benchmark: hostile, Unit: hostile, Gated: true, Verdict: gate.Worse, Reason: hostile}}},
		{Rows: []gate.Row{{Package: hostile, Benchmark: hostile, Unit: hostile}}},
		{Problems: []string{hostile}},
		{Notes: []string{hostile}},
		{AB: &gate.ABInfo{Stopped: hostile}},
	} {
		text := markdown(t, r)
		unescaped := regexp.MustCompile(`\\.`).ReplaceAllString(text, "")
		for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(unescaped, -1) {
			assert.Contains(t, []string{"<code>", "</code>", "<details>", "</details>", "<summary>", "</summary>"}, tag)
		}
		assert.Equal(t, strings.Count(unescaped, "<details>"), strings.Count(unescaped, "</details>"))
		assert.NotRegexp(t, "[`$~!]|\\]\\(|_i_|\\*b\\*", unescaped)
		for line := range strings.Lines(unescaped) {
			if strings.HasPrefix(line, "|") {
				assert.Equal(t, 8, strings.Count(line, "|"), "cells of %s", line)
			}
			assert.NotRegexp(t, `^(#[^#]|# )`, line)
		}
	}
}

func TestMarkdownWriteError(t *testing.T) {
	require.ErrorIs(t, failing().WriteMarkdown(brokenWriter{}), errBroken)
}
