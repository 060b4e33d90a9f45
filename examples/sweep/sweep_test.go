// Package sweep measures one server under several loads. What differs is in the
// names of the sub-benchmarks, as key=value, and benchstat makes columns of any
// key:
//
//	go test -run '^$' -bench . -benchtime 2000x -count 6 ./examples/sweep > sweep.txt
//	benchstat -col /exchange -row /sessions,/security -filter '.unit:msgs/s' sweep.txt
//
// printed, on two busy cores (which the ± show),
//
//	             │   lockstep    │               pipelined               │                chunked                 │
//	             │    msgs/s     │    msgs/s      vs base                │     msgs/s      vs base                │
//	1 plaintext    13.12k ±  59%    25.05k ±  4%   +90.85% (p=0.002 n=6)    49.91k ±  34%  +280.28% (p=0.002 n=6)
//	1 starttls     11.90k ±  54%    22.89k ± 12%   +92.30% (p=0.002 n=6)    44.02k ±  21%  +269.79% (p=0.002 n=6)
//	16 plaintext   9.640k ±  40%   15.496k ± 74%         ~ (p=0.240 n=6)   22.206k ± 113%  +130.35% (p=0.002 n=6)
//	16 starttls    4.689k ± 106%   14.322k ± 45%  +205.44% (p=0.009 n=6)   23.706k ±  26%  +405.57% (p=0.002 n=6)
package sweep

import (
	"fmt"
	"testing"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

func BenchmarkSweep(b *testing.B) {
	srv := smtptest.NewSink(b) // once for all of them
	for _, sessions := range []int{1, 16} {
		for _, security := range []struct {
			name string
			loadtest.Security
		}{{"plaintext", loadtest.Plaintext}, {"starttls", loadtest.STARTTLS}} {
			for _, exchange := range []struct {
				name string
				loadtest.Exchange
			}{{"lockstep", loadtest.Lockstep}, {"pipelined", loadtest.Pipelined}, {"chunked", loadtest.Chunked}} {
				b.Run(fmt.Sprintf("sessions=%d/security=%s/exchange=%s", sessions, security.name, exchange.name), func(b *testing.B) {
					d := srv.Dialer()
					d.Security = security.Security
					d.Exchange = exchange.Exchange
					smtptest.Benchmark(b, d, loadtest.Config{Sessions: sessions})
				})
			}
		}
	}
}
