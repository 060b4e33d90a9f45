package peers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"testing"

	"github.com/benchmail/benchmail/loadtest"
)

// envProfile names a folder for a CPU profile of each of our own processes.
const envProfile = "BENCHMAIL_PEERS_PROFILE"

// A clientSpec is what our engine is asked to do in the role of a client.
type clientSpec struct {
	Addr       string
	Sessions   int
	Messages   int
	Reconnect  bool
	Exchange   loadtest.Exchange
	Depth      int
	TLS        bool   // STARTTLS; otherwise plaintext
	Roots      string // PEM
	DelayedACK bool
}

// A clientReport is what it found.
type clientReport struct {
	PeakRSS int64
	Mallocs int64 // in all of the process's life
}

func runClient(spec clientSpec) error {
	defer profile("client")()
	d := &loadtest.SMTP{
		Addr:       spec.Addr,
		Security:   loadtest.Plaintext,
		Hello:      hostname,
		Exchange:   spec.Exchange,
		Depth:      spec.Depth,
		DelayedACK: spec.DelayedACK,
		// smtp-source does so always; without it, reconnect would measure how
		// long the kernel looks for a port that is not in TIME_WAIT.
		ResetOnClose: true,
	}
	if spec.TLS {
		d.Security = loadtest.STARTTLS
		d.TLSConfig = trusting(spec.Roots)
	}
	m := message()
	d.Message = func(int64) *loadtest.Message { return m }
	cfg := loadtest.Config{Sessions: spec.Sessions, Ops: int64(spec.Messages)}
	if spec.Reconnect {
		cfg.OpsPerSession = 1
	}
	res, err := loadtest.Run(context.Background(), d, cfg)
	if err != nil {
		return err
	}
	if res.Accepted != int64(spec.Messages) {
		err := fmt.Errorf("%d of %d messages were accepted", res.Accepted, spec.Messages)
		for _, e := range res.Errors {
			err = errors.Join(err, fmt.Errorf("%d times %s: %w", e.Count, e.Kind, e.Example))
		}
		return err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return say(clientReport{PeakRSS: peakRSS("self"), Mallocs: int64(mem.Mallocs)})
}

// benchmail is our engine doing it in a process of its own.
func benchmail(tb testing.TB, spec clientSpec) (usage, clientReport) {
	tb.Helper()
	p := self(tb, "client", spec)
	var r clientReport
	p.said(tb, &r)
	u := p.wait(tb)
	u.peakRSS = max(u.peakRSS, r.PeakRSS)
	return u, r
}

func trusting(pem string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(pem))
	return &tls.Config{RootCAs: roots}
}

// profile starts a CPU profile if envProfile says where, and returns what ends
// it.
func profile(role string) func() {
	dir := os.Getenv(envProfile)
	if dir == "" {
		return func() {}
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", role, os.Getpid())))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "peers: profile: %v\n", err)
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}
}
