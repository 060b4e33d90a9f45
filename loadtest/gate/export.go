package gate

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteGitHubActionBenchmark writes the head's medians for github-action-benchmark
// (https://github.com/benchmark-action/github-action-benchmark), which keeps a
// history of them and draws it: metrics of which less is better to smaller, for
// its tool customSmallerIsBetter, and those of which more is better to bigger, for
// customBiggerIsBetter. Its tool "go" takes every metric of a Go benchmark as
// one of which less is better. A metric whose direction is not known is in
// neither. A nil writer leaves its half out.
//
// The format is that of the section "How to use customSmallerIsBetter" of its
// README: an array of objects of name, unit, value, range and extra. Units are as
// benchmarks print them, ns/op and MB/s. The range is the confidence interval of
// 95 %, if there are samples enough for one. The action fails on an array that is
// empty: leave out the step whose half this is.
func (r *Report) WriteGitHubActionBenchmark(smaller, bigger io.Writer) error {
	type entry struct {
		Name  string  `json:"name"`
		Unit  string  `json:"unit"`
		Value float64 `json:"value"`
		Range string  `json:"range,omitempty"`
		Extra string  `json:"extra,omitempty"` // shown at a point of the chart
	}
	halves := map[Direction][]entry{Lower: {}, Higher: {}} // not nil: that would be null
	for _, row := range r.exported() {
		unit, factor := printed(row.Unit)
		c := row.cells(r.Policy)
		e := entry{
			Name:  row.series() + " " + unit,
			Unit:  unit,
			Value: scaled(row.Head.Median, factor),
			Extra: fmt.Sprintf("n=%d, base %s, change %s", row.Head.N, plusMinus(c.base, c.baseCI), c.change),
		}
		if row.Verdict != NotGated {
			e.Extra += ", " + string(row.Verdict)
		}
		if _, _, ok := row.Head.interval(row.Exact); ok {
			e.Range = "± " + c.headCI
		}
		halves[row.Better] = append(halves[row.Better], e)
	}
	for _, half := range []struct {
		w      io.Writer
		better Direction
	}{{smaller, Lower}, {bigger, Higher}} {
		if half.w == nil {
			continue
		}
		if err := writeIndented(half.w, halves[half.better]); err != nil {
			return fmt.Errorf("gate: writing for github-action-benchmark: %w", err)
		}
	}
	return nil
}

// A BencherMeasure is what Bencher calls a measure.
type BencherMeasure struct {
	Slug   string    // as in WriteBencher's keys
	Unit   string    // of the values
	Better Direction // 0 if unknown
}

// WriteBencher writes the head's medians for Bencher (https://bencher.dev), in
// the Bencher Metric Format of its documentation, for bencher run --adapter json:
//
//	{"Send-2": {"latency": {"value": 74120, "lower_value": 73000, "upper_value": 75000}}}
//
// lower_value and upper_value are the confidence interval of 95 %, and are left
// out if there are too few samples for one. ns/op is Bencher's own measure
// latency, in nanoseconds, and msgs/s its throughput, in operations per second.
// Other units are measures that Bencher makes when it sees them first, with the
// unit in their name: p99-ns, server-cpu-ns-per-op, mb-per-s.
//
// The format has no word for which direction is better. It is in the boundary
// that a threshold of Bencher has: an upper one for measures of which less is
// better, as latency, and a lower one for those of which more is, as throughput.
// [Report.BencherMeasures] tells them apart. A measure without a threshold is
// drawn and never alerts.
func (r *Report) WriteBencher(w io.Writer) error {
	type metric struct {
		Value float64  `json:"value"`
		Lower *float64 `json:"lower_value,omitempty"`
		Upper *float64 `json:"upper_value,omitempty"`
	}
	slugs := r.slugs()
	all := map[string]map[string]metric{}
	for _, row := range r.exported() {
		_, factor := printed(row.Unit)
		m := metric{Value: scaled(row.Head.Median, factor)}
		if lo, hi, ok := row.Head.interval(row.Exact); ok {
			lo, hi = scaled(lo, factor), scaled(hi, factor)
			m.Lower, m.Upper = &lo, &hi
		}
		name := row.series()
		if all[name] == nil {
			all[name] = map[string]metric{}
		}
		all[name][slugs[row.Unit]] = m
	}
	if err := writeIndented(w, all); err != nil {
		return fmt.Errorf("gate: writing for Bencher: %w", err)
	}
	return nil
}

// BencherMeasures returns the measures that WriteBencher writes, each once, in the
// order of Rows.
func (r *Report) BencherMeasures() []BencherMeasure {
	slugs := r.slugs()
	var list []BencherMeasure
	seen := map[string]bool{}
	for _, row := range r.exported() {
		if slug := slugs[row.Unit]; !seen[slug] {
			seen[slug] = true
			unit, _ := printed(row.Unit)
			list = append(list, BencherMeasure{Slug: slug, Unit: unit, Better: row.Better})
		}
	}
	return list
}

// slugs returns the measure of each unit.
func (r *Report) slugs() map[string]string {
	slugs := map[string]string{"sec/op": "latency", "msgs/s": "throughput"}
	taken := map[string]bool{"latency": true, "throughput": true}
	for _, row := range r.exported() {
		if slugs[row.Unit] != "" {
			continue
		}
		unit, _ := printed(row.Unit)
		slug := slugOf(unit)
		for n := 2; taken[slug]; n++ {
			slug = fmt.Sprintf("%s-%d", slugOf(unit), n)
		}
		taken[slug] = true
		slugs[row.Unit] = slug
	}
	return slugs
}

// slugOf returns a unit in the letters that a slug may have: a-z, 0-9 and "-"
// between them.
func slugOf(unit string) string {
	unit = strings.NewReplacer("/", "-per-", "%", "-percent-", "µ", "u").Replace(unit)
	words := strings.FieldsFunc(strings.ToLower(unit), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	if len(words) == 0 {
		return "metric"
	}
	return strings.Join(words, "-")
}

// exported returns the rows of which the head has a number.
func (r *Report) exported() []Row {
	var list []Row
	for _, row := range r.Rows {
		if row.Head.N > 0 && finite(row.Head.Median) && row.Unit != "" && row.Verdict != Invalid {
			list = append(list, row)
		}
	}
	return list
}

// series is what a benchmark is called in a history of results. The package
// comes last, as programs cut what is long.
func (r Row) series() string {
	if r.Package == "" {
		return r.Benchmark
	}
	return r.Benchmark + " (" + r.Package + ")"
}

// printed returns a unit as benchmarks print it, ns/op for sec/op, which is what
// the readers of charts know, and the factor to multiply values with. Charts do
// not scale: 74120 ns/op can be read on an axis and 0.00007412 sec/op cannot.
func printed(unit string) (string, float64) {
	if unit == "B/s" {
		return "MB/s", 1e-6
	}
	above, below, found := strings.Cut(unit, "/")
	if found {
		below = "/" + below
	}
	words := strings.Split(above, "-")
	factor := 1.0
	for i, w := range words {
		if w == "sec" {
			words[i] = "ns"
			factor *= 1e9
		}
	}
	return strings.Join(words, "-") + below, factor
}

// scaled returns v·factor without the last digits, which multiplying makes up.
func scaled(v, factor float64) float64 {
	v *= factor
	if !finite(v) {
		return v
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
	if err != nil {
		return v
	}
	return short
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(v)
}
