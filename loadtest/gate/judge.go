package gate

import (
	"fmt"
	"math"
	"slices"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"
)

// confidence is that of the intervals in a Report.
const confidence = 0.95

// A test is a gated metric of a benchmark that both sides have.
type test struct {
	Metric
	row        Row
	at         int // the row's place in the Report
	base, head []float64
	floor      *floor // of AB
}

// A finding is what the samples of a metric say, before it is known how many other
// metrics there are.
type finding struct {
	p        float64 // two-sided, of no difference
	notWorse float64 // p of being worse by MinEffect or more
	change   interval
	sd       float64 // of a sample's logarithm, as far as it matters here
	sides    int     // how many sides' samples have that sd
}

// A method is how samples are compared: compared, or paired.
type method func(base, head []float64, better Direction, minEffect float64) finding

// missAlpha is the chance to call a metric the same that is worse by just
// the minimum effect. It is larger than that of a false alarm: what is worse by
// twice as much is not missed.
const missAlpha = 0.05

// A level is how certain verdicts have to be.
type level struct {
	alarm float64 // of worse and better, for all metrics together
	miss  float64 // of the same
}

// judge gives each test its verdict: exact ones by themselves, all others
// together, as the level is for them together.
func (r *Report) judge(tests []*test, at level, find method) {
	var open []*test
	for _, t := range tests {
		if t.exactly() {
			r.Rows[t.at] = t.row
			continue
		}
		if t.row.MinEffect == 0 {
			t.row.MinEffect = r.Policy.MinEffect
		}
		open = append(open, t)
	}
	findings, ps := make([]finding, len(open)), make([]float64, len(open))
	for i, t := range open {
		findings[i] = find(t.base, t.head, t.row.Better, t.row.MinEffect)
		ps[i] = findings[i].p
	}
	for i, significant := range holm(ps, at.alarm) {
		t := open[i]
		t.decide(findings[i], significant, at.miss, at.alarm/float64(len(open)))
		r.Rows[t.at] = t.row
	}
}

// exactly judges a metric that does not vary, without statistics. It returns
// false if it has to be tested like any other.
func (t *test) exactly() bool {
	row := &t.row
	base := t.base
	if t.floor != nil {
		base = slices.Concat(base, t.floor.values)
	}
	minB, maxB := slices.Min(base), slices.Max(base)
	minH, maxH := slices.Min(t.head), slices.Max(t.head)
	settle := func(v Verdict, format string, args ...any) bool {
		row.Verdict, row.Reason = v, fmt.Sprintf(format, args...)
		return true
	}
	switch {
	case maxB == 0 && maxH == 0:
		return settle(Same, "it is 0 on both sides")
	case t.Exact && maxB == 0:
		nonzero := 0
		for _, v := range t.head {
			if v != 0 {
				nonzero++
			}
		}
		return settle(map[Direction]Verdict{Lower: Worse, Higher: Better}[row.Better],
			"it was 0 in all of the base's %d samples, and is up to %v in %d of the head's %d", len(base), maxH, nonzero, len(t.head))
	case maxB == 0:
		return settle(Incomparable, "it is 0 in the base and %v in the head, which is no relative change", row.Head.Median)
	case !t.Exact:
		return false
	case minB != maxB || minH != maxH:
		row.Exact = false
		// The head's sample that is nearest to the base, if all are on one side of it.
		if minB == maxB && (minH > maxB || maxH < minB) {
			nearest := minH
			if maxH < minB {
				nearest = maxH
			}
			w := row.Better.worseBy(nearest / minB)
			if v := t.change(w); v != Same {
				return settle(v, "it was exactly %v and is %v to %v, %s or more", minB, minH, maxH, worse(w))
			}
		}
		row.Reason = fmt.Sprintf("not exact, as it varies (base %v to %v, head %v to %v): ", minB, maxB, minH, maxH)
		return false
	case minB == minH:
		return settle(Same, "exactly the same")
	}
	row.RatioLo, row.RatioHi = row.Ratio, row.Ratio
	w := row.Better.worseBy(minH / minB)
	if v := t.change(w); v != Same {
		return settle(v, "it was exactly %v and is exactly %v, %s", minB, minH, worse(w))
	}
	return settle(Same, "it was exactly %v and is exactly %v, which %s allow", minB, minH, percent(row.MinEffect))
}

// change is the verdict on a change that is certain.
func (t *test) change(worseBy float64) Verdict {
	switch {
	case worseBy > t.row.MinEffect:
		return Worse
	case worseBy < -t.row.MinEffect:
		return Better
	}
	return Same
}

// decide gives the verdict on what was found. The p of not being worse must not be
// above miss; the p of a difference must not be above first, if it is the most
// certain of all.
func (t *test) decide(f finding, significant bool, miss, first float64) {
	row := &t.row
	prefix := row.Reason
	settle := func(v Verdict, format string, args ...any) {
		row.Verdict, row.Reason = v, prefix+fmt.Sprintf(format, args...)
	}
	row.P = f.p
	if row.Base.Median == 0 || row.Head.Median == 0 {
		// Some samples are 0: there is no ratio, but there is an order.
		if t.tooFew(f, first, settle) {
			return
		}
		went := fmt.Sprintf("it went from %v to %v", row.Base.Median, row.Head.Median)
		if row.Base.Median == 0 {
			went += ", where there is no relative change"
		}
		switch {
		case !significant || row.Head.Median == row.Base.Median:
			settle(Undecided, "it is 0 in some samples, so there is no relative change, and no certain difference (p = %.2g)", f.p)
		case (row.Head.Median > row.Base.Median) == (row.Better == Lower):
			settle(Worse, "%s (p = %.2g)", went, f.p)
		default:
			settle(Better, "%s (p = %.2g)", went, f.p)
		}
		return
	}
	if f.sides == 1 {
		row.Ratio = math.Exp(f.change.est)
	}
	if !math.IsInf(f.change.lo, 0) && slices.Min(t.base) > 0 && slices.Min(t.head) > 0 {
		// The median of the ratios is not the ratio of the medians.
		row.RatioLo, row.RatioHi = min(math.Exp(f.change.lo), row.Ratio), max(math.Exp(f.change.hi), row.Ratio)
	}
	w := row.Better.worseBy(row.Ratio)
	bias := 0.0
	if t.floor != nil {
		row.Floor, bias = t.floor.at(len(t.base)), t.floor.bias()
	}
	// Half as much is as far off as twice as much: a rate cannot fall by more than
	// a share of 1, and the floor may be larger than that.
	above := math.Abs(math.Log(row.Ratio)) > math.Log1p(row.Floor)
	if t.tooFew(f, first, settle) {
		return
	}
	switch {
	case significant && math.Abs(w) > row.MinEffect && f.change.est*math.Log(row.Ratio) < 0:
		// The test is not one of medians.
		settle(Undecided, "the median is %s, and most samples say the opposite (p = %.2g): they are of more than one kind", worse(w), f.p)
	case significant && above && w > row.MinEffect:
		settle(Worse, "%s (p = %.2g), and more than %s are not allowed", worse(w), f.p, percent(row.MinEffect))
	case significant && above && w < -row.MinEffect:
		settle(Better, "%s (p = %.2g)", worse(w), f.p)
	case bias > row.MinEffect:
		settle(Undecided, "not decidable here: the base differs from itself by %s, and the policy wants %s", percent(row.Floor), percent(row.MinEffect))
	case f.notWorse <= miss && row.Floor <= row.MinEffect:
		settle(Same, "not worse by more than %s (p = %.2g)", percent(row.MinEffect), f.notWorse)
	default:
		t.undecided(f, significant, w, miss, first, settle)
	}
}

// tooFew gives the verdict TooFew if there is no other.
func (t *test) tooFew(f finding, first float64, settle func(Verdict, string, ...any)) bool {
	p := smallest(f.sides, len(t.base), len(t.head))
	if p <= first {
		return false
	}
	n := len(t.base)
	for smallest(f.sides, n, n) > first {
		n++
	}
	t.row.Need = n
	settle(TooFew, "with %d and %d samples no difference has a p below %.2g, and %.2g is needed: take %d of each", len(t.base), len(t.head), p, first, n)
	return true
}

// undecided says what is missing.
func (t *test) undecided(f finding, significant bool, w, miss, first float64, settle func(Verdict, string, ...any)) {
	row := &t.row
	limit, change := math.Log(row.Better.limit(row.MinEffect)), math.Log(row.Ratio)
	// Either it is what it seems to be and more samples show this, or it is not.
	visible := math.Log1p(row.MinEffect) // what the floor has to be below
	if w > row.MinEffect {
		row.Need = samplesFor(change, f.sd, first/2, f.sides)
		visible = math.Abs(change)
	} else {
		row.Need = samplesFor(limit-change, f.sd, miss, f.sides)
	}
	row.Need = max(row.Need, len(t.base)+1)
	if t.floor != nil {
		row.Need = max(row.Need, t.floor.pairsFor(visible))
	}
	enough := fmt.Sprintf("about %d samples of each would do", row.Need)
	if row.Need >= mostSamples {
		enough = fmt.Sprintf("not even %d samples of each would do", mostSamples)
	}
	if row.Floor > row.MinEffect {
		settle(Undecided, "not decidable here with %d samples of each: it seems to be %s, the base differs from itself by up to %s, and the policy wants %s; %s",
			len(t.base), worse(w), percent(row.Floor), percent(row.MinEffect), enough)
		return
	}
	is := fmt.Sprintf("it seems to be %s, which may be chance (p = %.2g, %.2g is needed)", worse(w), f.p, first)
	if significant {
		is = fmt.Sprintf("it is %s (p = %.2g)", worse(w), f.p)
	}
	settle(Undecided, "%s, and that it is more than %s worse is not ruled out (p = %.2g, %.2g is needed): %s",
		is, percent(row.MinEffect), f.notWorse, miss, enough)
}

// smallest returns the smallest p that a test can have.
func smallest(sides, n1, n2 int) float64 {
	if sides == 2 {
		return smallestP(n1, n2)
	}
	return math.Ldexp(2, -min(n1, n2))
}

// compared is the method for samples of two runs: Mann-Whitney.
func compared(base, head []float64, better Direction, minEffect float64) finding {
	f := finding{sides: 2}
	f.p = benchmath.AssumeNothing.Compare(sample(base), sample(head)).P
	limit := better.limit(minEffect)
	scaled := make([]float64, len(base))
	for i, v := range base {
		scaled[i] = v * limit
	}
	alt := stats.LocationLess // of the head
	if better == Higher {
		alt = stats.LocationGreater
	}
	f.notWorse = 1
	if u, err := stats.MannWhitneyUTest(head, scaled, alt); err == nil {
		f.notWorse = u.P
	}
	x, y := logs(base), logs(head)
	f.change = shift(x, y, confidence)
	f.sd = math.Max(spread(x), spread(y))
	return f
}

// paired is the method for samples that were taken by turns: the signed-rank test
// on the logarithms of the ratios of neighbours, which drift of the machine
// does not touch.
func paired(base, head []float64, better Direction, minEffect float64) finding {
	f := finding{sides: 1, notWorse: 1}
	d := differences(base, head)
	greater, less := signedRank(d)
	f.p = min(1, 2*min(greater, less))
	f.change = hodgesLehmann(d, confidence)
	f.sd = spread(d)
	limit := math.Log(better.limit(minEffect))
	for i := range d {
		d[i] -= limit
	}
	if greater, less = signedRank(d); better == Higher {
		f.notWorse = greater
	} else {
		f.notWorse = less
	}
	return f
}

// differences returns the logarithms of the ratios of pairs.
func differences(base, head []float64) []float64 {
	x, y := logs(base), logs(head)
	d := make([]float64, min(len(x), len(y)))
	for i := range d {
		d[i] = y[i] - x[i]
	}
	return d
}

// logs takes 0 for something very small, which has the right order.
func logs(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = math.Log(math.Max(v, 1e-300))
	}
	return out
}

// spread estimates the standard deviation from the distance to the median, which
// outliers hardly touch; from all values if most of them are equal.
func spread(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if len(s) < 2 {
		return math.Inf(1)
	}
	m := stats.Sample{Xs: s, Sorted: true}.Quantile(0.5)
	d := make([]float64, len(s))
	for i, v := range s {
		d[i] = math.Abs(v - m)
	}
	if mad := (stats.Sample{Xs: d}).Quantile(0.5); mad > 0 {
		return 1.4826 * mad
	}
	return stats.Sample{Xs: s}.StdDev()
}

func sample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
}

// summary leaves out what is invalid.
func summary(values []float64, invalid string) Summary {
	s := Summary{N: len(values)}
	if len(values) == 0 || invalid != "" {
		return s
	}
	sum := benchmath.AssumeNothing.Summary(sample(values), confidence)
	s.Median = sum.Center
	if !math.IsInf(sum.Lo, 0) && !math.IsInf(sum.Hi, 0) {
		s.Lo, s.Hi = sum.Lo, sum.Hi
	}
	return s
}

// percent is for sentences: "4.1 %".
func percent(share float64) string {
	switch v := math.Abs(share * 100); {
	case v >= 10:
		return fmt.Sprintf("%.0f %%", v)
	default:
		return fmt.Sprintf("%.2g %%", v)
	}
}

func worse(w float64) string {
	if w < 0 {
		return percent(w) + " better"
	}
	return percent(w) + " worse"
}
