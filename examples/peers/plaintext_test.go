package peers_test

import (
	"fmt"
	"testing"
)

// BenchmarkReuse is W1: what a message costs on a connection that is open.
func BenchmarkReuse(b *testing.B) { comparePlaintext(b, "reuse", scaled(20_000), false) }

// BenchmarkReconnect is W2: what it costs with a connection of its own.
func BenchmarkReconnect(b *testing.B) { comparePlaintext(b, "reconnect", scaled(10_000), true) }

func comparePlaintext(b *testing.B, work string, messages int, reconnect bool) {
	rates := map[int]samples{}
	for _, sessions := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			rates[sessions] = compareWithSource(b, work, load{sessions: sessions, messages: messages, reconnect: reconnect})
		})
	}
	if len(rates[100]) > 0 && len(rates[1000]) > 0 {
		goals.record("G3 "+work, ratio(rates[1000], rates[100]))
	}
}

// compareWithSource sends l with our engine and with smtp-source to smtp-sink,
// and as octets that mean nothing to the floor. It returns our messages per
// second.
func compareWithSource(b *testing.B, work string, l load) samples {
	need(b, source, sink)
	sink := startSink(b, true)
	l.addr = sink.addr
	floor := startFloor(b)
	_, err := find(goSource)
	withGo := err == nil
	if !withGo {
		goals.absent(err.Error())
	}
	var ours, theirs, bare, golang figures
	for b.Loop() {
		before := sink.messages(b)
		u, _ := benchmail(b, clientSpec{Addr: l.addr, Sessions: l.sessions, Messages: l.messages, Reconnect: l.reconnect})
		ours.add(u, l.messages)
		if got := sink.messages(b) - before; got != l.messages {
			b.Fatalf("smtp-sink has %d of %d messages that the engine counts as accepted", got, l.messages)
		}
		theirs.add(runSource(b, source, l), l.messages)
		if withGo {
			golang.add(runSource(b, goSource, l), l.messages)
		}
		if floor != nil {
			bare.add(floor(b, l), l.messages)
		}
	}
	b.ReportMetric(ours.wall.median(), "ns/op") // for a message; the framework's is for a round
	b.ReportMetric(ours.cpu.median(), "cpu-ns/op")
	b.ReportMetric(theirs.cpu.median(), "peer-cpu-ns/op")
	b.ReportMetric(ratio(ours.cpu, theirs.cpu).median(), "cpu-ratio")
	b.ReportMetric(ratio(theirs.wall, ours.wall).median(), "rate-ratio")
	if floor != nil {
		b.ReportMetric(bare.cpu.median(), "floor-cpu-ns/op")
		b.ReportMetric(ratio(ours.cpu, bare.cpu).median(), "floor-ratio")
		b.ReportMetric(ratio(theirs.cpu, bare.cpu).median(), "peer-floor-ratio")
	}
	if withGo {
		b.ReportMetric(ratio(golang.cpu, theirs.cpu).median(), "go-smtp-source-cpu-ratio")
	}
	hasRSS := ours.rss.median() > 0 && theirs.rss.median() > 0
	if hasRSS {
		b.ReportMetric(ours.rss.median(), "client-peak-RSS-bytes")
		b.ReportMetric(ratio(ours.rss, theirs.rss).median(), "rss-ratio")
	}

	switch {
	case l.sessions == 100 && !l.reconnect:
		goals.record("G1", ratio(ours.cpu, theirs.cpu))
		goals.record("G1 floor", ratio(ours.cpu, bare.cpu))
	case l.sessions == 100:
		goals.record("G2", ratio(ours.cpu, theirs.cpu))
	case l.sessions == 1000 && hasRSS:
		goals.record("G4 "+work, ratio(ours.rss, theirs.rss))
		goals.record("G4 "+work+" RSS", ours.rss.times(1e-6))
	}
	goals.record(fmt.Sprintf("G3 %s s=%d", work, l.sessions), ratio(theirs.wall, ours.wall))
	return ours.wall.inverse()
}
