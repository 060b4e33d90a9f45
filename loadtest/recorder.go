package loadtest

import (
	"runtime"
	"sync"
)

const (
	digits      = 3
	phaseDigits = 2 // a tenth of the memory, and there are many phases
)

// A recorder adds up what the operations of one stage ended in. Its memory
// depends on the number of cores, not of sessions: a histogram of three digits
// takes 220 KB.
type recorder struct {
	shards []shard
	errors errorTable
}

// A shard is shared by some of the workers. Holding its lock once per
// operation is cheaper than an atomic addition for each count.
type shard struct {
	mu sync.Mutex // guards all of it
	tally
	_ [64]byte // keeps the next shard's mutex off this one's cache line
}

// A tally is what a shard counts, and in the end their sum.
type tally struct {
	counts                        [failed + 1]int64
	recipients, recipientsRefused int64
	bytes                         int64
	generator                     int64 // errors that this side caused
	firstStart, lastEnd           int64 // readings; valid if there are operations

	latency, service, lag, dial Histogram
	late                        Histogram // waking up for an arrival, see ended.late
	phases                      [maxPhases]*Histogram
}

const maxShards = 8

func newRecorder() *recorder {
	return &recorder{shards: make([]shard, min(runtime.GOMAXPROCS(0), maxShards))}
}

func (r *recorder) shard(worker int) *shard { return &r.shards[worker%len(r.shards)] }

// ended are the readings of an operation's course.
type ended struct {
	outcome outcome
	due     int64 // scheduled start
	begin   int64 // when the worker turned to it
	start   int64 // when its session was open; begin if that was refused
	end     int64
	// late is how late a worker that had nothing else to do woke up for an
	// arrival: that part of the lag is the generator's. -1 if none waited.
	late int64
}

// operation records an operation.
func (s *shard) operation(e *ended, op *Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.operations() == 0 || e.begin < s.firstStart {
		s.firstStart = e.begin
	}
	s.lastEnd = max(s.lastEnd, e.end)
	s.counts[e.outcome]++
	if e.late >= 0 {
		s.late.record(e.late, digits)
	}
	switch e.outcome {
	case accepted:
		s.bytes += op.Bytes
		s.recipients += op.Recipients
		s.recipientsRefused += op.RecipientsRefused
	case refused, throttled:
	default:
		// How long an operation without an answer took is what a time limit
		// was set to. The counts show an outage; these times would hide it.
		return
	}
	s.latency.record(e.end-e.due, digits)
	s.service.record(e.end-e.start, digits)
	s.lag.record(e.start-e.due, digits)
	s.addPhases(&op.Phases)
}

func (t *tally) operations() (n int64) {
	for _, c := range t.counts {
		n += c
	}
	return n
}

func (t *tally) addPhases(p *Phases) {
	for i := range p.n {
		at := &p.at[i]
		h := t.phases[at.phase]
		if h == nil {
			h = new(Histogram)
			t.phases[at.phase] = h
		}
		h.record(int64(at.took), phaseDigits)
	}
}

// dialled records the opening of a session.
func (s *shard) dialled(took int64, p Phases) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dial.record(took, digits)
	s.addPhases(&p)
}

// session records phases outside of operations.
func (s *shard) session(p Phases) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addPhases(&p)
}

// failure notes an error that may be this side's, of an operation or beside one.
func (r *recorder) failure(s *shard, err error) {
	if _, generator := errnoKind(err); generator {
		s.mu.Lock()
		s.generator++
		s.mu.Unlock()
	}
	r.errors.add(kindOf(err), err)
}

// sum adds up the shards. It takes their histograms: nothing can be recorded
// any more.
func (r *recorder) sum() *tally {
	t := new(tally)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		t.merge(&s.tally)
		s.mu.Unlock()
	}
	return t
}

func (t *tally) merge(from *tally) {
	if from.operations() > 0 {
		if t.operations() == 0 || from.firstStart < t.firstStart {
			t.firstStart = from.firstStart
		}
		t.lastEnd = max(t.lastEnd, from.lastEnd)
	}
	for i, c := range from.counts {
		t.counts[i] += c
	}
	t.recipients += from.recipients
	t.recipientsRefused += from.recipientsRefused
	t.bytes += from.bytes
	t.generator += from.generator
	t.latency.merge(&from.latency)
	t.service.merge(&from.service)
	t.lag.merge(&from.lag)
	t.dial.merge(&from.dial)
	t.late.merge(&from.late)
	for i, h := range from.phases {
		if h == nil {
			continue
		}
		if t.phases[i] == nil {
			t.phases[i] = h
		} else {
			t.phases[i].merge(h)
		}
	}
}
