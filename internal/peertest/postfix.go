package peertest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// PostfixConfig says how a Postfix is to differ from the default: a real smtpd
// with STARTTLS and without limits, for mail to anywhere, that keeps each
// message it accepts on hold.
type PostfixConfig struct {
	// Main is more main.cf parameters. They override what is set here.
	Main map[string]string
	// Discard throws messages away instead, after smtpd and cleanup have done
	// all of their work: for loads that are too large to be kept. Accepted is
	// then always 0.
	Discard bool
	// Relay delivers messages instead: a transport and its destination, such as
	// "smtp:[127.0.0.1]:2525" or "lmtp:unix:/path". "" means that none is
	// delivered.
	Relay string
}

// PostfixServer is a Postfix that runs.
type PostfixServer struct {
	Addr            string // "127.0.0.1:port": plaintext and STARTTLS
	ImplicitTLSAddr string // "127.0.0.1:port": TLS from the first octet
	Dir             string // its folder

	p    *process
	cert []byte // PEM
}

// Postfix starts a private Postfix: its configuration, queue, log and sockets
// are in a temporary folder, its smtpd on free ports of 127.0.0.1. It needs
// root, as Postfix does.
func Postfix(tb testing.TB, cfg PostfixConfig) *PostfixServer {
	tb.Helper()
	program(tb, "postconf", "postfix")
	if os.Geteuid() != 0 {
		missing(tb, "Postfix is started by root only: run the tests as root, in a container perhaps")
	}
	for range startTries {
		s := newPostfix(tb, cfg)
		master := filepath.Join(s.builtIn(tb, "daemon_directory"), "master")
		// -d: stay in the foreground. -e: end after so many seconds, should
		// everything else that ends it have failed.
		s.p = start(tb, exec.Command(master, "-c", s.etc(), "-d", "-e", "900"))
		if s.greets() {
			tb.Cleanup(func() {
				if tb.Failed() {
					tb.Logf("peertest: the end of Postfix's log:\n%s", tail(s.Log(), 4000))
				}
			})
			return s
		}
		s.p.end()
		if !strings.Contains(s.Log()+s.p.out.String(), "Address already in use") {
			tb.Fatalf("peertest: Postfix did not start: %s%s", s.p.out.String(), s.Log())
		}
	}
	tb.Fatalf("peertest: found no port for Postfix in %d tries", startTries)
	return nil
}

func (s *PostfixServer) etc() string   { return filepath.Join(s.Dir, "etc") }
func (s *PostfixServer) queue() string { return filepath.Join(s.Dir, "queue") }

// greets waits for the greeting: master accepts connections before smtpd runs.
func (s *PostfixServer) greets() bool {
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); {
		if conn, err := dial(s.Addr); err == nil {
			_ = conn.SetDeadline(deadline)
			line, _ := bufio.NewReader(conn).ReadString('\n')
			_, _ = conn.Write([]byte("QUIT\r\n"))
			conn.Close()
			if strings.HasPrefix(line, "220 ") {
				return true
			}
		}
		if !s.p.waits(pollTime) {
			return false
		}
	}
	return false
}

// Accepted returns how many messages Postfix has accepted. It is exact at any
// time, and after Kill: cleanup moves a message to the hold queue, complete and
// flushed, before smtpd replies to the end of data.
func (s *PostfixServer) Accepted() int {
	s.p.tb.Helper()
	return len(s.held())
}

// held returns the identifiers of the messages on hold.
func (s *PostfixServer) held() []string {
	s.p.tb.Helper()
	var ids []string
	err := filepath.WalkDir(filepath.Join(s.queue(), "hold"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		// A message that is not complete is not executable (mail_queue.h,
		// MAIL_QUEUE_STAT_READY): its sender has had no reply.
		if info.Mode()&0o100 != 0 {
			ids = append(ids, e.Name())
		}
		return nil
	})
	if err != nil {
		s.p.tb.Fatalf("peertest: counting Postfix's messages: %v", err)
	}
	return ids
}

// Envelopes returns what postcat says of the envelopes of all messages on hold:
// lines such as "sender: a@example.com".
func (s *PostfixServer) Envelopes() string {
	s.p.tb.Helper()
	out, err := run(s.p.tb, "postcat", "postfix", append([]string{"-c", s.etc(), "-e", "-q"}, s.held()...)...)
	if err != nil {
		s.p.tb.Fatalf("%v; it wrote:\n%s", err, out)
	}
	return out
}

// Log returns what Postfix has logged so far. Its lines come a little late.
func (s *PostfixServer) Log() string {
	log, err := os.ReadFile(filepath.Join(s.Dir, "mail.log"))
	if err != nil {
		return err.Error() + "\n"
	}
	return string(log)
}

// WaitLog waits until Postfix has logged text.
func (s *PostfixServer) WaitLog(text string) {
	s.p.tb.Helper()
	for deadline := time.Now().Add(startTime); !strings.Contains(s.Log(), text); {
		if time.Now().After(deadline) || !s.p.waits(pollTime) {
			s.p.tb.Fatalf("peertest: Postfix did not log %q; it logged:\n%s", text, tail(s.Log(), 4000))
		}
	}
}

// ClientTLSConfig returns a new configuration that trusts this Postfix.
func (s *PostfixServer) ClientTLSConfig() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.cert)
	return &tls.Config{RootCAs: roots}
}

// Pause stops all of Postfix's processes where they are: connections stay open
// and nothing answers. Resume lets them go on.
func (s *PostfixServer) Pause() { s.p.pause() }

// Resume ends a Pause.
func (s *PostfixServer) Resume() { s.p.resume() }

// Kill ends all of Postfix's processes at once, as a power cut would.
func (s *PostfixServer) Kill() { s.p.kill() }

// Stop ends Postfix as its administrator would.
func (s *PostfixServer) Stop() { s.p.end() }

// builtIn returns the built-in default of a parameter.
func (s *PostfixServer) builtIn(tb testing.TB, parameter string) string {
	tb.Helper()
	// Our own folder, as a machine whose Postfix was never configured has none
	// and postconf complains.
	out, err := run(tb, "postconf", "postfix", "-c", s.etc(), "-d", "-h", parameter)
	if err != nil {
		tb.Fatalf("%v; it wrote:\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// tail returns the last lines of text, n octets at the most.
func tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	text = text[len(text)-n:]
	return fmt.Sprintf("...%s", text[strings.IndexByte(text, '\n')+1:])
}
