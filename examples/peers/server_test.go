package peers_test

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/benchmail/benchmail/smtptest"
)

// A serverSpec says which server to be.
type serverSpec struct {
	GoSMTP      bool // built on github.com/emersion/go-smtp, in place of ours
	ImplicitTLS bool
}

// A serverReady is what a server says first.
type serverReady struct {
	Addr  string
	Roots string // PEM
}

// A serverReport is what it says last.
type serverReport struct {
	Messages int64
	Mallocs  int64
}

// runServer serves until standard input ends.
func runServer(spec serverSpec) error {
	defer profile("server")()
	if spec.GoSMTP {
		return runGoSMTP()
	}
	var tb processTB
	defer tb.end()
	srv := smtptest.NewUnstartedServer(&tb)
	srv.Discard = true
	if spec.ImplicitTLS {
		srv.StartImplicitTLS()
	} else {
		srv.Start()
	}
	if err := say(serverReady{Addr: srv.Addr, Roots: string(srv.CertificatePEM())}); err != nil {
		return err
	}
	if err := untilTold(); err != nil {
		return err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return say(serverReport{Messages: srv.Stats().Messages, Mallocs: int64(mem.Mallocs)})
}

func untilTold() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// runGoSMTP is the least that a go-smtp server can do for a message.
func runGoSMTP() error {
	var backend discard
	srv := smtp.NewServer(&backend)
	srv.Domain = hostname
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	if err := say(serverReady{Addr: l.Addr().String()}); err != nil {
		return err
	}
	if err := untilTold(); err != nil {
		return err
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		return err
	}
	if err := <-served; err != nil && err != smtp.ErrServerClosed {
		return err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return say(serverReport{Messages: backend.messages.Load(), Mallocs: int64(mem.Mallocs)})
}

// A serverProcess is a server of ours in a process of its own.
type serverProcess struct {
	*process
	serverReady
}

func startServer(tb testing.TB, spec serverSpec) *serverProcess {
	tb.Helper()
	p := &serverProcess{process: self(tb, "server", spec)}
	p.said(tb, &p.serverReady)
	return p
}

// end stops the server and returns what it used and had.
func (p *serverProcess) end(tb testing.TB) (usage, serverReport) {
	tb.Helper()
	if err := p.stdin.Close(); err != nil {
		tb.Fatal(err)
	}
	var r serverReport
	p.said(tb, &r)
	return p.wait(tb), r
}
