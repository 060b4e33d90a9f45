package loadtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// A Pacer is the schedule of an open loop. One Pacer must not be used by two
// runs at the same time.
//
// A Pacer may have a method Validate() error; Run returns its error before it
// does anything else.
type Pacer interface {
	// At returns when operation n starts, counted from the run's start. It is
	// called once for each n, in order, from 0, by one goroutine at a time; it
	// never decreases. A negative result ends the schedule.
	At(n int64) time.Duration
}

type validator interface{ Validate() error }

// Rate is the Pacer of a constant rate: operation n starts n/perSecond seconds
// after the run's start. Run returns an error if perSecond is not a positive,
// finite number.
func Rate(perSecond float64) Pacer { return rate(perSecond) }

type rate float64

func (r rate) At(n int64) time.Duration { return seconds(float64(n) / float64(r)) }

func (r rate) Validate() error { return checkRate("Rate", "perSecond", float64(r)) }

// Ramp is the Pacer of a rate, in operations per second, that changes linearly
// from one value to another over some time, and stays there: to find at which
// rate a server's latency goes up. Run returns an error if from is negative,
// to or over not positive, or any of them not finite. A ramp may start from 0;
// its operation 0 starts at once all the same.
func Ramp(from, to float64, over time.Duration) Pacer {
	return ramp{from: from, to: to, over: over}
}

type ramp struct {
	from, to float64
	over     time.Duration
}

// At inverts the number of operations started by time t,
//
//	N(t) = from·t + (to-from)/(2·over)·t²   while t ≤ over,
//
// with the form of the quadratic's solution that does not cancel when the two
// rates are close, and works for equal ones.
func (r ramp) At(n int64) time.Duration {
	if n == 0 {
		return 0
	}
	count, over := float64(n), r.over.Seconds()
	inRamp := (r.from + r.to) / 2 * over
	if count >= inRamp {
		return seconds(over + (count-inRamp)/r.to)
	}
	slope := (r.to - r.from) / over
	return seconds(2 * count / (r.from + math.Sqrt(r.from*r.from+2*slope*count)))
}

func (r ramp) Validate() error {
	if r.from != 0 {
		if err := checkRate("Ramp", "from", r.from); err != nil {
			return err
		}
	}
	if r.over <= 0 {
		return fmt.Errorf("Ramp: over is %v; it must be positive", r.over)
	}
	return checkRate("Ramp", "to", r.to)
}

// Poisson is the Pacer of arrivals that are independent of each other, as those
// of many users are: the gaps between them are exponentially distributed with
// mean 1/perSecond seconds. The same seed gives the same arrivals. Run returns
// an error if perSecond is not a positive, finite number.
func Poisson(perSecond float64, seed uint64) Pacer {
	return &poisson{perSecond: perSecond, seed: seed}
}

type poisson struct {
	perSecond float64
	seed      uint64
	rng       *rand.Rand
	at        float64 // seconds; a sum of Durations would lose half a nanosecond each
}

func (p *poisson) At(n int64) time.Duration {
	if n == 0 { // of this run: the Pacer may have served another one before
		p.rng = rand.New(rand.NewPCG(p.seed, 0))
		p.at = 0
	}
	p.at += p.rng.ExpFloat64() / p.perSecond
	return seconds(p.at)
}

func (p *poisson) Validate() error { return checkRate("Poisson", "perSecond", p.perSecond) }

func checkRate(pacer, name string, v float64) error {
	if !(v > 0) || math.IsInf(v, 0) { // !(v > 0) catches NaN
		return fmt.Errorf("%s: %s is %v; it must be a positive number of operations per second", pacer, name, v)
	}
	return nil
}

// seconds converts to a Duration. What is beyond the largest never comes.
func seconds(s float64) time.Duration {
	ns := s * float64(time.Second)
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Round(ns))
}
