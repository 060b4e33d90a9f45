package smtptest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// A scope is what a counter counts for. The zero scope is the whole server.
type scope struct {
	number int64
	text   string
}

// maxScopes bounds what a tally remembers: a Hook is not told when a session
// ends, and a load test has millions of them.
const maxScopes = 1 << 16

// A tally keeps a T for each scope. It is two generations of a cache: when the
// young one is full, it becomes the old one, and what nobody used since is
// forgotten with the one before.
type tally[T any] struct {
	mu         sync.Mutex // guards the rest
	young, old map[scope]T
}

// update replaces the T of by, at first the zero T, and returns the new one.
func (t *tally[T]) update(by scope, change func(T) T) T {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.young[by]
	if !ok {
		if len(t.young) >= maxScopes {
			t.old, t.young = t.young, nil
		}
		if t.young == nil {
			t.young = make(map[scope]T)
		}
		v = t.old[by]
	}
	v = change(v)
	t.young[by] = v
	return v
}

// A counter counts from 1.
type counter struct{ tally[int64] }

func (n *counter) next(by scope) int64 {
	return n.update(by, func(k int64) int64 { return k + 1 })
}

// windows counts from 1 in each interval.
type windows struct{ tally[window] }

type window struct {
	begin time.Time
	n     int64
}

func (n *windows) next(by scope, interval time.Duration) int64 {
	return n.update(by, func(w window) window {
		if now := time.Now(); w.n == 0 || now.Sub(w.begin) >= interval {
			return window{now, 1}
		}
		w.n++
		return w
	}).n
}

// dice draws numbers that depend on the seed, the scope and the count in this
// scope only: a shared generator would give each session what the others left.
type dice struct {
	seed uint64
	counter
}

// next returns a number in [0, 1).
func (d *dice) next(by scope) float64 {
	h := uint64(14695981039346656037) // FNV-1a; hash/maphash has a seed of its own
	for i := range len(by.text) {
		h = (h ^ uint64(by.text[i])) * 1099511628211
	}
	x := mix(mix(mix(d.seed)^h)^uint64(by.number)) + uint64(d.counter.next(by))*golden
	return float64(mix(x)>>11) / (1 << 53)
}

const golden = 0x9e3779b97f4a7c15

// mix is the output function of SplitMix64, which is made for inputs that are a
// count times golden.
func mix(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fold returns an address with its domain in lower case (RFC 5321 §2.4: local
// parts are compared as they are).
func fold(addr string) string {
	at := strings.LastIndexByte(addr, '@')
	domain := strings.ToLower(addr[at+1:])
	if domain == addr[at+1:] {
		return addr
	}
	return addr[:at+1] + domain
}

// matcher returns a function that tells whether an address matches one of the
// patterns.
func matcher(method string, patterns []string) func(string) bool {
	if len(patterns) == 0 {
		panic(fmt.Sprintf("smtptest: Rule.%s(): no pattern", method))
	}
	var folded []string
	for _, p := range patterns {
		if strings.ContainsAny(p, "<> \t\r\n") {
			panic(fmt.Sprintf("smtptest: Rule.%s(%q): want an address without angle brackets, or \"\"", method, p))
		}
		folded = append(folded, fold(p))
	}
	return func(addr string) bool {
		addr = fold(addr)
		for _, p := range folded {
			if glob(p, addr) {
				return true
			}
		}
		return false
	}
}

// glob tells whether s matches pattern, in which * stands for any characters.
// path.Match does not fit: an address may contain /, [ and ].
func glob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return s == pattern
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, part)
		}
		// The leftmost place leaves most for what follows.
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
