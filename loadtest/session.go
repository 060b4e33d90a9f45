package loadtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Dialer opens sessions with the system under load. Dial is called from many
// goroutines at once.
type Dialer interface {
	// Dial connects and completes every handshake, so that the session's first
	// operation costs no more than its second. The session outlives ctx, which
	// ends when Dial has returned.
	//
	// ctx ends when the run is cancelled or the operation that the session is
	// for has had its time; an error that matches ErrThrottled or ErrRefused
	// counts that operation as refused, any other as failed.
	Dial(ctx context.Context) (Session, error)
}

// A Session performs operations, one after the other; its methods are called
// from one goroutine. A Session that can have several operations in flight also
// implements [Pipeliner], one that times its handshakes [PhaseTaker], one that
// can be used up [SpentReporter].
type Session interface {
	// Do performs op. nil means accepted. An error that matches ErrRefused
	// leaves the session in use; after any other the engine closes the session
	// and dials a new one. The errors that Do may return, and how they are
	// counted, are listed at [Result].
	//
	// ctx ends when op has had its time (its cause is ErrOpTimeout) or the run
	// is aborted (ErrAborted); Do must return then. It is the same one for all
	// operations of a session.
	Do(ctx context.Context, op *Op) error
	// Close ends the session, politely where the protocol has a way to (QUIT),
	// and releases its resources in any case. It does not block for longer than
	// the protocol's own time limit.
	Close() error
}

// A Pipeliner is a Session that can have up to Depth operations in flight. The
// engine then calls Start and Finish in place of Do, still from one goroutine.
// If Depth is 1 the engine uses Do.
type Pipeliner interface {
	Session
	// Depth returns how many operations may be started and not finished: at
	// least 1, always the same.
	Depth() int
	// Start sends op, or prepares to: what it wrote may stay in a buffer until
	// Finish has to wait. op and what it points to must stay as they are until
	// Finish has returned it. If Start fails, op was not started as far as the
	// server knows, it is not returned by Finish, and the error counts for it;
	// the operations in flight are still to be finished.
	Start(ctx context.Context, op *Op) error
	// Finish waits for the oldest operation in flight to end and returns it,
	// with its error as Do would return it. When the session is lost, Finish
	// returns each operation in flight with its own error, ErrInDoubt for those
	// that the server may have accepted.
	Finish(ctx context.Context) (*Op, error)
}

// A PhaseTaker is a Session that measured phases outside operations: connect,
// handshakes, the goodbye. The engine calls TakePhases after Dial and after
// Close and records what it returns.
type PhaseTaker interface {
	// TakePhases returns the phases timed since it was last called.
	TakePhases() Phases
}

// A SpentReporter is a Session that knows when it can perform no more
// operations although the last one ended well: a server may allow so many
// messages for a session (RFC 9422, LIMITS MAILMAX), or hang up right after a
// reply. The engine then replaces the session, as it does when OpsPerSession is
// reached, so that no operation is lost on it.
type SpentReporter interface {
	// Spent is asked after each operation. With a Pipeliner, operations may be
	// in flight; they are still finished.
	Spent() bool
}

// An Op is one operation: for mail, one mail transaction. The engine sets N,
// the Session the rest.
type Op struct {
	N     int64 // sequence number in the run, from 0, warm-up operations included
	Bytes int64 // octets transferred if accepted: for mail, of mail data (RFC 1870 §5)

	// Recipients and RecipientsRefused count the forward-paths that the server
	// accepted and refused. 0 where an operation has none.
	Recipients, RecipientsRefused int64
	// RecipientErr is an example of why recipients were refused when the
	// operation as a whole was accepted. It is counted in Result.Errors.
	RecipientErr error

	Phases Phases
}

// A Phase names a part of an operation or a handshake that is timed by itself.
type Phase uint8

var phases struct {
	mu    sync.Mutex // guards names
	names []string
}

// maxPhases bounds the number of names: each costs histograms.
const maxPhases = 64

// NewPhase returns the Phase with that name, a new one if there is none. Call
// it from package variables. It panics if there are more than 64 names.
func NewPhase(name string) Phase {
	phases.mu.Lock()
	defer phases.mu.Unlock()
	for i, n := range phases.names {
		if n == name {
			return Phase(i)
		}
	}
	if len(phases.names) == maxPhases {
		panic(fmt.Sprintf("loadtest: NewPhase(%q): more than %d phases", name, maxPhases))
	}
	phases.names = append(phases.names, name)
	return Phase(len(phases.names) - 1)
}

// String returns the phase's name.
func (p Phase) String() string {
	phases.mu.Lock()
	defer phases.mu.Unlock()
	if int(p) >= len(phases.names) {
		return fmt.Sprintf("phase %d", uint8(p))
	}
	return phases.names[p]
}

// Phases is a short list of timings. It is a value without pointers, so that an
// operation's timings cost no allocation. The zero value is empty.
type Phases struct {
	n  int
	at [8]struct {
		phase Phase
		took  time.Duration
	}
}

// Add notes that phase took d. A phase that comes several times, as RCPT does
// for several recipients, is recorded as often. What comes after the eighth is
// added to the last one of the same phase, or dropped if there is none.
func (p *Phases) Add(phase Phase, d time.Duration) {
	if p.n < len(p.at) {
		p.at[p.n].phase, p.at[p.n].took = phase, d
		p.n++
		return
	}
	for i := p.n - 1; i >= 0; i-- {
		if p.at[i].phase == phase {
			p.at[i].took += d
			return
		}
	}
}

// All calls yield with each timing in the order they were added.
func (p *Phases) All(yield func(Phase, time.Duration) bool) {
	for i := range p.n {
		if !yield(p.at[i].phase, p.at[i].took) {
			return
		}
	}
}

// Reset empties p.
func (p *Phases) Reset() { p.n = 0 }

// What an operation's error matches, with errors.Is, decides how it is counted.
var (
	// ErrRefused: the server answered no. The session stays in use.
	ErrRefused = errors.New("refused by the server")
	// ErrThrottled: the server answered that it is too busy and closes the
	// session (421). Counted as refused, and in Result.Throttled; the session
	// is replaced.
	ErrThrottled = errors.New("throttled by the server")
	// ErrInDoubt: all of the operation was sent, and no answer came: the server
	// may have done it or not.
	ErrInDoubt = errors.New("in doubt: sent, and no answer came")
	// ErrGenerator: the cause is on this side (no file descriptors, no local
	// ports), so the result says nothing about the server. Counted as failed.
	ErrGenerator = errors.New("generator out of resources")
	// ErrSetup: the load itself is wrong, such as a message without a
	// recipient, so that no other operation can fare better. Counted as failed;
	// the run ends with the error.
	ErrSetup = errors.New("wrong set-up")
)

// A Kinder is an error that knows its kind: a short, stable name such as
// "RCPT 451 4.7.1" or "timeout DATA", the same for all errors that a person
// would count together. Errors of other types get a kind from the engine.
type Kinder interface {
	error
	Kind() string
}
