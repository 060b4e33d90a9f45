package peers_test

import (
	"fmt"
	"testing"

	"github.com/benchmail/benchmail/loadtest"
)

// BenchmarkExchange is W4: what fewer round trips bring. smtp-source, whose
// Lockstep is the measure, sends to smtp-sink; we send to smtptest.Server, as
// smtp-sink has no CHUNKING. Both at 100 sessions that are reused.
func BenchmarkExchange(b *testing.B) {
	for _, w := range []struct {
		exchange loadtest.Exchange
		name     string
		depth    int
		messages int // such that each takes about a second
	}{
		{loadtest.Lockstep, "Lockstep", 1, 20_000},
		{loadtest.Pipelined, "Pipelined", 1, 40_000},
		{loadtest.Pipelined, "Pipelined", 2, 80_000},
		{loadtest.Chunked, "Chunked", 1, 100_000},
		{loadtest.Chunked, "Chunked", 10, 400_000},
	} {
		name := fmt.Sprintf("exchange=%s/depth=%d", w.name, w.depth)
		b.Run(name, func(b *testing.B) {
			need(b, source, sink)
			const sessions = 100
			theirSink := startSink(b, false)
			ourSink := startServer(b, serverSpec{})
			theirLoad := load{addr: theirSink.addr, sessions: sessions, messages: scaled(20_000)}
			messages := scaled(w.messages)
			var ours, theirs figures
			rounds := 0
			for b.Loop() {
				u, _ := benchmail(b, clientSpec{Addr: ourSink.Addr, Sessions: sessions, Messages: messages, Exchange: w.exchange, Depth: w.depth})
				ours.add(u, messages)
				theirs.add(runSource(b, source, theirLoad), theirLoad.messages)
				rounds++
			}
			_, report := ourSink.end(b)
			if want := int64(rounds * messages); report.Messages != want {
				b.Fatalf("smtptest.Server has %d of %d messages that the engine counts as accepted", report.Messages, want)
			}
			b.ReportMetric(ours.wall.median(), "ns/op")
			b.ReportMetric(ours.cpu.median(), "cpu-ns/op")
			b.ReportMetric(theirs.cpu.median(), "peer-cpu-ns/op")
			b.ReportMetric(ratio(ours.cpu, theirs.cpu).median(), "cpu-ratio")
			b.ReportMetric(ratio(theirs.wall, ours.wall).median(), "rate-ratio")
			goals.record("G5 "+name, ratio(ours.cpu, theirs.cpu))
		})
	}
}
