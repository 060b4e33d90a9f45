package loadtest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Config says what load to apply. The zero value is one operation over one
// session. Of Ops, Duration and Continue, the first to be reached ends the run.
// Negative numbers are errors.
type Config struct {
	// Sessions is how many sessions are open at once, at the most and, while
	// OpsPerSession is 0, throughout. 0 means 1.
	Sessions int
	// OpsPerSession is how many operations a session performs before it is
	// closed and replaced. 0 means no limit: the sessions are all opened before
	// the measured part begins. 1 makes every operation pay for its own session.
	// With any limit sessions are opened within the measured part.
	OpsPerSession int64

	// Ops is how many operations to start. 0 means no limit, or 1 if Duration
	// and Continue are not set either.
	Ops int64
	// Duration is for how long operations are started, from when the first one
	// may start. In an open loop those that are due before its end and find no
	// session are counted in Result.Missed. 0 means no limit.
	Duration time.Duration
	// Continue is asked before each operation, a few operations ahead (at most
	// 256, and few if operations are slow), and ends the run by returning false.
	// Each true is answered by one operation, unless Duration, the Pacer's
	// schedule or an error ends the run before. It is called on Run's goroutine
	// only, and not for the warm-up: b.Loop fits. nil means always true.
	Continue func() bool

	// Pacer makes the run an open loop: operation n starts at Pacer.At(n) and
	// not when an earlier one has ended. nil is a closed loop: each session
	// starts an operation as soon as the one before it has ended.
	Pacer Pacer
	// Warmup is how many operations are performed first, in a closed loop, and
	// not counted, but for Result.Dials and DialsFailed. If all of them fail or
	// are in doubt, the run ends with an error. 0 means none.
	Warmup int64
	// OpTimeout bounds one operation, the opening of its session included: its
	// context ends, up to a sixteenth late. The opening of the pool may take
	// longer, as long as a session was opened within the last OpTimeout. It also
	// bounds how long operations in flight may take to end after Run's context
	// has ended. 0 means one minute.
	OpTimeout time.Duration
	// MaxFailed ends the run with ErrTooManyFailed when more operations than
	// this have failed or are in doubt. 0 means no limit. Without a limit, the
	// run still ends when no session could be opened for OpTimeout.
	MaxFailed int64

	// Meter measures what the server uses in the measured part. nil means none.
	Meter Meter
}

// A Meter measures what the system under load uses: a container's CPU time,
// the memory of a process.
type Meter interface {
	// Begin is called right before the first measured operation, and the
	// function it returns, once, right after the last, also when the run was
	// cancelled. Either may be called from any goroutine. An error ends the run
	// (Begin) or becomes one of Result.Warnings (end). The context of end
	// ends after Config.OpTimeout.
	Begin(ctx context.Context) (end func(context.Context) (Usage, error), err error)
}

// Usage is what a Meter measured between its begin and its end.
type Usage struct {
	CPU     time.Duration // user and system time of the server, all threads
	PeakRSS int64         // largest resident memory in bytes; 0 if unknown
	// Warnings are reasons to doubt the figures: the server was throttled,
	// restarted, killed.
	Warnings []error
}

// prepare checks c and fills in the defaults.
func (c *Config) prepare(d Dialer) error {
	if d == nil {
		return errors.New("no Dialer: use &SMTP{Addr: ...}, or one of your own")
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Sessions", int64(c.Sessions)},
		{"OpsPerSession", c.OpsPerSession},
		{"Ops", c.Ops},
		{"Duration", int64(c.Duration)},
		{"Warmup", c.Warmup},
		{"OpTimeout", int64(c.OpTimeout)},
		{"MaxFailed", c.MaxFailed},
	} {
		if f.value < 0 {
			return fmt.Errorf("negative Config.%s: %d; 0 is its default", f.name, f.value)
		}
	}
	if v, ok := c.Pacer.(validator); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("Config.Pacer: %w", err)
		}
	}
	if c.Sessions == 0 {
		c.Sessions = 1
	}
	if c.Ops == 0 && c.Duration == 0 && c.Continue == nil {
		c.Ops = 1
	}
	if c.OpTimeout == 0 {
		c.OpTimeout = time.Minute
	}
	return nil
}
