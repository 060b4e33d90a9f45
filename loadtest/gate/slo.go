package gate

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/benchmail/benchmail/loadtest"
)

// An SLO (service level objective) says how good a server has to be under a load,
// whatever it was before. What is 0 is not checked, except ErrorRate: the zero SLO
// says that no message may be lost.
//
// Limits are for the machine that they were found on. One that holds on any
// machine of a CI is too loose to find a change: for that there are [Compare] and
// [AB].
type SLO struct {
	// P50, P90, P99 and Max are the longest that Result.Latency may be at
	// that percentile, of operations that were answered. Percentiles are known
	// to three significant digits, and a limit that is exceeded by less is met.
	P50, P90, P99, Max time.Duration
	// ErrorRate is the largest share of operations that may be refused, failed
	// or in doubt, as in Result.ErrorRate: 0.001 is one of a thousand. 0 means
	// none, and a negative one, or 1 and more, any. A recipient that was refused
	// in a message that was accepted for others is no error.
	ErrorRate float64
	// MinRate is the least number of accepted operations per second, as in
	// Result.Rate.
	MinRate float64
}

// Require is for one run of the load engine, with nothing to compare it to:
//
//	res, err := loadtest.Run(ctx, dialer, cfg)
//	…
//	gate.Require(t, res, gate.SLO{P99: 50 * time.Millisecond, MinRate: 1000})
//
// It fails tb for all that res breaks of the SLO, in one error with a
// sentence for each; the test goes on. It also fails if no operation was answered,
// as nothing is known of the server then, and ends the test if res is nil, or the
// SLO has values that mean nothing: NaN, or negative where that has no
// meaning.
//
// An operation is a message with [loadtest.SMTP]. Those of an open loop that were
// not started (Result.Missed) are in no count. That, and every other reason to
// doubt res (Result.Warnings), is logged.
func Require(tb testing.TB, res *loadtest.Result, slo SLO) {
	tb.Helper()
	if bad := slo.invalid(); bad != "" {
		tb.Fatalf("gate: Require: %s", bad)
	}
	if res == nil {
		tb.Fatalf("gate: Require: the result is nil: see the error that came with it")
	}
	for _, w := range res.Warnings {
		tb.Logf("warning: %v", w)
	}
	answered := int64(0)
	if res.Latency != nil {
		answered = res.Latency.Count()
	}
	switch {
	case res.Ops == 0:
		tb.Errorf("gate: the run has no operation: nothing is known of the server%s", frequent(res.Errors))
		return
	case answered == 0:
		tb.Errorf("gate: none of %s was answered: nothing is known of the server%s", plural(res.Ops, "operation"), frequent(res.Errors))
		return
	}

	var breaches []string
	latency := func(name string, q float64, limit time.Duration) {
		if limit == 0 {
			return
		}
		got := res.Latency.Quantile(q)
		reached := limit
		if q < 1 { // the histogram has the longest as it was, and others up to 0.1 % longer
			reached += limit / 1000
		}
		// Of fewer than these, a percentile is the longest.
		few := ""
		if need := int64(math.Round(1 / (1 - q))); q < 1 && answered < need {
			few = fmt.Sprintf("; of fewer than %d it is the longest", need)
		}
		if got > reached {
			breaches = append(breaches, fmt.Sprintf("%s latency: at most %v is asked for, %v was measured over %s that %s answered%s",
				name, limit, above(got, limit), plural(answered, "operation"), were(answered), few))
		} else if few != "" {
			tb.Logf("gate: %s latency of %s: %v%s", name, plural(answered, "operation"), short(got), few)
		}
	}
	latency("p50", 0.50, slo.P50)
	latency("p90", 0.90, slo.P90)
	latency("p99", 0.99, slo.P99)
	latency("longest", 1, slo.Max)

	if rate := res.ErrorRate(); slo.ErrorRate >= 0 && rate > slo.ErrorRate {
		allowed := "none"
		if slo.ErrorRate > 0 {
			allowed = "at most " + percent(slo.ErrorRate)
		}
		breaches = append(breaches, fmt.Sprintf("errors: %s may be refused, failed or in doubt, and %d of %s were (%s): %d refused, %d failed, %d in doubt%s",
			allowed, res.Ops-res.Accepted, plural(res.Ops, "operation"), percent(rate), res.Refused, res.Failed, res.InDoubt, frequent(res.Errors)))
	}
	if rate := res.Rate(); slo.MinRate > 0 && rate < slo.MinRate {
		breaches = append(breaches, fmt.Sprintf("rate: at least %v/s are asked for, %.4g/s were measured: %d accepted in %v",
			slo.MinRate, rate, res.Accepted, short(res.Elapsed)))
	}
	if len(breaches) > 0 {
		tb.Errorf("gate: the server breaks the SLO:\n%s", strings.Join(breaches, "\n"))
	}
}

// invalid says what is wrong with s, or "".
func (s SLO) invalid() string {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"P50", s.P50}, {"P90", s.P90}, {"P99", s.P99}, {"Max", s.Max}} {
		if d.value < 0 {
			return fmt.Sprintf("SLO.%s is %v: the longest duration that is allowed is needed, or 0", d.name, d.value)
		}
	}
	switch {
	case math.IsNaN(s.ErrorRate):
		return "SLO.ErrorRate is NaN: a share is needed, such as 0.001 for one of a thousand"
	case !(s.MinRate >= 0) || math.IsInf(s.MinRate, 0):
		return fmt.Sprintf("SLO.MinRate is %v: a number of operations per second is needed, or 0", s.MinRate)
	}
	return ""
}

// frequent returns the most frequent errors, to be added to a sentence.
func frequent(errs []loadtest.ErrorCount) string {
	const most = 3
	if len(errs) == 0 {
		return ""
	}
	var list []string
	for _, e := range errs[:min(len(errs), most)] {
		list = append(list, fmt.Sprintf("%d × %s", e.Count, e.Kind))
	}
	if n := len(errs) - most; n > 0 {
		list = append(list, plural(n, "more kind"))
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// above returns got with as many digits as show that it is above limit.
func above(got, limit time.Duration) time.Duration {
	if s := short(got); s > limit {
		return s
	}
	return got
}

func were(n int64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
