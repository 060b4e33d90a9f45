// Package quickstart is the benchmark of the README: three lines. They start a
// server in the test process, open 16 sessions with STARTTLS, and send as many
// messages as -benchtime says:
//
//	go test -run '^$' -bench . ./examples/quickstart
//
// prints, on two busy cores,
//
//	Unit msgs/s better=higher
//	...
//	BenchmarkSTARTTLS-2   20000   74804 ns/op   2.74 MB/s   0 errors/op   44932268 max-ns   13368 msgs/s   774143 p50-ns   2267135 p90-ns   6840319 p99-ns
//
// To compare two versions of a server, run it at both, several times and with
// equal counts, and let golang.org/x/perf/cmd/benchstat judge:
//
//	go test -run '^$' -bench . -benchtime 20000x -count 10 ./examples/quickstart > old.txt
//	go test -run '^$' -bench . -benchtime 20000x -count 10 ./examples/quickstart > new.txt
//	benchstat old.txt new.txt
package quickstart

import (
	"testing"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

func BenchmarkSTARTTLS(b *testing.B) {
	srv := smtptest.NewSink(b)
	smtptest.Benchmark(b, srv.Dialer(), loadtest.Config{Sessions: 16})
}
