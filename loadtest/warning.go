package loadtest

import (
	"fmt"
	"runtime"
	"time"
)

// doubts returns the reasons to doubt res. Each says what to do.
func (r *run) doubts(res *Result, t *tally) []error {
	var all []error
	add := func(format string, args ...any) {
		all = append(all, fmt.Errorf("loadtest: "+format, args...))
	}
	if t.generator > 0 {
		add("%w: %d errors are of this side, and say nothing of the server (see Errors): raise the limit of open files (ulimit -n), use more local addresses, or fewer sessions",
			ErrGenerator, t.generator)
	}
	if res.Missed > 0 {
		add("%w: %d operations were due before Duration (%v) was over and were not started, as no session was free: use more Sessions, or a lower rate if the server is at its limit",
			ErrMissed, res.Missed, r.cfg.Duration)
	}
	if late := t.late.Quantile(0.99); late > time.Millisecond && late > res.Latency.Quantile(0.99)/10 {
		cores := runtime.GOMAXPROCS(0)
		advice := "take the machine's other load away, or run the server elsewhere"
		if res.CPU > time.Duration(0.9*float64(cores)*float64(res.Elapsed)) {
			advice = fmt.Sprintf("this process used all of its %d cores: use a lower rate, or run the server in another process or on another machine", cores)
		}
		add("%w: it woke up late for operations that a session was free for, by %v at p50 and %v at p99 (latency at p99: %v): %s",
			ErrBottleneck, t.late.Quantile(0.5), late, res.Latency.Quantile(0.99), advice)
	}
	clamped := t.latency.clamped + t.service.clamped + t.lag.clamped + t.dial.clamped
	for _, h := range t.phases {
		if h != nil {
			clamped += h.clamped
		}
	}
	if clamped > 0 {
		add("%d durations were not between 0 and %v, and are in the histograms as if they were: quantiles near them are wrong", clamped, highestDuration)
	}
	if res.Ops > 0 && res.Ops < int64(r.cfg.Sessions) && r.cfg.OpsPerSession == 0 {
		add("%d operations on %d sessions: some sessions had nothing to do; use more operations, or fewer Sessions", res.Ops, r.cfg.Sessions)
	}
	if r.usage != nil {
		all = append(all, r.usage.Warnings...)
	}
	if r.meterErr != nil {
		all = append(all, r.meterErr)
	}
	return all
}
