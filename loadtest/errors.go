package loadtest

import (
	"errors"
	"fmt"
)

// Errors of Run, and causes of contexts that it gives to sessions.
var (
	// ErrTooManyFailed ends a run with more failures than Config.MaxFailed.
	ErrTooManyFailed = errors.New("too many operations failed")
	// ErrOpTimeout is the cause (context.Cause) of a session's context that
	// ended as an operation, or the opening of its session, took longer than
	// Config.OpTimeout.
	ErrOpTimeout error = opTimeout{}
	// ErrAborted is the cause of a session's context that ended as the run was
	// cancelled, or ended with an error, Config.OpTimeout ago.
	ErrAborted = errors.New("run aborted")
)

// Warnings, in Result.Warnings, match these with errors.Is. Warnings that find
// the generator out of resources match ErrGenerator.
var (
	// ErrBottleneck: the load generator, or the machine under it, was late, so
	// that the latencies are partly its own.
	ErrBottleneck = errors.New("the load generator was a bottleneck")
	// ErrMissed: operations of an open loop were not started, as no session
	// was free.
	ErrMissed = errors.New("arrivals were missed")
)

type opTimeout struct{}

func (opTimeout) Error() string   { return "operation took longer than OpTimeout" }
func (opTimeout) Timeout() bool   { return true }
func (opTimeout) Temporary() bool { return true } // makes it a net.Error

// explain says of an operation whose context was ended by the watchdog what the
// session may not have said: it knows only that its context ended.
func explain(err error, killed bool) error {
	if !killed || err == nil || errors.Is(err, ErrOpTimeout) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrOpTimeout, err)
}

// An outcome is the count that an operation ends in.
type outcome uint8

const (
	accepted outcome = iota
	refused
	throttled
	inDoubt
	failed
)

// outcomeOf classifies what Do, Finish or Dial returned. An error may match
// several of the sentinels. Doubt wins, as the other counts claim to know what
// the server has; then ErrThrottled, as it is a refusal that costs the session.
func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return accepted
	case errors.Is(err, ErrInDoubt):
		return inDoubt
	case errors.Is(err, ErrThrottled):
		return throttled
	case errors.Is(err, ErrRefused):
		return refused
	}
	return failed
}

// endsSession reports whether the session is to be replaced after o.
func (o outcome) endsSession() bool { return o != accepted && o != refused }
