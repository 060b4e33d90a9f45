package containers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/benchmail/benchmail/loadtest"
)

// BenchmarkIdle measures what a session that does nothing costs the server. In
// each iteration it opens so many sessions through d, TLS included, looks at
// the server's memory, and closes them. It reports how much larger the server's
// resident memory was then than before the first iteration, for each session
// and as the median over the iterations, as server-RSS-bytes/session; ns/op is
// the time to open all of them. It fails the benchmark if a session cannot be
// opened.
//
// Give it a container of its own: what a server keeps of earlier sessions, such
// as Postfix's processes that wait for the next one, does not grow again. Give
// it many sessions: a server with garbage collection grows in steps.
func (srv *Server) BenchmarkIdle(b *testing.B, d loadtest.Dialer, sessions int) {
	b.Helper()
	before, err := srv.Resources(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var grown []int64
	for b.Loop() {
		held, err := srv.hold(b.Context(), d, sessions, b.StopTimer)
		if err != nil {
			b.Fatal(err)
		}
		grown = append(grown, held.RSS-before.RSS)
		b.StartTimer()
	}
	slices.Sort(grown)
	b.ReportMetric(float64(grown[len(grown)/2])/float64(sessions), "server-RSS-bytes/session")
}

// HoldIdle opens so many sessions through d, and returns by how many bytes the
// server's resident memory ([Resources].RSS) is larger while they are all open
// than before. It closes them.
func (srv *Server) HoldIdle(ctx context.Context, d loadtest.Dialer, sessions int) (bytes int64, err error) {
	before, err := srv.Resources(ctx)
	if err != nil {
		return 0, err
	}
	held, err := srv.hold(ctx, d, sessions, func() {})
	return held.RSS - before.RSS, err
}

// hold returns what the server has used when so many sessions are open, and
// calls opened when they are.
func (srv *Server) hold(ctx context.Context, d loadtest.Dialer, sessions int, opened func()) (held Resources, err error) {
	if sessions <= 0 {
		return held, fmt.Errorf("containers: %d sessions are none to be held", sessions)
	}
	open, err := openAll(ctx, d, sessions)
	opened()
	defer func() { err = errors.Join(err, closeAll(open)) }()
	if err != nil {
		return held, fmt.Errorf("containers: %s: opening session %d of %d to hold: %w", srv.name, len(open)+1, sessions, err)
	}
	return srv.Resources(ctx)
}

// openAtOnce is how many handshakes are under way at once.
const openAtOnce = 16

// openAll opens sessions, some at once. After an error it returns those that it
// has opened.
func openAll(ctx context.Context, d loadtest.Dialer, n int) ([]loadtest.Session, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards open
		open = make([]loadtest.Session, 0, n)
	)
	tokens := make(chan struct{}, n)
	for range n {
		tokens <- struct{}{}
	}
	close(tokens)
	for range min(n, openAtOnce) {
		wg.Go(func() {
			for range tokens {
				if ctx.Err() != nil {
					return
				}
				s, err := d.Dial(ctx)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				open = append(open, s)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return open, context.Cause(ctx)
}

func closeAll(open []loadtest.Session) error {
	var wg sync.WaitGroup
	errs := make([]error, len(open))
	tokens := make(chan int, len(open))
	for i := range open {
		tokens <- i
	}
	close(tokens)
	for range min(len(open), openAtOnce) {
		wg.Go(func() {
			for i := range tokens {
				errs[i] = open[i].Close()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
