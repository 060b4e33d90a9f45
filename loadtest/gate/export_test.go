package gate

import "golang.org/x/perf/benchfmt"

// SetSides gives r the samples that Compare or AB would have given it.
func (r *Report) SetSides(base, head []*benchfmt.Result, units benchfmt.UnitMetadataMap) {
	r.base = side{results: base, units: units}
	r.head = side{results: head, units: units}
}
