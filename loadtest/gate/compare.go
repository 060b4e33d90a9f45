package gate

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/perf/benchproc"
)

// Compare judges the results of two runs of go test -bench, each with a -count of
// ten or so: base is the output before a change, head the one after it.
//
// A time metric is worse if the Mann-Whitney test finds a difference, after
// Holm's correction for the number of metrics and benchmarks, and if the median is
// worse by more than the policy's minimum effect. It is the same if the test
// finds, at 5 %, that it is not worse by that much. Otherwise it is
// undecided. No test knows what else has changed between the two runs: on a
// machine with other work, use [AB] or have the runs take turns.
//
// Benchmarks are paired by package and full name. What cannot be judged has a
// verdict of its own and is a failure, such as [Missing] or [TooFew].
//
// An error says that there is nothing to compare: a reader that fails, a side
// without results (ErrNoResults), a policy that makes no sense. The Report is
// nil then.
func Compare(base, head io.Reader, p Policy) (*Report, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	ix, err := newIndex(p.IgnoreConfig)
	if err != nil {
		return nil, err
	}
	rep := &Report{Policy: p}
	for _, s := range []struct {
		name string
		from io.Reader
		to   *side
	}{{"base", base, &rep.base}, {"head", head, &rep.head}} {
		var problems []string
		if *s.to, problems, err = read(s.name, s.from); err != nil {
			return nil, err
		}
		rep.Problems = append(rep.Problems, problems...)
	}

	var tests []*test
	order, before := ix.benchmarks(rep.base)
	added, after := ix.benchmarks(rep.head)
	common := false
	for _, key := range order {
		b, h := before[key], after[key]
		if h == nil {
			rep.Rows = append(rep.Rows, Row{Benchmark: b.name, Package: b.pkg, Gated: true, P: -1, Verdict: Missing,
				Reason: "the head has no results of it" + renamed(b, after)})
			continue
		}
		common = true
		if s := doubled(b, h); s != "" {
			rep.Problems = append(rep.Problems, b.name+": "+s)
		}
		tests = append(tests, rep.pair(b, h)...)
	}
	for _, key := range added {
		if h := after[key]; before[key] == nil {
			rep.Rows = append(rep.Rows, Row{Benchmark: h.name, Package: h.pkg, P: -1, Verdict: New,
				Reason: "the base has no results of it"})
		}
	}
	if !common {
		rep.Problems = append(rep.Problems, "base and head have no benchmark in common")
	}
	rep.judge(tests, level{p.Alpha, missAlpha}, compared)
	rep.finish(before)
	return rep, nil
}

// renamed is a hint for a benchmark that the head does not have: it ran with
// another GOMAXPROCS.
func renamed(b *benchmark, after map[benchproc.Key]*benchmark) string {
	bare := func(name string) string {
		if i := strings.LastIndexByte(name, '-'); i > 0 && strings.Trim(name[i+1:], "0123456789") == "" {
			return name[:i]
		}
		return name
	}
	for _, h := range after {
		if h.pkg == b.pkg && bare(h.name) == bare(b.name) {
			return fmt.Sprintf("; it has %s, which ran with another GOMAXPROCS", h.name)
		}
		if h.name == b.name {
			return fmt.Sprintf("; it has one of this name in package %q", h.pkg)
		}
	}
	return ""
}

func doubled(b, h *benchmark) string {
	for _, s := range []struct {
		name string
		*benchmark
	}{{"base", b}, {"head", h}} {
		if s.doubled() {
			return fmt.Sprintf("the %s has each of its results more than once: was a file appended to itself?", s.name)
		}
	}
	return ""
}

// differs names the configuration in which two benchmarks differ, or in which
// results of one of them do.
func differs(b, h *benchmark) string {
	keys := slices.Concat(b.configs, h.configs)
	var list []string
	for _, f := range benchproc.NonSingularFields(keys) {
		var values []string
		for _, k := range keys {
			if v := fmt.Sprintf("%q", k.Get(f)); !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		list = append(list, f.String()+" is "+strings.Join(values, " and "))
	}
	return strings.Join(list, ", ")
}

// pair makes the rows of a benchmark that both sides have, and returns those that
// have to be tested.
func (r *Report) pair(b, h *benchmark) (tests []*test) {
	metrics := r.Policy.metrics()
	config := differs(b, h)
	units := slices.Clone(b.units)
	for _, u := range h.units {
		if !slices.Contains(units, u) {
			units = append(units, u)
		}
	}
	// What is gated comes first, in the policy's order.
	rank := func(unit string) int {
		if i := slices.IndexFunc(metrics, func(m Metric) bool { return tidy(m.Unit) == unit }); i >= 0 {
			return i
		}
		return len(metrics)
	}
	slices.SortStableFunc(units, func(x, y string) int { return rank(x) - rank(y) })

	for _, unit := range units {
		t := &test{base: b.values[unit], head: h.values[unit]}
		t.row = Row{Benchmark: b.name, Package: b.pkg, Unit: unit, P: -1,
			Base: summary(t.base, b.invalid[unit]), Head: summary(t.head, h.invalid[unit])}
		if i := rank(unit); i < len(metrics) {
			t.Metric, t.row.Gated = metrics[i], true
			t.Exact = t.Exact || r.exact(unit)
			if t.MinEffect == 0 && !t.Exact {
				t.MinEffect = r.Policy.MinEffect
			}
		}
		t.row.Exact, t.row.MinEffect = t.Exact, t.MinEffect
		t.row.Better = r.direction(unit, t.Better)
		if t.row.Base.Median > 0 && t.row.Head.Median > 0 {
			t.row.Ratio = t.row.Head.Median / t.row.Base.Median
		}
		settle := func(v Verdict, format string, args ...any) {
			t.row.Verdict, t.row.Reason = v, fmt.Sprintf(format, args...)
		}
		switch bad := b.invalid[unit] + h.invalid[unit]; {
		case !t.row.Gated:
			if bad != "" {
				r.Notes = append(r.Notes, t.row.name()+": "+bad)
			}
		case len(t.base) == 0:
			settle(New, "the base does not have this metric")
			t.row.Gated = false
		case b.invalid[unit] != "":
			settle(Invalid, "base: %s", b.invalid[unit])
		case h.invalid[unit] != "":
			settle(Invalid, "head: %s", h.invalid[unit])
		case len(t.head) == 0:
			settle(Missing, "the head does not have this metric, and the base has it in %d results", len(t.base))
		case len(t.base) < b.results || len(t.head) < h.results:
			settle(Missing, "%d of %d results of the base and %d of %d of the head have it, which must be all: was a line cut off?", len(t.base), b.results, len(t.head), h.results)
		case config != "":
			settle(Incomparable, "the results' configuration differs: %s", config)
		case t.row.Better == 0:
			settle(Incomparable, "whether more of %s is better or worse is not known: print a line \"Unit %[1]s better=lower\" with the results, or set Metric.Better", unit)
		case t.row.Better == Higher && t.MinEffect >= 1:
			settle(Incomparable, "more of %s is better, and it cannot become worse by 100 %% or more: a MinEffect of %v is never exceeded", unit, t.MinEffect)
		default:
			tests = append(tests, t)
		}
		r.Rows = append(r.Rows, t.row)
		t.at = len(r.Rows) - 1
	}
	return tests
}

// direction is which values of a unit are better: what the policy says, or the
// results, or what is known.
func (r *Report) direction(unit string, policy Direction) Direction {
	if policy != 0 {
		return policy
	}
	for _, s := range []side{r.head, r.base} {
		if d := Direction(s.units.GetBetter(unit)); d != 0 {
			return d
		}
	}
	return knownDirections[unit]
}

// exact says whether the results have a line "Unit … assume=exact".
func (r *Report) exact(unit string) bool {
	for _, s := range []side{r.head, r.base} {
		if m := s.units.Get(unit, "assume"); m != nil {
			return m.Value == "exact"
		}
	}
	return false
}

// finish adds what is wrong with the Report as a whole.
func (r *Report) finish(before map[benchproc.Key]*benchmark) {
	metrics, named := r.Policy.metrics(), r.Policy.Metrics != nil
	var units []string
	for _, m := range metrics {
		units = append(units, m.Unit)
		if named && !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Gated && row.Unit == tidy(m.Unit) }) {
			has := false
			for _, b := range before {
				has = has || slices.Contains(b.units, tidy(m.Unit))
			}
			if !has {
				r.Problems = append(r.Problems, fmt.Sprintf("no benchmark of the base has the metric %s, which the policy gates", m.Unit))
			}
		}
	}
	if p := r.Policy.Metrics; p != nil && len(p) == 0 {
		r.Problems = append(r.Problems, "nothing was gated: Policy.Metrics is empty; nil is for the default ones")
	}
	if len(r.Problems) == 0 && !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Gated }) {
		r.Problems = append(r.Problems, "nothing was gated: no benchmark has any of "+strings.Join(units, ", "))
	}
}
