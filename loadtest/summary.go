package loadtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// String returns a summary of several lines for a person to read. Its form may
// change.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d operations in %v on %d sessions: %.1f accepted/s\n",
		r.Ops, short(r.Elapsed), r.Config.Sessions, r.Rate())
	fmt.Fprintf(&b, "%d accepted, %d refused (%d throttled), %d failed, %d in doubt\n",
		r.Accepted, r.Refused, r.Throttled, r.Failed, r.InDoubt)

	fmt.Fprintf(&b, "%-10s%6s%10s%10s%10s%10s\n", "", "count", "p50", "p90", "p99", "max")
	row := func(name string, h *Histogram) {
		if h != nil && h.Count() > 0 {
			fmt.Fprintf(&b, "%-10s%6d%10v%10v%10v%10v\n", name, h.Count(),
				short(h.Quantile(0.5)), short(h.Quantile(0.9)), short(h.Quantile(0.99)), short(h.Max()))
		}
	}
	row("latency", r.Latency)
	row("service", r.Service)
	row("lag", r.Lag)
	row("dial", r.Dial)
	names := make([]string, 0, len(r.Phases))
	for name := range r.Phases {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		row("  "+name, r.Phases[name])
	}

	if r.Usage != nil {
		fmt.Fprintf(&b, "server used %v of CPU time and at the most %d bytes of memory\n", short(r.Usage.CPU), r.Usage.PeakRSS)
	}
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "%d × %s\n", e.Count, e.Kind)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	return b.String()
}

// short rounds d to three digits or so.
func short(d time.Duration) time.Duration {
	for unit := time.Duration(1); unit < time.Hour; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
	return d.Round(time.Second)
}
