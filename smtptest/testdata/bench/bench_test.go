// Package bench is run with the real go test by TestBenchmarkOutput and
// TestBenchmarkFails: what Benchmark prints is seen there only, and
// testing.Benchmark keeps failures to itself.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// A dialer's sessions do what do says.
type dialer struct {
	do     func(n int64) error
	bytes  int64 // of a message; 0 means 1000
	dials  atomic.Int64
	warm   atomic.Int64 // operations performed
	closed atomic.Int64
}

func (d *dialer) Dial(context.Context) (loadtest.Session, error) {
	d.dials.Add(1)
	return session{d}, nil
}

type session struct{ *dialer }

func (s session) Do(_ context.Context, op *loadtest.Op) error {
	s.warm.Add(1)
	op.Bytes = cmp.Or(s.bytes, 1000)
	return s.do(op.N)
}

func (s session) Close() error {
	s.closed.Add(1)
	return nil
}

func accept(int64) error { return nil }

type refusal string

func (r refusal) Error() string        { return string(r) + " by a server\nthat talks: much" }
func (r refusal) Kind() string         { return string(r) }
func (r refusal) Is(target error) bool { return target == loadtest.ErrRefused }

type meter struct{ err error }

func (m meter) Begin(context.Context) (func(context.Context) (loadtest.Usage, error), error) {
	return func(context.Context) (loadtest.Usage, error) {
		return loadtest.Usage{CPU: time.Second, PeakRSS: 1 << 20, Warnings: []error{errors.New("the server was throttled")}}, m.err
	}, nil
}

// What must work. Names begin with OK for -bench OK.

func BenchmarkOK(b *testing.B) {
	smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Sessions: 4})
}

// Every other run has errors: the set of metrics must not depend on it.
func BenchmarkOKErrors(b *testing.B) {
	some := []string{"MAIL 450", "RCPT 451", "RCPT 550", "DATA 554", "message 554", "message 452"}
	smtptest.Benchmark(b, &dialer{do: func(n int64) error {
		if n%10 == 9 {
			return refusal(some[n/10%int64(len(some))])
		}
		return nil
	}}, loadtest.Config{Sessions: 4})
}

func BenchmarkOKAll(b *testing.B) {
	for _, sessions := range []int{1, 8} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			b.ReportAllocs()
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Sessions: sessions, OpsPerSession: 2, Meter: meter{}})
		})
	}
}

// Dials and warm-up come before the first iteration, and each iteration is one
// operation, also with more sessions than operations.
func BenchmarkOKCounts(b *testing.B) {
	b.StopTimer() // a user's set-up
	d := &dialer{do: accept}
	res := smtptest.Benchmark(b, d, loadtest.Config{Sessions: 16, Warmup: 100})
	if res.Ops != int64(b.N) || res.Accepted != int64(b.N) {
		b.Errorf("%d iterations, %d messages, %d accepted", b.N, res.Ops, res.Accepted)
	}
	if got := d.warm.Load(); got != int64(b.N)+100 {
		b.Errorf("%d iterations and 100 to warm up, but %d operations", b.N, got)
	}
	if d.dials.Load() != 16 || d.closed.Load() != 16 {
		b.Errorf("16 sessions, but %d were opened and %d closed", d.dials.Load(), d.closed.Load())
	}
}

func BenchmarkOKReport(b *testing.B) {
	var res *loadtest.Result
	for b.Loop() {
		var err error
		if res, err = loadtest.Run(b.Context(), &dialer{do: accept}, loadtest.Config{Ops: 10}); err != nil {
			b.Fatal(err)
		}
	}
	smtptest.Report(b, res)
}

// So little mail data that go test would print it as 0.00 MB/s.
func BenchmarkOKPaced(b *testing.B) {
	smtptest.Benchmark(b, &dialer{do: accept, bytes: 1}, loadtest.Config{Sessions: 2, Pacer: even(250 * time.Microsecond)})
}

type even time.Duration

func (e even) At(n int64) time.Duration { return time.Duration(n) * time.Duration(e) }

// A test may run a benchmark.
func TestInTests(t *testing.T) {
	if res := testing.Benchmark(BenchmarkOK); res.N == 0 || res.Extra["msgs/s"] <= 0 {
		t.Errorf("no result: %+v", res)
	}
	res := testing.Benchmark(func(b *testing.B) {
		smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Sessions: -1})
	})
	if res.N != 0 {
		t.Errorf("a benchmark that failed has a result: %+v", res)
	}
}

// What must fail, by the name of the table in TestBenchmarkFails.

func BenchmarkFail(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, f := range map[string]func(*testing.B){
		"ops": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Ops: 10})
		},
		"duration": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Duration: 10})
		},
		"continue": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Continue: b.Loop})
		},
		"dialer": func(b *testing.B) {
			smtptest.Benchmark(b, nil, loadtest.Config{})
		},
		"sessions": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Sessions: -1})
		},
		"refused": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: func(int64) error { return refusal("MAIL 550 5.7.1") }}, loadtest.Config{Sessions: 2})
		},
		"too_many": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: func(n int64) error {
				if n >= 10 {
					return errors.New("lost")
				}
				return nil
			}}, loadtest.Config{MaxFailed: 3})
		},
		"pacer": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Pacer: ends(5)})
		},
		"twice": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{})
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{})
		},
		"loop": func(b *testing.B) {
			for b.Loop() {
			}
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{})
		},
		"meter": func(b *testing.B) {
			smtptest.Benchmark(b, &dialer{do: accept}, loadtest.Config{Meter: meter{errors.New("no such container")}})
		},
		"report": func(b *testing.B) {
			res, _ := loadtest.Run(ctx, &dialer{do: func(int64) error { return refusal("MAIL 550 5.7.1") }}, loadtest.Config{Ops: 3})
			for b.Loop() {
			}
			smtptest.Report(b, res)
		},
	} {
		b.Run(name, f)
	}
}

type ends int64

func (e ends) At(n int64) time.Duration {
	if n >= int64(e) {
		return -1
	}
	return 0
}
