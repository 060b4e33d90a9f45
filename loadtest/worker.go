package loadtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A worker is a place in the pool: it has at most one session at a time, and
// closes it before it dials the next.
type worker struct {
	run   *run
	shard int

	// busy is when the oldest operation in flight began, or one of idle and
	// overdue. The watchdog changes it to overdue, and the worker then replaces
	// its session, even if the operation ended well at that very moment.
	busy atomic.Int64

	mu     sync.Mutex              // guards cancel, and the change of busy to overdue
	cancel context.CancelCauseFunc // ends ctx, or the context of the Dial under way

	session   Session // nil if there is none
	pipeliner Pipeliner
	reporter  SpentReporter // nil if the session is none
	depth     int
	ctx       context.Context // of session
	uses      int64           // operations started on session

	ops     []flight // a ring; one operation if the session is no Pipeliner
	timer   *time.Timer
	backoff time.Duration
}

const (
	idle    = -1
	overdue = -2

	minBackoff = 10 * time.Millisecond
	maxBackoff = time.Second
)

// A flight is an operation and the readings of its course.
type flight struct {
	op Op
	ended
}

func (f *flight) prepare(a arrival, begin, late int64) {
	// Not *op = Op{}: most of it are phases that nobody looks at.
	f.op.N, f.op.Bytes = a.n, 0
	f.op.Recipients, f.op.RecipientsRefused, f.op.RecipientErr = 0, 0, nil
	f.op.Phases.Reset()
	f.ended = ended{due: a.due, begin: begin, start: begin, late: late}
}

// work performs operations until the stage is over.
func (w *worker) work(st *stage) {
	now := w.run.clock.now()
	for {
		a, state := st.source.take(now, true)
		if state != taken {
			return
		}
		begin, late, ok := w.await(st, a, now)
		if !ok {
			return
		}
		w.ops[0].prepare(a, begin, late)
		w.busy.Store(begin)
		switch {
		case w.session == nil && !w.openFor(st):
			if !w.pause(st) {
				return
			}
			now = w.run.clock.now()
		case w.pipeliner != nil:
			now = w.pipeline(st)
		default:
			now = w.do(st)
		}
	}
}

// await waits until a is due. free is since when the worker has had nothing to
// do. It returns when the worker began with a, and how late that was if it was
// free when a was due, -1 if it was not. ok is false if the run was stopped
// meanwhile: a was not started then.
func (w *worker) await(st *stage, a arrival, free int64) (begin, late int64, ok bool) {
	if st.source.pacer == nil {
		return a.due, -1, true
	}
	begin = w.run.clock.now()
	if a.early {
		if begin < a.due && !w.sleep(time.Duration(a.due-begin), nil) {
			return 0, 0, false
		}
		st.source.begun()
		begin = w.run.clock.now()
	}
	if free > a.due {
		return begin, -1, !w.run.stopped()
	}
	return begin, begin - a.due, !w.run.stopped()
}

// sleep returns false if the run was stopped, or done was closed, before d was
// over.
func (w *worker) sleep(d time.Duration, done <-chan struct{}) bool {
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	select {
	case <-w.timer.C:
		return !w.run.stopped()
	case <-w.run.stop.Done():
	case <-done:
	}
	w.timer.Stop()
	return false
}

// pause waits, without holding an operation, before a session is dialled again
// after that failed. It returns false if there will be nothing to do.
func (w *worker) pause(st *stage) bool {
	w.backoff = min(max(2*w.backoff, minBackoff), maxBackoff)
	return w.sleep(w.backoff, st.source.done)
}

// openFor dials a session for the first of w.ops. If that fails, the operation
// has ended.
func (w *worker) openFor(st *stage) bool {
	err := w.dial(st)
	f := &w.ops[0] // not before: dial may have made room for more
	f.end = w.run.clock.now()
	if err == nil {
		f.start = f.end
		return true
	}
	err = explain(err, w.busy.Swap(idle) == overdue)
	st.end(w, f, err)
	st.dialFailed(err, f.end)
	return false
}

// do performs the first of w.ops and returns when that was over.
func (w *worker) do(st *stage) int64 {
	f := &w.ops[0]
	w.uses++
	err := w.session.Do(w.ctx, &f.op)
	f.end = w.run.clock.now()
	killed := w.busy.Swap(idle) == overdue
	st.end(w, f, explain(err, killed))
	lost := f.outcome.endsSession()
	if !lost && !killed && !w.spent() {
		return f.end
	}
	w.close(st, lost)
	return w.run.clock.now()
}

// spent reports whether the session is to be replaced although all is well.
func (w *worker) spent() bool {
	return w.uses == w.run.cfg.OpsPerSession || w.reporter != nil && w.reporter.Spent()
}

// dial opens a session. The caller has set busy.
func (w *worker) dial(st *stage) error {
	ctx, cancel := context.WithCancelCause(w.run.stop)
	defer cancel(nil)
	w.setCancel(cancel)
	begin := w.run.clock.now()
	s, err := w.run.dialer.Dial(ctx)
	took := w.run.clock.now() - begin
	if err == nil && s == nil {
		err = errors.New("Dial returned neither a session nor an error")
	}
	if err == nil {
		var sessionCancel context.CancelCauseFunc
		w.ctx, sessionCancel = context.WithCancelCause(w.run.abort)
		if !w.setCancel(sessionCancel) {
			sessionCancel(nil)
			s.Close()
			err = ErrOpTimeout // it came too late: the operation has had its time
		}
	}
	if err != nil {
		if !w.run.stopped() { // else it was given up
			w.run.dialsFailed.Add(1)
		}
		return err
	}

	w.session, w.uses, w.backoff = s, 0, 0
	w.reporter, _ = s.(SpentReporter)
	w.pipeliner, w.depth = nil, 1
	if p, ok := s.(Pipeliner); ok && p.Depth() > 1 {
		w.pipeliner, w.depth = p, p.Depth()
		if missing := w.depth - len(w.ops); missing > 0 {
			w.ops = append(w.ops, make([]flight, missing)...) // the first is under way
		}
	}
	w.run.dialled()
	if st.dials != nil {
		var p Phases
		if t, ok := s.(PhaseTaker); ok {
			p = t.TakePhases()
		}
		st.dials.shard(w.shard).dialled(took, p)
	}
	return nil
}

// setCancel sets what the watchdog is to call. It returns false if the watchdog
// has come already.
func (w *worker) setCancel(cancel context.CancelCauseFunc) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel = cancel
	return w.busy.Load() != overdue
}

// close closes the session. lost says that an operation's error already told
// what happened to it.
func (w *worker) close(st *stage, lost bool) {
	s := w.session
	w.session, w.pipeliner = nil, nil
	err := s.Close()
	w.cancel(nil)
	w.run.closed()
	if st.dials == nil {
		return
	}
	shard := st.dials.shard(w.shard)
	if t, ok := s.(PhaseTaker); ok {
		shard.session(t.TakePhases())
	}
	if err != nil && !lost {
		st.dials.failure(shard, err)
	}
}
