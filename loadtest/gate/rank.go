package gate

import (
	"math"
	"slices"

	"github.com/aclements/go-moremath/stats"
)

// exactUpTo is up to how many differences the distribution of the signed-rank
// statistic is computed; beyond, the normal approximation errs on the safe side: for
// 61 differences it says 0.0012 for 0.001, 0.00015 for 0.0001 and 3.2e-6 for 1e-6.
const exactUpTo = 60

// signedRank is Wilcoxon's signed-rank test: how likely differences that lie as
// far above 0 (greater) or below it (less) are, if each was as likely to have the
// other sign. Zeros are left out, equal ones share their rank.
func signedRank(d []float64) (greater, less float64) {
	ranks, positive := doubledRanks(d)
	n := len(ranks)
	if n == 0 {
		return 1, 1
	}
	sum, squares := 0, 0.0
	for _, r := range ranks {
		sum += r
		squares += float64(r) * float64(r)
	}
	if n > exactUpTo {
		mean, sd := float64(sum)/2, math.Sqrt(squares)/2
		// Doubled ranks are in steps of 2: the continuity correction is 1.
		greater = stats.StdNormal.CDF((mean - float64(positive) + 1) / sd)
		less = stats.StdNormal.CDF((float64(positive) - mean + 1) / sd)
		return min(greater, 1), min(less, 1)
	}
	for s, p := range sumsOfRanks(ranks, sum) {
		if s >= positive {
			greater += p
		}
		if s <= positive {
			less += p
		}
	}
	return min(greater, 1), min(less, 1)
}

// doubledRanks returns twice the ranks of the absolute values, so that shared
// ones are whole numbers, and the sum of those of positive differences.
func doubledRanks(d []float64) (ranks []int, positive int) {
	s := slices.DeleteFunc(slices.Clone(d), func(v float64) bool { return v == 0 })
	slices.SortFunc(s, func(a, b float64) int {
		switch a, b := math.Abs(a), math.Abs(b); {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	})
	ranks = make([]int, len(s))
	for i := 0; i < len(s); {
		j := i + 1
		for j < len(s) && math.Abs(s[j]) == math.Abs(s[i]) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = i + 1 + j // twice the mean of i+1 … j
			if s[k] > 0 {
				positive += ranks[k]
			}
		}
		i = j
	}
	return ranks, positive
}

// sumsOfRanks returns the probability of each sum, if each rank is in it or not
// by the toss of a coin.
func sumsOfRanks(ranks []int, total int) []float64 {
	p := make([]float64, total+1)
	p[0] = 1
	top := 0
	for _, r := range ranks {
		top += r
		for s := top; s >= 0; s-- {
			v := p[s]
			if s >= r {
				v += p[s-r]
			}
			p[s] = v / 2
		}
	}
	return p
}

// An interval is an estimate and its confidence interval, which is infinite if
// there are too few values for one.
type interval struct{ est, lo, hi float64 }

// hodgesLehmann estimates the centre of differences: the median of the means of
// all pairs of them, with the interval that belongs to the signed-rank test.
func hodgesLehmann(d []float64, confidence float64) interval {
	n := len(d)
	if n == 0 {
		return interval{0, math.Inf(-1), math.Inf(1)}
	}
	walsh := make([]float64, 0, n*(n+1)/2)
	for i, v := range d {
		for _, w := range d[i:] {
			walsh = append(walsh, (v+w)/2)
		}
	}
	slices.Sort(walsh)
	k := signedRankQuantile(n, (1-confidence)/2)
	return ordered(walsh, k)
}

// signedRankQuantile returns how many of the smallest sums of ranks of n
// differences together have a probability of at most p.
func signedRankQuantile(n int, p float64) int {
	if n > exactUpTo {
		f := float64(n)
		mean, sd := f*(f+1)/4, math.Sqrt(f*(f+1)*(2*f+1)/24)
		return max(int(mean+sd*stats.InvCDF(stats.StdNormal)(p)), 0)
	}
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = i + 1
	}
	k, sum := 0, 0.0
	for _, q := range sumsOfRanks(ranks, n*(n+1)/2) {
		if sum += q; sum > p {
			break
		}
		k++
	}
	return k
}

// shift estimates by how much ys lie above xs: the median of all differences,
// with the interval that belongs to the Mann-Whitney test.
func shift(xs, ys []float64, confidence float64) interval {
	d := make([]float64, 0, len(xs)*len(ys))
	for _, x := range xs {
		for _, y := range ys {
			d = append(d, y-x)
		}
	}
	if len(d) == 0 {
		return interval{0, math.Inf(-1), math.Inf(1)}
	}
	slices.Sort(d)
	p := (1 - confidence) / 2
	k := 0
	if n1, n2 := len(xs), len(ys); n1*n2 > 225 {
		a, b := float64(n1), float64(n2)
		k = max(int(a*b/2+math.Sqrt(a*b*(a+b+1)/12)*stats.InvCDF(stats.StdNormal)(p)), 0)
	} else {
		u := stats.UDist{N1: n1, N2: n2}
		for u.CDF(float64(k)) <= p {
			k++
		}
	}
	return ordered(d, k)
}

// ordered returns the median of sorted values, and those that have k-1 values
// outside of them.
func ordered(sorted []float64, k int) interval {
	n := len(sorted)
	iv := interval{(sorted[(n-1)/2] + sorted[n/2]) / 2, math.Inf(-1), math.Inf(1)}
	if k > 0 && 2*k <= n {
		iv.lo, iv.hi = sorted[k-1], sorted[n-k]
	}
	return iv
}

// smallestP returns the smallest p that the two-sided Mann-Whitney test can have.
func smallestP(n1, n2 int) float64 {
	ways := 1.0 // n1+n2 over n1
	for i := 1; i <= n1; i++ {
		ways *= float64(n2+i) / float64(i)
	}
	return min(2/ways, 1)
}

// holm returns for each p whether it is significant, after Holm's correction for
// their number (Holm 1979, Scand. J. Statist. 6).
func holm(ps []float64, alpha float64) []bool {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case ps[a] < ps[b]:
			return -1
		case ps[a] > ps[b]:
			return 1
		}
		return 0
	})
	out := make([]bool, len(ps))
	for i, j := range order {
		if ps[j] > alpha/float64(len(ps)-i) {
			break
		}
		out[j] = true
	}
	return out
}

// mostSamples stands for more than anybody would take.
const mostSamples = 100_000

// samplesFor returns how many values with the standard deviation sd let a test
// at alpha find a distance in nine of ten cases; of each side if there are two
// sides, with sd theirs. The rank tests need 1/0.955 times what the t test does
// (their efficiency for normal noise).
func samplesFor(distance, sd, alpha float64, sides int) int {
	if !(math.Abs(distance) > 0) || math.IsInf(sd, 0) || math.IsNaN(sd) {
		return mostSamples
	}
	z := -stats.InvCDF(stats.StdNormal)(alpha) - stats.InvCDF(stats.StdNormal)(0.1)
	n := float64(sides) * math.Pow(z*sd/distance, 2) / 0.955
	return int(math.Ceil(min(n, mostSamples)))
}
