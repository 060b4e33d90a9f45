// Package quickstart is the benchmark of the README: three lines.
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
