package loadtest

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A clock reads the time since a run's start, in nanoseconds. One monotonic
// reading costs half of a time.Now and fits an atomic.
type clock struct{ base time.Time }

func (c clock) now() int64 { return int64(time.Since(c.base)) }

// never is a reading that does not come.
const never = math.MaxInt64

// A source hands out the operations of one stage of a run, each to one worker.
type source struct {
	clock clock
	first int64 // Op.N of the first operation
	pacer Pacer // nil: closed loop
	// start and end are when the schedule begins and when it ends, set before
	// the first take. end is never if there is no Duration.
	start, end int64

	next  atomic.Int64 // the operation to hand out next, from 0
	limit atomic.Int64 // how many may be handed out so far
	// wakeAt is the operation whose being handed out wakes the producer of
	// more. It is set before limit, to an operation that limit then releases,
	// so exactly one worker meets it.
	wakeAt atomic.Int64
	wake   chan struct{}

	mu      sync.Mutex // guards what follows, and next in an open loop
	more    sync.Cond  // a worker that waits may find something now
	waiting int        // workers that wait for more
	final   bool       // limit will not change any more
	ended   atomic.Bool
	done    chan struct{} // closed when ended
	due     int64         // when operation next is due, if peeked
	peeked  bool
	missed  int64
	// reserved is how many operations were taken before they were due, by
	// workers that sleep until then, and maxReserved how many may be.
	reserved, maxReserved int
}

// maxReserved bounds how far ahead Continue is asked in an open loop: with a
// thousand idle sessions and ten operations a second, the workers would have
// b.Loop believe that it had seen a thousand. Few enough for that, and enough
// for operations that come in bunches to be started by workers that are awake.
const maxReserved = 16

// newSource returns a source of limit operations. If final is false, grant adds
// to them.
func newSource(c clock, first, limit int64, final bool, p Pacer) *source {
	s := &source{clock: c, first: first, pacer: p, end: never, final: final,
		wake: make(chan struct{}, 1), done: make(chan struct{}), maxReserved: math.MaxInt}
	if !final {
		s.maxReserved = maxReserved
	}
	s.more.L = &s.mu
	s.limit.Store(limit)
	s.wakeAt.Store(-1)
	return s
}

// An arrival is an operation that a worker took.
type arrival struct {
	n   int64 // Op.N
	due int64 // when it is due; in a closed loop, when it was taken
	// early says that it is not due yet. Its worker calls begun when it is.
	early bool
}

// begun ends the reservation of an operation that was taken early.
func (s *source) begun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved--
	s.more.Signal()
}

type takeState uint8

const (
	taken takeState = iota
	notYet
	exhausted
)

// take hands out the next operation; now is a recent reading. It waits for the
// operation to be granted, but not for its being due. With block false it
// returns notYet if there is no operation that is due.
func (s *source) take(now int64, block bool) (arrival, takeState) {
	if s.pacer != nil {
		return s.takeDue(now, block)
	}
	if now >= s.end {
		s.stop()
		return arrival{}, exhausted
	}
	if n, ok := s.claim(); ok {
		return arrival{s.first + n, now, false}, taken
	}
	return s.takeSlow(block)
}

// claim hands out the next operation if one was granted.
func (s *source) claim() (int64, bool) {
	for !s.ended.Load() {
		n := s.next.Load()
		if n >= s.limit.Load() {
			return 0, false
		}
		if s.next.CompareAndSwap(n, n+1) {
			s.claimed(n)
			return n, true
		}
	}
	return 0, false
}

// claimed wakes the producer if it is time to.
func (s *source) claimed(n int64) {
	if n == s.wakeAt.Load() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *source) takeSlow(block bool) (arrival, takeState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		now := s.clock.now()
		if now >= s.end {
			s.stopLocked()
		}
		if n, ok := s.claim(); ok {
			return arrival{s.first + n, now, false}, taken
		}
		if !s.waitLocked(block) {
			break
		}
	}
	if s.ended.Load() {
		return arrival{}, exhausted
	}
	return arrival{}, notYet
}

// waitLocked waits for more operations to be granted. It returns false if there
// will be none, or if it would have to wait and block is false.
func (s *source) waitLocked(block bool) bool {
	if s.final {
		s.stopLocked()
	}
	if s.ended.Load() || !block {
		return false
	}
	s.sleepLocked()
	return true
}

func (s *source) sleepLocked() {
	s.waiting++
	s.more.Wait()
	s.waiting--
}

// takeDue is take for an open loop.
func (s *source) takeDue(now int64, block bool) (arrival, takeState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ended.Load() {
		n := s.next.Load()
		if now >= s.end {
			s.missedLocked()
			s.stopLocked()
			break
		}
		if n >= s.limit.Load() {
			if !s.waitLocked(block) {
				break
			}
			now = s.clock.now()
			continue
		}
		s.peekLocked(n)
		if s.due >= s.end {
			s.stopLocked()
			break
		}
		if s.due > now {
			if !block {
				return arrival{}, notYet
			}
			if s.reserved >= s.maxReserved {
				s.sleepLocked()
				now = s.clock.now()
				continue
			}
			s.reserved++
		}
		s.peeked = false
		s.next.Store(n + 1)
		s.claimed(n)
		if s.waiting > 0 && n+1 < s.limit.Load() && s.reserved < s.maxReserved {
			s.more.Signal() // there is something for the next one, too
		}
		return arrival{s.first + n, s.due, s.due > now}, taken
	}
	if s.ended.Load() {
		return arrival{}, exhausted
	}
	return arrival{}, notYet
}

// peekLocked asks the Pacer for operation n, once.
func (s *source) peekLocked(n int64) {
	if s.peeked {
		return
	}
	s.peeked = true
	at := int64(s.pacer.At(n))
	switch {
	case at < 0, at >= never-s.start:
		s.due = never
	default:
		s.due = s.start + at
	}
}

// missedLocked counts the operations that were due before the end and that
// nobody took.
func (s *source) missedLocked() {
	const enough = 1 << 24 // a Pacer of ours does not get there; one that never advances would not end
	limit := s.limit.Load()
	if !s.final {
		limit = never // Continue was not asked for these; the schedule has them
	}
	for n := s.next.Load(); n < limit && s.missed < enough; n++ {
		s.peekLocked(n)
		if s.due >= s.end {
			return
		}
		s.peeked = false
		s.missed++
	}
}

// ahead returns how many operations were granted and not taken.
func (s *source) ahead() int64 { return s.limit.Load() - s.next.Load() }

// grant adds k operations, and has the producer woken when no more than low of
// them are left. If final is true there will be no more.
func (s *source) grant(k, low int64, final bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = final
	if k > 0 {
		limit := s.limit.Load()
		s.wakeAt.Store(max(limit, limit+k-1-low))
		s.limit.Store(limit + k)
	}
	if final {
		s.more.Broadcast()
		return
	}
	for range min(k, int64(s.waiting)) {
		s.more.Signal()
	}
}

// stop ends the stage: no more operations are taken.
func (s *source) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopLocked()
}

func (s *source) stopLocked() {
	if s.ended.Load() {
		return
	}
	s.ended.Store(true)
	close(s.done)
	s.more.Broadcast()
}
