package smtptest

import (
	"testing"

	"github.com/benchmail/benchmail/loadtest"
)

// Benchmark: the bench author's.
func Benchmark(b *testing.B, d loadtest.Dialer, cfg loadtest.Config) *loadtest.Result { panic("todo") }

// Report reports res's metrics to b.
func Report(b *testing.B, res *loadtest.Result) { panic("todo") }
