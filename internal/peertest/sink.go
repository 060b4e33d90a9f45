package peertest

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sink is a smtp-sink that runs.
type Sink struct {
	Addr string // "127.0.0.1:port" or "unix:/path"

	p *process
}

// SMTPSink starts Postfix's smtp-sink on a free port of 127.0.0.1. Flags are
// smtp-sink's: "-L" for LMTP, "-f", "RCPT" to refuse recipients. It runs as
// nobody where the tests run as root; folders for -d and -D: see PublicDir.
func SMTPSink(tb testing.TB, flags ...string) *Sink {
	tb.Helper()
	return startSink(tb, freeAddr, flags)
}

// SMTPSinkUnix is SMTPSink on a unix socket.
func SMTPSinkUnix(tb testing.TB, flags ...string) *Sink {
	tb.Helper()
	path := filepath.Join(PublicDir(tb), "sink")
	return startSink(tb, func(testing.TB) string { return "unix:" + path }, flags)
}

// startTries is how many ports are tried: a port that was free may be another
// process's by the time the program binds it.
const startTries = 5

func startSink(tb testing.TB, addr func(testing.TB) string, flags []string) *Sink {
	tb.Helper()
	path := program(tb, "smtp-sink", "postfix")
	var wrote string
	for range startTries {
		s := &Sink{Addr: addr(tb)}
		cmd := exec.Command(path, append(append([]string{"-c"}, flags...), s.Addr, "1024")...)
		if err := asNobody(cmd); err != nil {
			tb.Fatalf("peertest: running smtp-sink as nobody: %v", err)
		}
		s.p = start(tb, cmd)
		if s.listens() {
			return s
		}
		s.p.end()
		wrote = s.p.out.String()
	}
	tb.Fatalf("peertest: smtp-sink %s did not start: %s", strings.Join(flags, " "), wrote)
	return nil
}

// listens waits until a connection is accepted. A greeting is not waited for,
// as flags may have made smtp-sink refuse to give one.
func (s *Sink) listens() bool {
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); {
		conn, err := dial(s.Addr)
		if err == nil {
			conn.Close()
			return true
		}
		if !s.p.waits(pollTime) {
			return false
		}
	}
	return false
}

// Stop stops smtp-sink and returns how many messages it has received. That is
// exact, as smtp-sink counts before it replies to the end of mail data, and
// whatever it replies: with "-f ." or "-r ." messages count that it refused.
func (s *Sink) Stop() int {
	s.p.tb.Helper()
	s.p.end()
	// The counters are written again and again, ended by CR alone. The program
	// is gone, so what it wrote is all there. Its counts of sessions and of QUITs
	// are no use: it counts them after its last reply, and may be gone by then.
	messages := 0
	for line := range strings.FieldsFuncSeq(s.p.out.String(), func(r rune) bool { return r == '\r' || r == '\n' }) {
		var sess, quit, mesg int
		if _, err := fmt.Sscanf(line, "sess=%d quit=%d mesg=%d", &sess, &quit, &mesg); err == nil {
			messages = mesg
		}
	}
	return messages
}

// freeAddr returns an address that nobody listens on.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("peertest: looking for a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dial(addr string) (net.Conn, error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return net.DialTimeout("unix", path, startTime)
	}
	return net.DialTimeout("tcp", addr, startTime)
}
