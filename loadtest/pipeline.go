package loadtest

// pipeline performs operations on w's Pipeliner, up to its depth at once, until
// none is in flight and none can be started without waiting. The first of w.ops
// is prepared. It returns when the last one was over.
func (w *worker) pipeline(st *stage) int64 {
	var (
		oldest   = 0 // of the operations in flight: its place in the ring
		inFlight = 0
		prepared = true  // the place after those in flight is to be started
		drain    = false // no more are to be started on this session
		lost     = false // drain, as of an error
		killed   = false // drain, as the watchdog has ended the session's context
		now      int64
	)
	for prepared || inFlight > 0 {
		var (
			f   = &w.ops[oldest]
			err error
		)
		started := false
		if prepared {
			prepared = false
			f = &w.ops[(oldest+inFlight)%w.depth]
			w.uses++
			if err = w.pipeliner.Start(w.ctx, &f.op); err == nil {
				inFlight++
				started = true
			}
		} else {
			var op *Op
			if op, err = w.pipeliner.Finish(w.ctx); op != &f.op {
				panic("loadtest: Finish did not return the oldest operation in flight")
			}
			oldest, inFlight = (oldest+1)%w.depth, inFlight-1
		}

		now = w.run.clock.now()
		if !started {
			f.end = now
			busy := int64(idle)
			if inFlight > 0 {
				busy = w.ops[oldest].begin
			}
			killed = w.busy.Swap(busy) == overdue || killed
			st.end(w, f, explain(err, killed))
			lost = lost || f.outcome.endsSession()
		}
		drain = drain || lost || killed || w.spent()
		if drain || inFlight == w.depth {
			continue
		}
		if a, state := st.source.take(now, false); state == taken {
			w.ops[(oldest+inFlight)%w.depth].prepare(a, now, -1)
			prepared = true
			if inFlight == 0 {
				w.busy.Store(now)
			}
		}
	}
	if drain {
		w.close(st, lost)
		now = w.run.clock.now()
	}
	return now
}
