package peers_test

import (
	"testing"
)

// BenchmarkSink is W6: what a server that accepts all and keeps nothing uses for
// a message. A sink that costs more than the client takes the machine from the
// load.
func BenchmarkSink(b *testing.B) {
	l := load{sessions: 100, messages: scaled(30_000)}
	clients := map[string]func(*testing.B, load){
		"smtp-source": func(b *testing.B, l load) { runSource(b, source, l) },
		"benchmail": func(b *testing.B, l load) {
			benchmail(b, clientSpec{Addr: l.addr, Sessions: l.sessions, Messages: l.messages})
		},
	}
	for _, client := range []string{"smtp-source", "benchmail"} {
		b.Run("client="+client, func(b *testing.B) {
			need(b, source, sink)
			drive := clients[client]
			var ours, sinks, gos figures
			for b.Loop() {
				ours.add(serve(b, serverSpec{}, l, drive), l.messages)
				sinks.add(serveSink(b, l, drive), l.messages)
				gos.add(serve(b, serverSpec{GoSMTP: true}, l, drive), l.messages)
			}
			b.ReportMetric(ours.wall.median(), "ns/op")
			b.ReportMetric(ours.cpu.median(), "server-cpu-ns/op")
			b.ReportMetric(sinks.cpu.median(), "smtp-sink-cpu-ns/op")
			b.ReportMetric(gos.cpu.median(), "go-smtp-cpu-ns/op")
			b.ReportMetric(ratio(ours.cpu, sinks.cpu).median(), "smtp-sink-cpu-ratio")
			b.ReportMetric(ratio(ours.cpu, gos.cpu).median(), "go-smtp-cpu-ratio")
			b.ReportMetric(ours.rss.median(), "server-peak-RSS-bytes")
			goals.record("G8 client="+client+" of smtp-sink", ratio(ours.cpu, sinks.cpu))
			goals.record("G8 client="+client+" of go-smtp", ratio(ours.cpu, gos.cpu))
		})
	}
}

// serve returns what a server of ours used for l, from its start to its end.
func serve(b *testing.B, spec serverSpec, l load, drive func(*testing.B, load)) usage {
	b.Helper()
	srv := startServer(b, spec)
	l.addr = srv.Addr
	drive(b, l)
	u, report := srv.end(b)
	if report.Messages != int64(l.messages) {
		b.Fatalf("the server has %d of %d messages", report.Messages, l.messages)
	}
	return u
}

// serveSink is the same for smtp-sink, which does not count, as that is a
// system call per message for it.
func serveSink(b *testing.B, l load, drive func(*testing.B, load)) usage {
	b.Helper()
	srv := startSink(b, false)
	l.addr = srv.addr
	drive(b, l)
	return srv.kill(b)
}
