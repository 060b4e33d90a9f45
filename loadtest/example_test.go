package loadtest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/benchmail/benchmail/loadtest"
)

// A postbox is a system under load of one's own: something to open sessions
// with, and operations on them.
type postbox struct{}

func (postbox) Dial(ctx context.Context) (loadtest.Session, error) { return slot{}, nil }

type slot struct{}

func (slot) Do(ctx context.Context, op *loadtest.Op) error {
	if op.N%100 == 99 {
		return errFull // matches ErrRefused: the session stays in use
	}
	op.Bytes = 20
	return nil
}

func (slot) Close() error { return nil }

var errFull = fmt.Errorf("postbox is full: %w", loadtest.ErrRefused)

func ExampleRun() {
	res, err := loadtest.Run(context.Background(), postbox{}, loadtest.Config{Sessions: 4, Ops: 1000})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Ops, "operations,", res.Accepted, "accepted,", res.Refused, "refused,", res.Bytes, "bytes")
	for _, e := range res.Errors {
		fmt.Println(e.Count, e.Kind)
	}
	// Output:
	// 1000 operations, 990 accepted, 10 refused, 19800 bytes
	// 10 postbox is full: refused by the server
}

// An open loop: who has to wait, and how long, if ten thousand come in a
// second?
func ExampleRun_openLoop() {
	res, err := loadtest.Run(context.Background(), postbox{}, loadtest.Config{
		Sessions: 4,
		Ops:      100,
		Pacer:    loadtest.Poisson(10_000, 1),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Latency.Count(), "latencies")
	for _, w := range res.Warnings {
		if errors.Is(w, loadtest.ErrBottleneck) {
			continue // the machine was busy: do not believe the latency
		}
		fmt.Println(w)
	}
	// Output:
	// 100 latencies
}
