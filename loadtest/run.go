package loadtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benchmail/benchmail/internal/cputime"
)

// Run opens sessions with d, performs operations on them as cfg says, closes
// the sessions and returns what it found.
//
// The Result is never nil. Operations that were refused, failed or are in doubt
// are findings, and no error. Run returns an error if the load that cfg asks
// for could not be applied: cfg is invalid, the sessions could not be opened,
// no session could be opened for Config.OpTimeout, an operation failed with
// ErrSetup, more than Config.MaxFailed operations failed, Config.Meter could not
// begin, or ctx ended. The Result then has what was found until then, and its
// counts add up.
//
// When ctx ends, sessions that are being opened are given up, no more
// operations are started, and those in flight have Config.OpTimeout to end
// before the contexts of their sessions end. Run waits for all methods of
// Dialer and Session that it called; one that does not return although its
// context has ended is waited for for ever.
func Run(ctx context.Context, d Dialer, cfg Config) (*Result, error) {
	r := &run{dialer: d, cfg: cfg, clock: clock{time.Now()}, main: newRecorder()}
	if err := r.cfg.prepare(d); err != nil {
		r.cfg = cfg
		return r.result(new(tally)), fmt.Errorf("loadtest: %w", err)
	}
	err := r.run(ctx)
	t := r.main.sum()
	res := r.result(t)
	res.Warnings = append(res.Warnings, r.doubts(res, t)...)
	if err != nil {
		return res, fmt.Errorf("loadtest: %w", err)
	}
	return res, nil
}

// run is one call of Run.
type run struct {
	dialer Dialer
	cfg    Config // with the defaults filled in
	clock  clock

	// stop ends when no more operations are to be started, abort OpTimeout
	// after that. Dials have contexts made from stop, sessions from abort.
	stop, abort context.Context
	cancelStop  context.CancelCauseFunc

	workers []worker
	main    *recorder // of the measured part

	dials, dialsFailed atomic.Int64
	open               atomic.Int64 // sessions
	lastUp             atomic.Int64 // when a session was last known to be open, or Run began
	priming            atomic.Bool  // openAll is at work
	failures           atomic.Int64 // failed or in doubt, in the measured part

	mu  sync.Mutex // guards err
	err error      // why the run was ended from within

	cpu      time.Duration
	missed   int64
	usage    *Usage
	meterErr error // of its end
}

// fail ends the run with err, unless it has one already.
func (r *run) fail(err error) {
	r.mu.Lock()
	if r.err == nil {
		r.err = err
	}
	r.mu.Unlock()
	r.cancelStop(err)
}

func (r *run) stopped() bool { return r.stop.Err() != nil }

// failure returns why the run was stopped: from within, or by its context.
func (r *run) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && r.stopped() {
		return fmt.Errorf("run cancelled: %w", context.Cause(r.stop))
	}
	return r.err
}

func (r *run) run(ctx context.Context) error {
	r.stop, r.cancelStop = context.WithCancelCause(ctx)
	defer r.cancelStop(nil)
	var abort context.CancelCauseFunc
	r.abort, abort = context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)

	r.workers = make([]worker, r.cfg.Sessions)
	for i := range r.workers {
		w := &r.workers[i]
		w.run, w.shard, w.ops = r, i, make([]flight, 1)
		w.busy.Store(idle)
	}

	var watchdog sync.WaitGroup
	done := make(chan struct{})
	watchdog.Go(func() { r.watch(done, abort) })
	defer watchdog.Wait()
	defer close(done)
	defer r.closeAll() // deferred: Continue may be b.Loop, and end this goroutine

	if err := r.openAll(); err != nil {
		return err
	}
	if err := r.warmUp(); err != nil {
		return err
	}
	if err := r.openAll(); err != nil { // what the warm-up lost
		return err
	}
	return r.measure()
}

// A stage is a part of a run: the warm-up, or the measured part.
type stage struct {
	run      *run
	source   *source
	recorder *recorder // of operations
	dials    *recorder // of sessions being opened and closed; nil if nobody asks
	measured bool
}

// fail ends the run with err, and the stage before the worker that calls it
// could take another operation.
func (st *stage) fail(err error) {
	st.run.fail(err)
	st.source.stop()
}

// end records the end of f.
func (st *stage) end(w *worker, f *flight, err error) {
	shard := st.recorder.shard(w.shard)
	f.outcome = outcomeOf(err)
	shard.operation(&f.ended, &f.op)
	if err == nil {
		if f.op.RecipientErr != nil {
			st.recorder.errors.add(kindOf(f.op.RecipientErr), f.op.RecipientErr)
		}
		return
	}
	if f.outcome == refused || f.outcome == throttled {
		st.recorder.errors.add(kindOf(err), err)
		return // the server answered: it was not this side's fault
	}
	st.recorder.failure(shard, err)
	if errors.Is(err, ErrSetup) {
		st.fail(err)
		return
	}
	if st.measured && (f.outcome == failed || f.outcome == inDoubt) {
		n := st.run.failures.Add(1)
		if limit := st.run.cfg.MaxFailed; limit > 0 && n > limit {
			st.fail(fmt.Errorf("%w: more than MaxFailed (%d) failed or are in doubt, the last one: %w", ErrTooManyFailed, limit, err))
		}
	}
}

// perform runs the stage. begin is called right before the first operation.
func (r *run) perform(st *stage, ask bool, begin func() error) error {
	var workers sync.WaitGroup
	gate := make(chan struct{})
	openGate := sync.OnceFunc(func() { close(gate) })
	for i := range r.workers {
		w := &r.workers[i]
		workers.Go(func() {
			<-gate
			w.work(st)
		})
	}
	over := make(chan struct{})
	go func() {
		workers.Wait()
		close(over)
	}()
	defer func() {
		select {
		case <-over:
		default: // begin or Continue failed: wake who waits for an arrival
			r.cancelStop(ErrAborted)
			st.source.stop()
			openGate()
			<-over
		}
	}()

	if err := begin(); err != nil {
		return err
	}
	st.source.start = r.clock.now()
	if st.measured && r.cfg.Duration > 0 {
		// Not beyond never: a Duration may be the longest there is.
		st.source.end = st.source.start + min(int64(r.cfg.Duration), never-st.source.start)
	}
	openGate()
	if ask {
		r.produce(st.source, over)
	}
	select {
	case <-r.stop.Done():
	case <-over:
	}
	return nil
}

// produce asks Continue for operations until it says no, or nobody takes them.
//
// How far ahead it asks depends on how fast they are taken: waking this
// goroutine for each of a million operations per second would cost more than
// they do, and with operations that take seconds each one ahead makes a
// benchmark longer than -benchtime says.
func (r *run) produce(s *source, over <-chan struct{}) {
	const (
		maxAhead = 256
		often    = int64(time.Millisecond)
	)
	var (
		ahead = int64(1)
		asked = int64(0)
		last  = r.clock.now()
	)
	for {
		var k int64
		final := false
		// At least one each time: it is a new operation's being taken that wakes
		// this goroutine again.
		for need := max(ahead-s.ahead(), 1); k < need; k++ {
			if r.cfg.Ops > 0 && asked == r.cfg.Ops || !r.cfg.Continue() {
				final = true
				break
			}
			asked++
		}
		s.grant(k, ahead/2, final)
		if final {
			return
		}
		select {
		case <-s.wake:
		case <-s.done:
			return
		case <-over:
			return
		case <-r.stop.Done():
			return
		}
		now := r.clock.now()
		if now-last < often {
			ahead = min(2*ahead, maxAhead)
		} else {
			ahead = max(ahead/2, 1)
		}
		last = now
	}
}

func (r *run) warmUp() error {
	if r.cfg.Warmup == 0 {
		return nil
	}
	st := &stage{run: r, recorder: newRecorder(), source: newSource(r.clock, 0, r.cfg.Warmup, true, nil)}
	if r.cfg.OpsPerSession == 0 {
		st.dials = r.main
	}
	if err := r.perform(st, false, func() error { return nil }); err != nil {
		return err
	}
	if err := r.failure(); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	t := st.recorder.sum()
	if t.counts[failed]+t.counts[inDoubt] == t.operations() {
		return fmt.Errorf("warm-up: all %d operations failed: %w", t.operations(), st.recorder.errors.list()[0].Example)
	}
	return nil
}

func (r *run) measure() error {
	limit, final := r.cfg.Ops, true
	if limit == 0 {
		limit = math.MaxInt64
	}
	if r.cfg.Continue != nil {
		limit, final = 0, false
	}
	st := &stage{run: r, recorder: r.main, dials: r.main, measured: true,
		source: newSource(r.clock, r.cfg.Warmup, limit, final, r.cfg.Pacer)}

	var end func(context.Context) (Usage, error)
	var cpu time.Duration
	err := r.perform(st, r.cfg.Continue != nil, func() (err error) {
		if r.cfg.Meter != nil {
			if end, err = r.cfg.Meter.Begin(r.stop); err != nil {
				return fmt.Errorf("Meter: %w", err)
			}
		}
		cpu = cputime.Process()
		return nil
	})
	r.cpu = cputime.Process() - cpu
	r.missed = st.source.missed
	if err != nil {
		r.cpu = 0
		return err
	}
	if end != nil {
		r.endMeter(end)
	}
	return r.failure()
}

// endMeter asks for the usage of what was measured, even if the run was
// cancelled.
func (r *run) endMeter(end func(context.Context) (Usage, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.stop), r.cfg.OpTimeout)
	defer cancel()
	usage, err := end(ctx)
	if err != nil {
		r.meterErr = fmt.Errorf("loadtest: Meter: %w", err)
		return
	}
	r.usage = &usage
}
