package gate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"
	"golang.org/x/perf/benchunit"
)

// cells is a row as a person reads it: what tables of any form show.
type cells struct {
	unit           string
	base, baseCI   string // "74.12µ", "2%"; "" and "" if there are no samples
	head, headCI   string
	change, p, n   string
	floor, verdict string
	failed         bool
}

// cells formats r with the words and the precision of benchstat.
func (r Row) cells(p Policy) cells {
	c := cells{
		unit:    oneLine(r.Unit),
		change:  r.change(),
		p:       "-",
		n:       fmt.Sprint(r.Base.N),
		floor:   "-",
		verdict: string(r.Verdict),
		failed:  r.failed(p),
	}
	if c.unit == "" {
		c.unit = "(benchmark)" // the verdict is about all of it
	}
	baseScale, headScale := r.scales()
	if r.Verdict != Invalid || r.Base.Median != 0 { // which is 0 for the side that is invalid
		c.base, c.baseCI = r.Base.format(baseScale, r.Exact)
	}
	if r.Verdict != Invalid || r.Head.Median != 0 {
		c.head, c.headCI = r.Head.format(headScale, r.Exact)
	}
	switch {
	case !finite(r.P) || r.P < 0:
	case r.P < 0.0005:
		c.p = "<0.001"
	default:
		c.p = fmt.Sprintf("%.3f", r.P)
	}
	switch {
	case r.Head.N == 0 && r.Base.N == 0:
		c.n = "-"
	case r.Head.N != r.Base.N:
		c.n += fmt.Sprintf("+%d", r.Head.N)
	}
	if r.Floor > 0 && finite(r.Floor) {
		c.floor = fmt.Sprintf("%.1f%%", 100*r.Floor)
	}
	return c
}

// change is how much the head differs from the base, with the sign of benchstat:
// + is more, whichever direction is better. Unlike benchstat's it is not left out
// where it may be chance, as p and the verdict say so.
func (r Row) change() string {
	switch {
	case r.Base.N == 0 || r.Head.N == 0 || r.Verdict == Invalid:
		return "-"
	case r.Ratio > 100 && finite(r.Ratio):
		return fmt.Sprintf("×%.3g", r.Ratio)
	case r.Ratio > 0 && finite(r.Ratio):
		return fmt.Sprintf("%+.2f%%", 100*(r.Ratio-1))
	case r.Base.Median == r.Head.Median:
		return "0.00%"
	case r.Head.Median == 0:
		return "-100.00%"
	}
	return "?" // from 0 to something
}

// scales returns how to write both sides: alike, so that they can be compared at
// a glance, unless one is so much larger that it would not fit.
func (r Row) scales() (base, head benchunit.Scaler) {
	class := benchunit.ClassOf(r.Unit)
	b, h := math.Abs(r.Base.Median), math.Abs(r.Head.Median)
	if !finite(b) || !finite(h) || b > 1000*h || h > 1000*b {
		return benchunit.CommonScale([]float64{b}, class), benchunit.CommonScale([]float64{h}, class)
	}
	common := benchunit.CommonScale([]float64{b, h}, class)
	return common, common
}

// format returns the median and its confidence interval, as benchstat would.
func (s Summary) format(scale benchunit.Scaler, exact bool) (median, ci string) {
	if s.N == 0 || !finite(s.Median) {
		return "", ""
	}
	lo, hi, ok := s.interval(exact)
	if !ok {
		lo, hi = math.Inf(-1), math.Inf(1)
	}
	ci = benchmath.Summary{Center: s.Median, Lo: lo, Hi: hi}.PctRangeString()
	if len(ci) > len("1000%") {
		ci = ">9999%"
	}
	return scale.Format(s.Median), ci
}

// interval returns the confidence interval of the median; ok says that there is
// one.
func (s Summary) interval(exact bool) (lo, hi float64, ok bool) {
	const fewest = 6 // samples for an interval of 95 %
	switch {
	case s.Lo != 0 || s.Hi != 0:
		return s.Lo, s.Hi, finite(s.Lo) && finite(s.Hi)
	case exact:
		return s.Median, s.Median, true // as far as is known, it does not vary
	}
	return 0, 0, s.Median == 0 && s.N >= fewest // all samples are 0, or nothing is known
}

// plusMinus joins what format returns.
func plusMinus(median, ci string) string {
	if median == "" {
		return "-"
	}
	return median + " ± " + ci
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// judged says whether r belongs to the rows that decide, or to the rest.
func (r Row) judged() bool { return r.Gated || r.Verdict != NotGated }

// A group is all rows of one benchmark.
type group struct {
	pkg, benchmark string
	rows           []Row
}

// groups returns the rows that are judged, or else the others, by benchmark and
// in the order of the report.
func (r *Report) groups(judged bool) []group {
	var list []group
	for _, row := range r.Rows {
		if row.judged() != judged {
			continue
		}
		i := slices.IndexFunc(list, func(g group) bool { return g.pkg == row.Package && g.benchmark == row.Benchmark })
		if i < 0 {
			i = len(list)
			list = append(list, group{pkg: row.Package, benchmark: row.Benchmark})
		}
		list[i].rows = append(list[i].rows, row)
	}
	return list
}

// conclusion is the report in one line, "PASS: …" or "FAIL: …".
func (r *Report) conclusion() string {
	total := 0
	bad, rest := map[Verdict]int{}, map[Verdict]int{}
	for _, row := range r.Rows {
		failed := row.failed(r.Policy)
		if row.Gated || failed {
			total++
		}
		if failed {
			bad[row.Verdict]++
		} else if row.judged() {
			rest[row.Verdict]++
		}
	}
	var parts []string
	if n := len(r.Problems); n > 0 {
		parts = append(parts, plural(n, "problem"))
	}
	word := "PASS: "
	switch failures := tally(bad); {
	case total == 0 && len(r.Problems) > 0: // why is one of them
		parts = append(parts, "nothing was judged")
	case total == 0:
		parts = append(parts, "no metric is gated")
	case len(failures) == 0:
		parts = append(parts, fmt.Sprintf("none of %s worse", plural(total, "gated metric")))
	default:
		number, what, _ := strings.Cut(failures[0], " ")
		failures[0] = fmt.Sprintf("%s of %s %s", number, plural(total, "gated metric"), what)
		parts = append(parts, failures...)
	}
	s := strings.Join(parts, ", ")
	if others := tally(rest); len(others) > 0 {
		s += " (" + strings.Join(others, ", ") + ")"
	}
	if len(r.Failures()) > 0 {
		word = "FAIL: "
	}
	return word + s
}

// tally returns "1 worse", "2 same".
func tally(count map[Verdict]int) []string {
	var list []string
	for _, v := range []Verdict{Worse, Missing, TooFew, Incomparable, Invalid, Undecided, Better, Same, New} {
		switch {
		case count[v] == 0:
		case v == TooFew:
			list = append(list, fmt.Sprintf("%d with too few samples", count[v]))
		default:
			list = append(list, fmt.Sprintf("%d %s", count[v], v))
		}
	}
	return list
}

// sampled says how AB took its samples.
func (i *ABInfo) sampled() string {
	s := "Sampled " + plural(i.Pairs, "pair") + " of base and head"
	if i.NoisePairs > 0 {
		s += " and " + plural(i.NoisePairs, "pair") + " of the base and itself"
	}
	s += fmt.Sprintf(", %s each, in %v", plural(i.Ops, "iteration"), short(i.Elapsed))
	if i.Looks > 0 {
		s += " with " + plural(i.Looks, "look") + " at them"
	}
	if i.Stopped != "" {
		s += ", and stopped: " + i.Stopped
	}
	return s
}

// plural returns "1 pair" or "2 pairs".
func plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
