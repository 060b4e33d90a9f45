package loadtest

import (
	"time"
)

// Result is what a run found. Each operation that was started is in exactly one
// of four counts, whatever happened to it:
//
//		Ops = Accepted + Refused + Failed + InDoubt
//
//	  - Accepted: the server said yes (Do returned nil).
//	  - Refused: the server said no (ErrRefused, ErrThrottled).
//	  - InDoubt: everything was sent and no answer came (ErrInDoubt). The server
//	    has at least Accepted operations and at most Accepted + InDoubt.
//	  - Failed: any other error; the server does not have the operation.
//
// An error that matches several of these is in doubt, or else throttled, or else
// refused. None of them is an error of the run. Warm-up operations are in none
// of the counts.
type Result struct {
	Config Config // as applied, with the defaults filled in; if it was invalid, as given

	Ops      int64
	Accepted int64
	Refused  int64
	Failed   int64
	InDoubt  int64

	// Throttled is how many of Refused ended in ErrThrottled (421).
	Throttled int64
	// Missed is how many arrivals of an open loop were due before Duration was
	// over and were not started, as no session was free. Not in Ops.
	Missed int64
	// Recipients and RecipientsRefused add up the fields of the same names of
	// accepted operations.
	Recipients, RecipientsRefused int64
	// Bytes adds up Op.Bytes of accepted operations.
	Bytes int64
	// Dials is how many sessions were opened, DialsFailed how many could not
	// be, warm-up and the opening of the pool included.
	Dials, DialsFailed int64

	// Elapsed is from the first operation's start to the last one's end. 0 if
	// there was none.
	Elapsed time.Duration
	// CPU is the user and system time that this process used meanwhile, a
	// server in it included. 0 where there is no getrusage (Windows).
	CPU time.Duration

	// Latency is from an operation's scheduled start to its end: what somebody
	// who wanted it done at that time had to wait. In a closed loop that is
	// when a place in the pool became free for it, so that a session that had
	// to be opened for it counts. Operations that were accepted or refused are
	// in it, as they were answered. Those that failed or are in doubt are not:
	// how long they took is how a time limit was set. Like the other histograms
	// it is never nil.
	Latency *Histogram
	// Service is from an operation's actual start on an open session to its
	// end, for the same operations. If the session was refused, that is what
	// answered the operation, and its start is that of the session's opening.
	Service *Histogram
	// Lag is from scheduled to actual start, the opening of a session included,
	// for the same operations: Latency is Lag and Service.
	Lag *Histogram
	// Dial is from connect to ready for sessions opened in the measured part,
	// or, while OpsPerSession is 0, also before it.
	Dial *Histogram
	// Phases are the timings that sessions made themselves, by name: those of
	// operations in Latency, and of sessions as in Dial, to which their goodbye
	// is added. Phases that never came are not in it.
	Phases map[string]*Histogram

	// Errors are the kinds of errors, the most frequent first: of operations
	// that were not accepted, of recipients refused in operations that were,
	// and of sessions that could not be opened before the measured part or be
	// closed. At most 64 kinds are told apart; errors of more are "other".
	Errors []ErrorCount
	// Usage is what Config.Meter measured, nil without one.
	Usage *Usage
	// Warnings are reasons to doubt the numbers, such as a generator that was
	// itself the bottleneck, each with what to do. Match them with errors.Is:
	// ErrBottleneck, ErrGenerator, ErrMissed, and what the Meter returned.
	Warnings []error
}

// An ErrorCount is how often errors of one kind came.
type ErrorCount struct {
	Kind    string // such as "RCPT 451 4.7.1", "timeout DATA", "generator: EADDRNOTAVAIL"
	Count   int64
	Example error // the first of them
}

// Rate returns accepted operations per second, 0 if Elapsed is 0.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Accepted) / r.Elapsed.Seconds()
}

// ErrorRate returns the share of Ops that was not accepted, from 0 to 1; 0 if
// there were none.
func (r *Result) ErrorRate() float64 {
	if r.Ops == 0 {
		return 0
	}
	return float64(r.Ops-r.Accepted) / float64(r.Ops)
}

// result makes the Result of what was recorded.
func (r *run) result(t *tally) *Result {
	res := &Result{
		Config:            r.cfg,
		Ops:               t.operations(),
		Accepted:          t.counts[accepted],
		Refused:           t.counts[refused] + t.counts[throttled],
		Failed:            t.counts[failed],
		InDoubt:           t.counts[inDoubt],
		Throttled:         t.counts[throttled],
		Missed:            r.missed,
		Recipients:        t.recipients,
		RecipientsRefused: t.recipientsRefused,
		Bytes:             t.bytes,
		Dials:             r.dials.Load(),
		DialsFailed:       r.dialsFailed.Load(),
		CPU:               r.cpu,
		Latency:           &t.latency,
		Service:           &t.service,
		Lag:               &t.lag,
		Dial:              &t.dial,
		Phases:            map[string]*Histogram{},
		Errors:            r.main.errors.list(),
		Usage:             r.usage,
	}
	if res.Ops > 0 {
		res.Elapsed = time.Duration(t.lastEnd - t.firstStart)
	}
	for i, h := range t.phases {
		if h != nil {
			res.Phases[Phase(i).String()] = h
		}
	}
	return res
}
