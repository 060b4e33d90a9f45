package loadtest_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benchmail/benchmail/loadtest"
)

// A server is what fake sessions talk to: a function for each thing that can
// happen, and counts of what did.
type server struct {
	dial func(ctx context.Context, n int64) error                 // n from 0; nil: at once
	do   func(ctx context.Context, op *loadtest.Op) (bool, error) // true: the server has it; nil: at once

	start   func(op *loadtest.Op) error // of a Pipeliner
	onMost  func(n int)                 // n operations are in flight on a session
	onClose func()
	phases  bool // sessions time their beginning and end

	depth int // more than 1: sessions are Pipeliners

	dials, closes, open, maxOpen, ops, has atomic.Int64
	closedTwice                            atomic.Bool

	mu  sync.Mutex
	ns  map[int64]int // how often each N was done; nil: not noted
	log []string      // what happened, if a test wants it
}

func (s *server) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *server) Dial(ctx context.Context) (loadtest.Session, error) {
	n := s.dials.Add(1) - 1
	open := s.open.Add(1) // an attempt counts, as a connection would
	for {
		m := s.maxOpen.Load()
		if open <= m || s.maxOpen.CompareAndSwap(m, open) {
			break
		}
	}
	if s.dial != nil {
		if err := s.dial(ctx, n); err != nil {
			s.open.Add(-1)
			return nil, err
		}
	}
	if s.depth > 1 {
		return &pipeline{session: session{server: s, number: n}}, nil
	}
	return &session{server: s, number: n}, nil
}

var (
	phaseHello   = loadtest.NewPhase("hello")
	phaseGoodbye = loadtest.NewPhase("goodbye")
)

func (c *session) TakePhases() (p loadtest.Phases) {
	if c.server.phases {
		if c.closed {
			p.Add(phaseGoodbye, time.Millisecond)
		} else {
			p.Add(phaseHello, time.Millisecond)
		}
	}
	return p
}

type session struct {
	server *server
	number int64
	closed bool
}

func (c *session) Do(ctx context.Context, op *loadtest.Op) error {
	s := c.server
	if c.closed {
		panic("Do on a closed session")
	}
	s.ops.Add(1)
	if s.ns != nil {
		s.mu.Lock()
		s.ns[op.N]++
		s.mu.Unlock()
	}
	if s.do == nil {
		s.has.Add(1)
		return nil
	}
	has, err := s.do(ctx, op)
	if has {
		s.has.Add(1)
	}
	return err
}

func (c *session) Close() error {
	if c.closed {
		c.server.closedTwice.Store(true)
	}
	c.closed = true
	c.server.closes.Add(1)
	if c.server.onClose != nil {
		c.server.onClose()
	}
	c.server.open.Add(-1)
	return nil
}

// A pipeline performs an operation in Finish; what counts is what the engine
// does in between.
type pipeline struct {
	session
	inFlight []*loadtest.Op
}

func (p *pipeline) Depth() int { return p.server.depth }

func (p *pipeline) Start(ctx context.Context, op *loadtest.Op) error {
	if p.server.start != nil {
		if err := p.server.start(op); err != nil {
			return err
		}
	}
	p.inFlight = append(p.inFlight, op)
	if p.server.onMost != nil {
		p.server.onMost(len(p.inFlight))
	}
	if len(p.inFlight) > p.server.depth {
		panic("more in flight than Depth")
	}
	return nil
}

func (p *pipeline) Finish(ctx context.Context) (*loadtest.Op, error) {
	op := p.inFlight[0]
	n := copy(p.inFlight, p.inFlight[1:])
	p.inFlight = p.inFlight[:n]
	return op, p.Do(ctx, op)
}

// check fails the test if the counts do not add up, or the server knows better.
func check(t testing.TB, s *server, res *loadtest.Result) {
	t.Helper()
	if res.Ops != res.Accepted+res.Refused+res.Failed+res.InDoubt {
		t.Errorf("%d operations, but %d accepted + %d refused + %d failed + %d in doubt", res.Ops, res.Accepted, res.Refused, res.Failed, res.InDoubt)
	}
	if has := s.has.Load(); has < res.Accepted || has > res.Accepted+res.InDoubt {
		t.Errorf("the server has %d; accepted %d, in doubt %d", has, res.Accepted, res.InDoubt)
	}
	if s.open.Load() != 0 {
		t.Errorf("%d sessions were not closed", s.open.Load())
	}
	if s.closedTwice.Load() {
		t.Error("a session was closed twice")
	}
	if most := s.maxOpen.Load(); most > int64(res.Config.Sessions) {
		t.Errorf("%d sessions at once, of %d", most, res.Config.Sessions)
	}
	if got, want := res.Dials, s.closes.Load(); got != want {
		t.Errorf("Dials is %d; %d sessions were closed", got, want)
	}
}

// wait returns when d is over or ctx ends, with its error.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
