package loadtest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// openAll opens the sessions that the workers do not have, if the pool is to
// be open throughout.
func (r *run) openAll() error {
	if r.cfg.OpsPerSession > 0 {
		return r.failure()
	}
	st := &stage{run: r, dials: r.main}
	var dials sync.WaitGroup
	r.lastUp.Store(r.clock.now())
	r.priming.Store(true)
	defer r.priming.Store(false)
	for i := range r.workers {
		w := &r.workers[i]
		if w.session != nil {
			continue
		}
		dials.Go(func() {
			w.busy.Store(r.clock.now())
			err := w.dial(st)
			err = explain(err, w.busy.Swap(idle) == overdue)
			if err == nil || r.stopped() {
				return
			}
			r.main.failure(r.main.shard(w.shard), err)
			r.fail(err)
		})
	}
	dials.Wait()
	if err := r.failure(); err != nil {
		return fmt.Errorf("opened %d of %d sessions: %w", r.open.Load(), len(r.workers), err)
	}
	return nil
}

// closeAll closes the sessions that are open at the end of the run.
func (r *run) closeAll() {
	st := &stage{run: r, dials: r.main}
	var closes sync.WaitGroup
	for i := range r.workers {
		if w := &r.workers[i]; w.session != nil {
			closes.Go(func() { w.close(st, false) })
		}
	}
	closes.Wait()
}

func (r *run) dialled() {
	r.dials.Add(1)
	r.open.Add(1)
	r.lastUp.Store(r.clock.now())
}

func (r *run) closed() {
	if r.open.Add(-1) == 0 {
		r.lastUp.Store(r.clock.now())
	}
}

// dialFailed ends the run if it has become clear that no session can be opened.
func (st *stage) dialFailed(err error, now int64) {
	r := st.run
	switch {
	case r.stopped():
	case r.dials.Load() == 0 && (outcomeOf(err) == failed || r.dialsFailed.Load() >= int64(len(r.workers))):
		// A server that answers 421 may take the next: one for each place in
		// the pool is enough to know.
		st.fail(fmt.Errorf("no session could be opened: %w", err))
	case r.open.Load() == 0 && now-r.lastUp.Load() >= int64(r.cfg.OpTimeout):
		st.fail(fmt.Errorf("no session could be opened for %v: %w", r.cfg.OpTimeout, err))
	}
}

// watch ends the contexts of sessions whose operations have had their time, and
// of all sessions when the run was stopped OpTimeout ago. One goroutine that
// looks from time to time, as timers for each operation would cost more than
// the operation's recording.
func (r *run) watch(done <-chan struct{}, abort context.CancelCauseFunc) {
	const looks = 16 // in OpTimeout: how late an operation may be ended, at the most
	ticker := time.NewTicker(max(r.cfg.OpTimeout/looks, time.Millisecond))
	defer ticker.Stop()
	stop := r.stop.Done()
	var abortAt <-chan time.Time
	for {
		select {
		case <-done:
			return
		case <-stop:
			stop, abortAt = nil, time.After(r.cfg.OpTimeout)
		case <-abortAt:
			abort(ErrAborted)
		case <-ticker.C:
			now := r.clock.now()
			for i := range r.workers {
				r.workers[i].check(now)
			}
		}
	}
}

// check ends the context of w's session, or of its being opened, if its oldest
// operation is overdue.
func (w *worker) check(now int64) {
	since := w.busy.Load()
	if since < 0 {
		return
	}
	began := since
	if w.run.priming.Load() {
		// The pool is opened all at once, and may wait for its turn as long as
		// sessions keep being opened.
		began = max(since, w.run.lastUp.Load())
	}
	if now-began < int64(w.run.cfg.OpTimeout) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy.CompareAndSwap(since, overdue) && w.cancel != nil {
		w.cancel(ErrOpTimeout)
	}
}
