package peertest_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/peertest"
)

// send delivers a message with net/smtp, which shares no code with this module.
func send(t *testing.T, addr string, config *tls.Config, to string) error {
	t.Helper()
	c, err := smtp.Dial(addr)
	require.NoError(t, err)
	defer c.Close()
	if config != nil {
		config.ServerName = "localhost"
		require.NoError(t, c.StartTLS(config))
	}
	require.NoError(t, c.Mail("sender@example.com"))
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	require.NoError(t, err)
	fmt.Fprintf(w, "Subject: test\r\n\r\n.dot\r\n")
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

func TestSMTPSink(t *testing.T) {
	t.Run("counts", func(t *testing.T) {
		s := peertest.SMTPSink(t)
		for range 3 {
			require.NoError(t, send(t, s.Addr, nil, "rcpt@example.com"))
		}
		assert.Equal(t, 3, s.Stop())
		_, err := net.Dial("tcp", s.Addr)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED, "Stop has to end the program")
	})
	t.Run("unix socket and smtp-source", func(t *testing.T) {
		s := peertest.SMTPSinkUnix(t, "-L")
		peertest.Source(t, "-L", "-m", "5", "-s", "2", s.Addr)
		assert.Equal(t, 5, s.Stop())
	})
	t.Run("faults", func(t *testing.T) {
		s := peertest.SMTPSink(t, "-f", "RCPT")
		assert.ErrorContains(t, send(t, s.Addr, nil, "rcpt@example.com"), "500")
		assert.Equal(t, 0, s.Stop())
	})
	t.Run("dump", func(t *testing.T) {
		dir := peertest.PublicDir(t)
		s := peertest.SMTPSink(t, "-d", filepath.Join(dir, "mail."))
		require.NoError(t, send(t, s.Addr, nil, "rcpt@example.com"))
		s.Stop()
		files, err := filepath.Glob(filepath.Join(dir, "mail.*"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		dump, err := os.ReadFile(files[0])
		require.NoError(t, err)
		assert.Contains(t, string(dump), "X-Mail-Args: <sender@example.com>")
		assert.Contains(t, string(dump), "\n.dot\n")
	})
}

func TestPostfix(t *testing.T) {
	s := peertest.Postfix(t, peertest.PostfixConfig{Main: map[string]string{
		"smtpd_recipient_restrictions": "check_recipient_access inline:{{refused@example.com = REJECT}}, permit",
	}})
	assert.Equal(t, 0, s.Accepted())
	require.NoError(t, send(t, s.Addr, nil, "plain@example.com"))
	require.NoError(t, send(t, s.Addr, s.ClientTLSConfig(), "starttls@example.com"))
	assert.Equal(t, 2, s.Accepted())
	assert.ErrorContains(t, send(t, s.Addr, nil, "refused@example.com"), "5.7.1 <refused@example.com>")
	assert.Equal(t, 2, s.Accepted())

	conf := s.ClientTLSConfig()
	conf.ServerName = "localhost"
	conn, err := tls.Dial("tcp", s.ImplicitTLSAddr, conf)
	require.NoError(t, err)
	require.NoError(t, conn.Close())

	envelopes := s.Envelopes()
	for _, want := range []string{"sender: sender@example.com\n", "recipient: plain@example.com\n", "recipient: starttls@example.com\n"} {
		assert.Contains(t, envelopes, want)
	}

	s.Kill()
	assert.Equal(t, 2, s.Accepted(), "the count has to outlive Postfix")
	for _, addr := range []string{s.Addr, s.ImplicitTLSAddr} {
		_, err = net.Dial("tcp", addr)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED, "Kill has to end smtpd too")
	}
}

// TestPostfixRelay has one Postfix deliver to another, which counts.
func TestPostfixRelay(t *testing.T) {
	sink := peertest.SMTPSink(t)
	s := peertest.Postfix(t, peertest.PostfixConfig{Relay: "smtp:[127.0.0.1]:" + port(t, sink.Addr)})
	require.NoError(t, send(t, s.Addr, nil, "rcpt@example.com"))
	s.WaitLog("status=sent")
	assert.Equal(t, 1, sink.Stop())
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return port
}

// TestCleanup: what was started ends with the test, and what was made is gone.
func TestCleanup(t *testing.T) {
	var dir, addr string
	t.Run("started", func(t *testing.T) {
		s := peertest.Postfix(t, peertest.PostfixConfig{Discard: true})
		require.NoError(t, send(t, s.Addr, nil, "rcpt@example.com"))
		dir, addr = s.Dir, s.Addr
	})
	if dir == "" {
		t.Skip("Postfix did not run")
	}
	assert.NoDirExists(t, dir)
	_, err := net.Dial("tcp", addr)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range processes {
		cmdline, _ := os.ReadFile(file) // it may have ended meanwhile
		assert.NotContains(t, string(cmdline), dir)
	}
}

// recorder is a testing.TB that notes how a helper ended the test.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}
func (r *recorder) Skipf(format string, a ...any) {
	r.skipped = fmt.Sprintf(format, a...)
	runtime.Goexit()
}
func (r *recorder) Fatalf(format string, a ...any) {
	r.failed = fmt.Sprintf(format, a...)
	runtime.Goexit()
}

func TestMissing(t *testing.T) {
	for _, tt := range []struct {
		name, require   string
		skipped, failed string
	}{
		{name: "a developer's machine", require: "", skipped: "apt-get install postfix"},
		{name: "CI", require: "1", failed: "apt-get install postfix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS != "linux" {
				t.Skip("no peers are run")
			}
			t.Setenv("BENCHMAIL_REQUIRE_PEERS", tt.require)
			r := &recorder{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				peertest.Missing(r)
			}()
			<-done
			if tt.skipped == "" {
				assert.Empty(t, r.skipped)
			}
			if tt.failed == "" {
				assert.Empty(t, r.failed)
			}
			assert.Contains(t, r.skipped, tt.skipped)
			assert.Contains(t, strings.ReplaceAll(r.failed, "\n", " "), tt.failed)
		})
	}
}
