package peers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/benchmail/benchmail/loadtest"
)

// A recordingSpec is a run of the engine over sessions that do nothing but
// report the phases of a Chunked message.
type recordingSpec struct {
	Sessions, Ops int
}

type idle struct{}

var _ loadtest.Dialer = idle{}

func (idle) Dial(context.Context) (loadtest.Session, error) { return idle{}, nil }
func (idle) Close() error                                   { return nil }

// Do reads the clock once for each reply, as loadtest.SMTP does.
func (idle) Do(_ context.Context, op *loadtest.Op) error {
	at := time.Now()
	for _, phase := range [...]loadtest.Phase{loadtest.PhaseMail, loadtest.PhaseRcpt, loadtest.PhaseMessage} {
		now := time.Now()
		op.Phases.Add(phase, now.Sub(at))
		at = now
	}
	op.Bytes = int64(len(mailData))
	op.Recipients = 1
	return nil
}

func runRecording(spec recordingSpec) error {
	defer profile("recording")()
	res, err := loadtest.Run(context.Background(), idle{}, loadtest.Config{Sessions: spec.Sessions, Ops: int64(spec.Ops)})
	if err != nil {
		return err
	}
	if res.Accepted != int64(spec.Ops) {
		return fmt.Errorf("%d of %d operations were accepted", res.Accepted, spec.Ops)
	}
	return nil
}

func recording(tb testing.TB, spec recordingSpec) usage {
	tb.Helper()
	return self(tb, "recording", spec).wait(tb)
}

// BenchmarkRecording is G10: what the engine itself uses for an operation, with
// all its phases recorded, as a share of a Chunked message. It is more than
// recording: handing out operations, the clock and the counts are in it.
func BenchmarkRecording(b *testing.B) {
	const sessions = 100
	ops, messages := scaled(10_000_000), scaled(100_000)
	srv := startServer(b, serverSpec{})
	var engine, chunked figures
	for b.Loop() {
		engine.add(recording(b, recordingSpec{Sessions: sessions, Ops: ops}), ops)
		u, _ := benchmail(b, clientSpec{Addr: srv.Addr, Sessions: sessions, Messages: messages, Exchange: loadtest.Chunked})
		chunked.add(u, messages)
	}
	b.ReportMetric(engine.wall.median(), "ns/op")
	b.ReportMetric(engine.cpu.median(), "cpu-ns/op")
	b.ReportMetric(chunked.cpu.median(), "message-cpu-ns/op")
	b.ReportMetric(ratio(engine.cpu, chunked.cpu).median(), "cpu-ratio")
	goals.record("G10", ratio(engine.cpu, chunked.cpu))
}
