package loadtest_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/benchmail/benchmail/loadtest"
)

// A nop is a session that costs nothing: what remains is the engine.
type nop struct{ phases bool }

var phaseNop = loadtest.NewPhase("nop")

func (d nop) Dial(context.Context) (loadtest.Session, error) { return d, nil }
func (nop) Close() error                                     { return nil }

func (d nop) Do(ctx context.Context, op *loadtest.Op) error {
	op.Bytes = 1
	if d.phases {
		for range 5 {
			op.Phases.Add(phaseNop, 1000)
		}
	}
	return nil
}

// A nopPipeliner has a ring of its own, as a session with replies to wait for.
type nopPipeliner struct {
	nop
	depth, oldest, inFlight int
	ops                     [16]*loadtest.Op
}

type nopPipelinerDialer int

func (d nopPipelinerDialer) Dial(context.Context) (loadtest.Session, error) {
	return &nopPipeliner{depth: int(d)}, nil
}

func (p *nopPipeliner) Depth() int { return p.depth }

func (p *nopPipeliner) Start(ctx context.Context, op *loadtest.Op) error {
	p.ops[(p.oldest+p.inFlight)%len(p.ops)] = op
	p.inFlight++
	return nil
}

func (p *nopPipeliner) Finish(ctx context.Context) (*loadtest.Op, error) {
	op := p.ops[p.oldest]
	p.oldest = (p.oldest + 1) % len(p.ops)
	p.inFlight--
	return op, p.Do(ctx, op)
}

// BenchmarkEngine is what the engine adds to an operation.
func BenchmarkEngine(b *testing.B) {
	run := func(b *testing.B, d loadtest.Dialer, cfg loadtest.Config) {
		b.ReportAllocs()
		res, err := loadtest.Run(b.Context(), d, cfg)
		if err != nil || res.Accepted != res.Ops {
			b.Fatal(res.Ops, res.Accepted, err)
		}
		b.ReportMetric(float64(res.Elapsed)/float64(res.Ops), "ns/op")
	}
	for _, sessions := range []int{1, 100} {
		b.Run(fmt.Sprintf("tap=ops/sessions=%d", sessions), func(b *testing.B) {
			run(b, nop{}, loadtest.Config{Sessions: sessions, Ops: int64(b.N)})
		})
		b.Run(fmt.Sprintf("tap=ops/phases=5/sessions=%d", sessions), func(b *testing.B) {
			run(b, nop{phases: true}, loadtest.Config{Sessions: sessions, Ops: int64(b.N)})
		})
		b.Run(fmt.Sprintf("tap=loop/sessions=%d", sessions), func(b *testing.B) {
			run(b, nop{}, loadtest.Config{Sessions: sessions, Continue: b.Loop})
		})
		b.Run(fmt.Sprintf("tap=ops/reuse=1/sessions=%d", sessions), func(b *testing.B) {
			run(b, nop{}, loadtest.Config{Sessions: sessions, Ops: int64(b.N), OpsPerSession: 1})
		})
		b.Run(fmt.Sprintf("tap=ops/depth=10/sessions=%d", sessions), func(b *testing.B) {
			run(b, nopPipelinerDialer(10), loadtest.Config{Sessions: sessions, Ops: int64(b.N)})
		})
	}
}

// Steady state: ten times the operations must not allocate more. What the run
// itself allocates cancels out.
func TestNoAllocations(t *testing.T) {
	for _, test := range []struct {
		name string
		d    loadtest.Dialer
		cfg  loadtest.Config
	}{
		{"do", nop{phases: true}, loadtest.Config{Sessions: 4}},
		{"pipeliner", nopPipelinerDialer(10), loadtest.Config{Sessions: 4}},
		{"open loop", nop{}, loadtest.Config{Sessions: 4, Pacer: loadtest.Rate(1e6)}},
		{"poisson", nop{}, loadtest.Config{Sessions: 4, Pacer: loadtest.Poisson(1e6, 1)}},
	} {
		for _, tap := range []string{"ops", "continue"} {
			t.Run(test.name+"/"+tap, func(t *testing.T) {
				const n = 1000
				few, many := mallocs(t, test.d, test.cfg, tap, n), mallocs(t, test.d, test.cfg, tap, 10*n)
				// The runtime allocates now and then on its own account (a
				// goroutine's wait descriptor); an allocation per operation
				// would be 9000.
				if extra := many - few; extra > n/10 {
					t.Errorf("%d more operations made %d more allocations", 9*n, extra)
				}
			})
		}
	}
}

// mallocs returns how many allocations a run of n operations makes, the best of
// some.
func mallocs(t *testing.T, d loadtest.Dialer, cfg loadtest.Config, tap string, n int) int64 {
	best := int64(1 << 62)
	for range 5 {
		cfg.Ops = int64(n)
		if tap == "continue" {
			cfg.Ops, cfg.Continue = 0, times(n)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		res, err := loadtest.Run(t.Context(), d, cfg)
		runtime.ReadMemStats(&after)
		if err != nil || res.Accepted != int64(n) {
			t.Fatal(res.Accepted, err)
		}
		best = min(best, int64(after.Mallocs-before.Mallocs))
	}
	return best
}
