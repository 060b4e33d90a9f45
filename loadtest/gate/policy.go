package gate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/perf/benchunit"
)

// A Policy says what counts as worse. The zero value is a good one.
type Policy struct {
	// Metrics are those that are gated. nil means [DefaultMetrics], as far as the
	// base has them. One that is named here and missing is a failure.
	// The fewer, the smaller the changes that are found: Alpha is for all of
	// them together.
	Metrics []Metric `json:"metrics,omitempty"`
	// Alpha is the chance of a false alarm over all gated metrics of a
	// comparison, if their noise is the same on both sides. 0 means 0.01.
	Alpha float64 `json:"alpha"`
	// MinEffect is by how much a metric has to be worse to be called so, as a
	// share of the base: 0.05, which is what 0 means, is 5 %. A change that is
	// smaller is let pass even if it is certain.
	MinEffect float64 `json:"min_effect"`
	// FailUndecided makes a verdict of Undecided a failure.
	FailUndecided bool `json:"fail_undecided,omitempty"`
	// IgnoreConfig are keys of benchmark configuration ("commit") that may differ
	// between base and head. Results that differ in others, such as goarch or
	// cpu, are not compared.
	IgnoreConfig []string `json:"ignore_config,omitempty"`

	// Budget is the time that AB may take, noise floor and warm-up included. It
	// takes less if the answer is clear before. 0 means two minutes.
	Budget time.Duration `json:"budget_ns,omitempty"`
	// SampleTime is how long AB has each sample last, about, without what the
	// benchmark does before b.Loop; it finds the number of iterations for it,
	// which is the same for all samples then. 0 means 50 ms, with which the same is
	// found in less than half the time that samples of 200 ms take. High percentiles
	// want long ones.
	SampleTime time.Duration `json:"sample_time_ns,omitempty"`
	// Ops is the number of iterations of each of AB's samples. 0 means as
	// many as take SampleTime.
	Ops int `json:"ops,omitempty"`

	// Dir is a folder to which AB and Check write their files; see
	// [Report.WriteFiles]. It is made if it is not there. "" means one in that of the
	// environment variable BENCHMAIL_GATE_DIR, and no files without that.
	Dir string `json:"dir,omitempty"`
}

// A Metric is one that is gated.
type Metric struct {
	// Unit as a benchmark prints it: "ns/op", "server-cpu-ns/op", "p99-ns".
	Unit string `json:"unit"`
	// Better is the direction. 0 means that of the "Unit … better=" lines of the
	// results or, if there is none, the one that is known for the unit: all that
	// package testing and smtptest report.
	Better Direction `json:"better,omitempty"`
	// MinEffect is for this metric what Policy.MinEffect is for all. 0 means that
	// one; for a metric that is Exact, any difference.
	MinEffect float64 `json:"min_effect,omitempty"`
	// Exact is for what can be counted and does not vary: errors, allocations,
	// round trips. A line "Unit … assume=exact" of the results says the same. Any
	// difference is a change then, and one sample is enough.
	// If it varies all the same, on either side, it is compared as if it were not
	// exact, and the report says so; but what did not vary in the base and is off
	// in each sample of the head has changed, and where the base is 0 in all of
	// its samples, one sample of the head that is not 0 is a change.
	Exact bool `json:"exact,omitempty"`
}

// A Direction says which values of a metric are better.
type Direction int

// The zero Direction is unknown.
const (
	Lower  Direction = -1
	Higher Direction = +1
)

func (d Direction) String() string {
	switch d {
	case Lower:
		return "lower"
	case Higher:
		return "higher"
	}
	return "unknown"
}

// DefaultMetrics returns what is gated if a Policy does not say: time and CPU time
// for an operation, and the exact errors/op and allocs/op. CPU time does not
// depend on how much of the machine others leave: it is the server's if it is
// measured, and if it is not, cpu-ns/op, which smtptest.Benchmark reports, and
// which AB measures itself for other benchmarks: that of this process, which
// is load and server together, or the load alone if the server is elsewhere (in a
// container without a Config.Meter). Allocations are gated where the results have them,
// which those of AB have with -benchmem.
//
// They are few on purpose, and percentiles are not among them: a p99 takes many
// more samples than a mean to say the same.
func DefaultMetrics() []Metric {
	return []Metric{
		{Unit: "ns/op"},
		{Unit: "cpu-ns/op"},
		{Unit: "server-cpu-ns/op"},
		{Unit: "errors/op", Exact: true},
		{Unit: "allocs/op", Exact: true},
	}
}

const (
	defaultAlpha      = 0.01
	defaultMinEffect  = 0.05
	defaultBudget     = 2 * time.Minute
	defaultSampleTime = 50 * time.Millisecond
)

// withDefaults returns p with its defaults filled in, and units as benchfmt has
// them: "sec/op" for "ns/op".
func (p Policy) withDefaults() (Policy, error) {
	fill := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	fill(&p.Alpha, defaultAlpha)
	fill(&p.MinEffect, defaultMinEffect)
	if p.Budget == 0 {
		p.Budget = defaultBudget
	}
	if p.SampleTime == 0 {
		p.SampleTime = defaultSampleTime
	}
	var errs []error
	complain := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("gate: Policy."+format, args...))
	}
	if !(p.Alpha > 0 && p.Alpha < 0.5) {
		complain("Alpha is %v: a probability above 0 and below 0.5 is needed, such as 0.01", p.Alpha)
	}
	if !(p.MinEffect > 0 && p.MinEffect < 10) {
		complain("MinEffect is %v: a share of the base is needed, such as 0.05 for 5 %%", p.MinEffect)
	}
	if p.Budget < 0 || p.SampleTime < 0 || p.Ops < 0 {
		complain("Budget, SampleTime and Ops must not be negative")
	}
	p.Metrics = slices.Clone(p.Metrics)
	for i, m := range p.Metrics {
		switch {
		case strings.TrimSpace(m.Unit) == "" || strings.ContainsAny(m.Unit, " \t\n"):
			complain("Metrics[%d].Unit is %q: a unit as benchmarks print it is needed, such as ns/op", i, m.Unit)
		case !(m.MinEffect >= 0 && m.MinEffect < 10):
			complain("Metrics[%d].MinEffect of %s is %v: a share of the base is needed, such as 0.05 for 5 %%", i, m.Unit, m.MinEffect)
		case m.Better < Lower || m.Better > Higher:
			complain("Metrics[%d].Better of %s is %d: Lower or Higher is needed, or 0", i, m.Unit, int(m.Better))
		case slices.ContainsFunc(p.Metrics[:i], func(o Metric) bool { return tidy(o.Unit) == tidy(m.Unit) }):
			complain("Metrics has %s twice", m.Unit)
		}
	}
	return p, errors.Join(errs...)
}

// metrics returns what is gated.
func (p Policy) metrics() []Metric {
	if p.Metrics != nil {
		return p.Metrics
	}
	return DefaultMetrics()
}

// tidy returns a unit as benchfmt has it: sec/op for ns/op.
func tidy(unit string) string {
	_, u := benchunit.Tidy(1, unit)
	return u
}

// knownDirections are those of units that benchfmt does not know by itself and
// that smtptest and containers report. A line "Unit … better=" is stronger.
var knownDirections = map[string]Direction{
	"msgs/s":                   Higher,
	"p50-sec":                  Lower,
	"p90-sec":                  Lower,
	"p99-sec":                  Lower,
	"max-sec":                  Lower,
	"errors/op":                Lower,
	"cpu-sec/op":               Lower,
	"dial-p50-sec":             Lower,
	"dial-p99-sec":             Lower,
	"server-cpu-sec/op":        Lower,
	"server-peak-RSS-bytes":    Lower,
	"server-RSS-bytes/session": Lower,
}

// worseBy returns by how much head is worse than base as a share of the base:
// 0.1 for a time that is 10 % longer, or for a rate that is 10 % lower. It is
// negative if head is better.
func (d Direction) worseBy(ratio float64) float64 {
	if d == Higher {
		return 1 - ratio
	}
	return ratio - 1
}

// limit returns the ratio of head to base from which on the head is worse by more
// than effect.
func (d Direction) limit(effect float64) float64 {
	if d == Higher {
		return math.Max(1-effect, 1e-9)
	}
	return 1 + effect
}
