package peers_test

import "slices"

// samples are one figure of each round.
type samples []float64

// median returns the middle one, or the mean of the middle two.
func (s samples) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratio divides round by round: what disturbs the machine for longer than a
// round disturbs both.
func ratio(a, b samples) samples {
	r := make(samples, min(len(a), len(b)))
	for i := range r {
		r[i] = a[i] / b[i]
	}
	return r
}

func (s samples) times(x float64) samples {
	r := make(samples, len(s))
	for i, v := range s {
		r[i] = v * x
	}
	return r
}

func (s samples) inverse() samples {
	r := make(samples, len(s))
	for i, v := range s {
		r[i] = 1 / v
	}
	return r
}

func (s samples) plus(t samples) samples {
	r := make(samples, min(len(s), len(t)))
	for i := range r {
		r[i] = s[i] + t[i]
	}
	return r
}

// figures are the samples of one process in each round, per message.
type figures struct {
	cpu  samples // ns
	wall samples // ns, from the process's start to its end
	rss  samples // bytes, of the whole process
}

func (f *figures) add(u usage, messages int) {
	f.cpu = append(f.cpu, float64(u.cpu)/float64(messages))
	f.wall = append(f.wall, float64(u.wall)/float64(messages))
	f.rss = append(f.rss, float64(u.peakRSS))
}
