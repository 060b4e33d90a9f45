package peers_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/benchmail/benchmail/internal/peertest"
)

// BenchmarkPostfix is W3 against a real Postfix smtpd, whose own work is most of
// it: what is compared is one way of sending with another.
//
// mode=reconnect is G6b. Postfix sends its session ticket and then the reply to
// EHLO, and Nagle's algorithm holds the reply until the ticket is acknowledged,
// which the client's kernel puts off for 40 ms, unless it is told TCP_QUICKACK.
func BenchmarkPostfix(b *testing.B) {
	b.Run("mode=reconnect/sessions=1", func(b *testing.B) {
		addr, roots := startPostfix(b)
		messages, few := scaled(500), scaled(100)
		var quick, delayed figures
		for b.Loop() {
			spec := clientSpec{Addr: addr, Sessions: 1, Messages: messages, Reconnect: true, TLS: true, Roots: roots}
			u, _ := benchmail(b, spec)
			quick.add(u, messages)
			spec.Messages, spec.DelayedACK = few, true
			u, _ = benchmail(b, spec)
			delayed.add(u, few)
		}
		b.ReportMetric(quick.wall.median(), "ns/op")
		b.ReportMetric(delayed.wall.median(), "delayed-ack-ns/op")
		b.ReportMetric(ratio(delayed.wall, quick.wall).median(), "rate-ratio")
		goals.record("G6b", ratio(delayed.wall, quick.wall))
	})
	b.Run("mode=reuse/sessions=20", func(b *testing.B) {
		addr, roots := startPostfix(b)
		messages := scaled(2_000)
		var secure, plain figures
		for b.Loop() {
			spec := clientSpec{Addr: addr, Sessions: 20, Messages: messages}
			u, _ := benchmail(b, spec)
			plain.add(u, messages)
			spec.TLS, spec.Roots = true, roots
			u, _ = benchmail(b, spec)
			secure.add(u, messages)
		}
		b.ReportMetric(secure.wall.median(), "ns/op")
		b.ReportMetric(secure.cpu.median(), "cpu-ns/op")
		b.ReportMetric(plain.cpu.median(), "plaintext-cpu-ns/op")
		b.ReportMetric(ratio(secure.cpu, plain.cpu).median(), "plaintext-cpu-ratio")
	})
}

func startPostfix(b *testing.B) (addr, roots string) {
	b.Helper()
	need(b, "postconf")
	if os.Geteuid() != 0 {
		why := "Postfix is started by root only"
		goals.absent(why)
		b.Skip(why)
	}
	srv := peertest.Postfix(b, peertest.PostfixConfig{Discard: true})
	pem, err := os.ReadFile(filepath.Join(srv.Dir, "etc", "cert.pem"))
	if err != nil {
		b.Fatal(err)
	}
	return srv.Addr, string(pem)
}
