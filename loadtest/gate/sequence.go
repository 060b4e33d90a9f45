package gate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchproc"
)

// An arm is what a sample is of.
type arm int

const (
	armBase arm = iota
	armAgain
	armHead
)

func (a arm) String() string { return [...]string{"base", "base, second instance", "head"}[a] }

const (
	// noisePairs are taken of the base and itself. With fewer than six the
	// signed-rank test has no interval of 95 %.
	noisePairs = 10
	// firstLook is after how many pairs of base and head the results are looked at
	// first, the next is after nextLook times as many, and so on.
	firstLook = 10
	nextLook  = 1.4
	// mostPairs is where it ends in any case: what more samples would show is too
	// small for anybody.
	mostPairs = 1000
)

// A sequence takes samples by turns until it is clear what they say.
//
// Each look at the samples is one more chance of a false alarm. So the k-th look
// has only 1/(k(k+1)) of each level to spend, of which the sum over all looks,
// however many there will be, is the level.
type sequence struct {
	policy Policy
	take   func(arm) (*benchfmt.Result, error)
	now    func() time.Duration // since the comparison has begun
	budget time.Duration        // until then

	noise [2][]*benchfmt.Result // the base, and the base again
	pairs [2][]*benchfmt.Result // base and head
	looks int
}

// run takes all samples. If one fails, the Report says so and has what was
// found until then.
func (s *sequence) run() *Report {
	for len(s.noise[0]) < noisePairs {
		if err := s.pair(&s.noise, armBase, armAgain); err != nil {
			return s.failed(err)
		}
	}
	due, alarms := firstLook, map[string]bool(nil)
	for {
		if err := s.pair(&s.pairs, armBase, armHead); err != nil {
			return s.failed(err)
		}
		n := len(s.pairs[0])
		elapsed := s.now()
		// The next pair takes as long as those before, on average.
		over := elapsed+elapsed/time.Duration(n+noisePairs) > s.budget || n >= mostPairs
		if n < due && !over {
			continue
		}
		due = max(due+1, int(math.Ceil(float64(due)*nextLook)))
		rep := s.look()
		worse, open := rep.tally()
		confirmed := false
		for unit := range worse {
			confirmed = confirmed || alarms[unit]
		}
		switch {
		case confirmed:
			return s.stopped(rep, "the head is worse, and more samples have confirmed it")
		case len(worse) > 0 && over:
			return s.stopped(rep, "the head is worse, and there was no time to confirm it")
		case len(worse) == 0 && open == 0:
			return s.stopped(rep, "all is decided")
		case over:
			if n >= mostPairs {
				return s.stopped(rep, "more samples than this are of no use")
			}
			return s.stopped(rep, "the time is up")
		}
		alarms = worse
	}
}

// pair takes a sample of each of two arms, now one first and now the other.
func (s *sequence) pair(to *[2][]*benchfmt.Result, first, second arm) error {
	arms, order := [2]arm{first, second}, [2]int{0, 1}
	if len(to[0])%2 == 1 {
		order = [2]int{1, 0}
	}
	var got [2]*benchfmt.Result
	for _, i := range order {
		res, err := s.take(arms[i])
		if err != nil {
			return fmt.Errorf("%v: sample %d: %w", arms[i], len(to[0])+1, err)
		}
		got[i] = res
	}
	for i := range to {
		to[i] = append(to[i], got[i])
	}
	return nil
}

// look judges the pairs there are.
func (s *sequence) look() *Report {
	s.looks++
	rep := &Report{Policy: s.policy}
	rep.base = side{name: "base", results: s.pairs[0], units: directions(s.pairs[0])}
	rep.head = side{name: "head", results: s.pairs[1], units: directions(s.pairs[1])}
	ix, err := newIndex(nil)
	if err != nil {
		panic(err) // it depends on nothing but constants
	}
	share := float64(s.looks * (s.looks + 1))
	order, before := ix.benchmarks(rep.base)
	noise := floors(ix, s.noise, before)
	_, after := ix.benchmarks(rep.head)
	for _, key := range order {
		tests := rep.pair(before[key], after[key])
		for _, t := range tests {
			t.floor = noise[t.row.Unit]
		}
		rep.judge(tests, level{s.policy.Alpha / share, missAlpha / share}, paired)
	}
	rep.finish(before)
	rep.AB = &ABInfo{Pairs: len(s.pairs[0]), NoisePairs: len(s.noise[0]), Looks: s.looks}
	if len(order) > 0 {
		rep.AB.Ops = s.pairs[0][0].Iters
	}
	return rep
}

func (s *sequence) stopped(rep *Report, why string) *Report {
	rep.AB.Stopped, rep.AB.Elapsed = why, s.now()
	return rep
}

func (s *sequence) failed(err error) *Report {
	rep := &Report{Policy: s.policy, AB: &ABInfo{NoisePairs: len(s.noise[0])}}
	if len(s.pairs[0]) > 0 {
		rep = s.look()
	}
	rep.Problems = append(rep.Problems, err.Error())
	return s.stopped(rep, "a side has failed")
}

// tally returns the units of the rows that are worse, and how many there are that
// more samples may decide.
func (r *Report) tally() (worse map[string]bool, open int) {
	worse = map[string]bool{}
	for _, row := range r.Rows {
		switch row.Verdict {
		case Worse:
			worse[row.Unit] = true
		case Undecided, TooFew:
			open++
		}
	}
	return worse, open
}

// A floor is how much a metric of the base differs from itself.
type floor struct {
	noise interval // of the base and its second instance
	// chance is half the width of the interval of differences of the base's own
	// samples, of which there are so many.
	chance float64
	pairs  int
	values []float64 // of the base before the comparison
}

// floors returns those of all metrics. They are taken of the pairs of base and
// base before the comparison, and of the base's samples within it: each with the
// next one, so that a moment of calm or of trouble at the beginning does not
// decide what is noise.
func floors(ix *index, noise [2][]*benchfmt.Result, along map[benchproc.Key]*benchmark) map[string]*floor {
	out := map[string]*floor{}
	order, base := ix.benchmarks(side{results: noise[0]})
	_, again := ix.benchmarks(side{results: noise[1]})
	for _, key := range order {
		if again[key] == nil {
			continue
		}
		for unit, values := range base[key].values {
			others := again[key].values[unit]
			if base[key].invalid[unit] != "" || again[key].invalid[unit] != "" || len(others) == 0 {
				continue
			}
			d := differences(values, others)
			f := &floor{noise: hodgesLehmann(d, confidence), values: slices.Concat(values, others)}
			if l := along[key]; l != nil && l.invalid[unit] == "" {
				v := logs(l.values[unit])
				for i := 0; i+1 < len(v); i += 2 {
					d = append(d, v[i]-v[i+1])
				}
			}
			// The centre is known to be 0, or the instances' difference: what is
			// wanted is the width.
			all := hodgesLehmann(d, confidence)
			f.chance, f.pairs = (all.hi-all.lo)/2, len(d)
			out[unit] = f
		}
	}
	return out
}

// bias is the part of the difference that is not chance, and that no number of
// samples makes smaller: two instances of one server are not alike. It is a share
// of the base.
func (f *floor) bias() float64 {
	if math.IsInf(f.noise.lo, 0) {
		return 0
	}
	return math.Expm1(max(0, f.noise.lo, -f.noise.hi))
}

// at returns what is left of the difference with n pairs, as a share of the base:
// chance becomes less with the root of n.
func (f *floor) at(n int) float64 {
	if n == 0 || math.IsInf(f.chance, 0) {
		return 0
	}
	return (1+f.bias())*math.Exp(f.chance*math.Sqrt(float64(f.pairs)/float64(n))) - 1
}

// pairsFor returns how many pairs make the floor as low as a difference, of which it
// gets the logarithm.
func (f *floor) pairsFor(difference float64) int {
	left := difference - math.Log1p(f.bias())
	if math.IsInf(f.chance, 0) || !(left > 0) {
		return 0 // more pairs change nothing
	}
	return int(math.Ceil(min(float64(f.pairs)*math.Pow(f.chance/left, 2), mostSamples)))
}

// directions are those that are known of the metrics in results, for files.
func directions(results []*benchfmt.Result) benchfmt.UnitMetadataMap {
	m := benchfmt.UnitMetadataMap{}
	for _, res := range results {
		for _, v := range res.Values {
			unit := tidy(v.Unit)
			d := knownDirections[unit]
			if d == 0 {
				continue
			}
			printed := v.Unit
			if v.OrigUnit != "" {
				printed = v.OrigUnit
			}
			key := benchfmt.UnitMetadataKey{Unit: unit, Key: "better"}
			m[key] = &benchfmt.UnitMetadata{UnitMetadataKey: key, OrigUnit: printed, Value: d.String()}
		}
	}
	return m
}
