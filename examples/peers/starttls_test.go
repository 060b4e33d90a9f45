package peers_test

import (
	"testing"
)

// BenchmarkSTARTTLS is W3: full handshakes, with the same certificate and what
// crypto/tls agrees on with itself: TLS 1.3, X25519MLKEM768 and an ECDSA key.
// smtp-source has no TLS, so the measure is a loop of crypto/tls alone.
func BenchmarkSTARTTLS(b *testing.B) {
	const sessions = 100
	b.Run("mode=reuse", func(b *testing.B) {
		messages := scaled(20_000)
		srv := startServer(b, serverSpec{})
		var secure, plain figures
		for b.Loop() {
			spec := clientSpec{Addr: srv.Addr, Sessions: sessions, Messages: messages}
			u, _ := benchmail(b, spec)
			plain.add(u, messages)
			spec.TLS, spec.Roots = true, srv.Roots
			u, _ = benchmail(b, spec)
			secure.add(u, messages)
		}
		b.ReportMetric(secure.wall.median(), "ns/op")
		b.ReportMetric(secure.cpu.median(), "cpu-ns/op")
		b.ReportMetric(plain.cpu.median(), "plaintext-cpu-ns/op")
		b.ReportMetric(ratio(secure.cpu, plain.cpu).median(), "plaintext-cpu-ratio")
		b.ReportMetric(secure.rss.median(), "client-peak-RSS-bytes")
	})
	b.Run("mode=reconnect", func(b *testing.B) {
		messages := scaled(3_000)
		srv := startServer(b, serverSpec{})
		bareSrv := startServer(b, serverSpec{ImplicitTLS: true})
		var secure, plain, bare figures
		for b.Loop() {
			spec := clientSpec{Addr: srv.Addr, Sessions: sessions, Messages: messages, Reconnect: true}
			u, _ := benchmail(b, spec)
			plain.add(u, messages)
			bare.add(handshakes(b, handshakeSpec{Addr: bareSrv.Addr, Sessions: sessions, Count: messages, Roots: bareSrv.Roots}), messages)
			spec.TLS, spec.Roots = true, srv.Roots
			u, _ = benchmail(b, spec)
			secure.add(u, messages)
		}
		least := bare.cpu.plus(plain.cpu)
		b.ReportMetric(secure.wall.median(), "ns/op")
		b.ReportMetric(secure.cpu.median(), "cpu-ns/op")
		b.ReportMetric(bare.cpu.median(), "handshake-cpu-ns/op")
		b.ReportMetric(plain.cpu.median(), "plaintext-cpu-ns/op")
		b.ReportMetric(ratio(secure.cpu, least).median(), "cpu-ratio")
		b.ReportMetric(secure.rss.median(), "client-peak-RSS-bytes")
		goals.record("G6", ratio(secure.cpu, least))
	})
}
