package smtptest_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/peertest"
	"github.com/benchmail/benchmail/smtptest"
)

// This file has clients that others wrote deliver mail to our server, which has
// to have every octet of it.

// peerServer starts a server for a peer.
func peerServer(t *testing.T, change func(*smtptest.Server)) *smtptest.Server {
	t.Helper()
	srv := smtptest.NewUnstartedServer(t)
	if change != nil {
		change(srv)
	}
	srv.Start()
	return srv
}

// unixAddr is an address for a unix socket that peers may connect to.
func unixAddr(t *testing.T) string { return "unix:" + filepath.Join(peertest.PublicDir(t), "s") }

// wait waits for n messages.
func wait(t *testing.T, srv *smtptest.Server, n int) []*smtptest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	messages, err := srv.Wait(ctx, n)
	require.NoError(t, err)
	require.Len(t, messages, n)
	return messages
}

// write writes a file that peers may read.
func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(peertest.PublicDir(t), "message")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	return file
}

// trickyBody has what dot-stuffing and line ends are about. Lines end in LF, as
// files' do; clients make it CRLF.
var trickyBody = ".\n..\n.a\na.\n\n.\n\n250 Ok\nQUIT\n" + strings.Repeat("x", 990) + "\n." + strings.Repeat(".", 900) + "\n\xe4\xff\n\n"

// sameData compares octets, and shows those around the first that differ.
func sameData(t *testing.T, want, got string) {
	t.Helper()
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	if i == len(want) && i == len(got) {
		return
	}
	around := func(s string) string { return s[min(len(s), max(0, i-20)):min(len(s), i+20)] }
	t.Errorf("mail data differs from octet %d on: %d octets with %q, sent were %d with %q", i, len(got), around(got), len(want), around(want))
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestPeersSMTPSource(t *testing.T) {
	message := "Subject: from a file\n\n" + trickyBody
	for _, tt := range []struct {
		name   string
		server func(*smtptest.Server)
		args   []string
		count  int
		to     int // recipients
		proto  string
		data   func(t *testing.T, data string)
	}{
		{name: "default", count: 1, to: 1, proto: "SMTP", data: func(t *testing.T, data string) {
			assert.Contains(t, data, "\r\nLa de da de da 4.\r\n")
		}},
		{name: "sessions", args: []string{"-s", "5", "-m", "40"}, count: 40, to: 1, proto: "SMTP"},
		{name: "reuse", args: []string{"-s", "5", "-m", "40", "-d"}, count: 40, to: 1, proto: "SMTP"},
		{name: "recipients", args: []string{"-r", "7", "-m", "3", "-d"}, count: 3, to: 7, proto: "SMTP"},
		{name: "length", args: []string{"-l", "100000", "-m", "4", "-s", "2", "-d"}, count: 4, to: 1, proto: "SMTP", data: func(t *testing.T, data string) {
			_, body, _ := strings.Cut(data, "\r\n\r\n")
			assert.Len(t, body, 100000+2, "smtp-source adds a CRLF")
			assert.Empty(t, strings.Trim(body, "X0123456789\r\n"))
		}},
		{name: "file", args: []string{"-F", "FILE", "-m", "6", "-s", "2", "-d"}, count: 6, to: 1, proto: "SMTP", data: func(t *testing.T, data string) {
			sameData(t, crlf(message)+"\r\n", data) // smtp-source adds a CRLF
		}},
		{name: "lmtp", server: func(s *smtptest.Server) { s.LMTP = true }, args: []string{"-L", "-r", "3", "-m", "10", "-s", "3", "-d", "-F", "FILE"}, count: 10, to: 3, proto: "LMTP", data: func(t *testing.T, data string) {
			sameData(t, crlf(message)+"\r\n", data) // smtp-source adds a CRLF
		}},
		{name: "unix socket", server: func(s *smtptest.Server) { s.Addr = unixAddr(t) }, args: []string{"-m", "10", "-s", "3"}, count: 10, to: 1, proto: "SMTP"},
		{name: "lmtp on a unix socket", server: func(s *smtptest.Server) { s.LMTP, s.Addr = true, unixAddr(t) }, args: []string{"-L", "-m", "10", "-s", "3", "-d"}, count: 10, to: 1, proto: "LMTP"},
		{name: "ipv6", server: func(s *smtptest.Server) { s.Addr = "[::1]:0" }, args: []string{"-m", "2"}, count: 2, to: 1, proto: "SMTP"},
		{name: "null reverse-path", args: []string{"-f", ""}, count: 1, to: 1, proto: "SMTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "ipv6" {
				needIPv6(t)
			}
			srv := peerServer(t, tt.server)
			var args []string
			for _, arg := range tt.args {
				if arg == "FILE" {
					arg = write(t, message)
				}
				args = append(args, arg)
			}
			addr := srv.Addr
			if !strings.HasPrefix(addr, "unix:") {
				addr = "inet:" + addr
			}
			peertest.Source(t, append(args, addr)...)
			for _, m := range wait(t, srv, tt.count) {
				assert.Len(t, m.To, tt.to)
				assert.Equal(t, tt.proto, m.Protocol)
				if tt.data != nil {
					tt.data(t, string(m.Data))
				}
				if tt.name == "null reverse-path" {
					assert.Empty(t, m.From)
				}
			}
			assert.EqualValues(t, tt.count*tt.to, srv.Stats().Recipients)
		})
	}
}

func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	l.Close()
}

func TestPeersSwaks(t *testing.T) {
	// swaks adds a line end.
	message := "Subject: from swaks\nTo: to@example.com\n\n" + trickyBody
	auth := func(s *smtptest.Server) { s.Users = map[string]string{"user": "secret"}; s.RequireAuth = true }
	for _, tt := range []struct {
		name   string
		server func(*smtptest.Server)
		tls    bool // from the first octet
		args   []string
		proto  string
		user   string
	}{
		{name: "plaintext", proto: "ESMTP"},
		{name: "starttls", args: []string{"--tls", "--tls-verify", "--tls-ca-path", "CA"}, proto: "ESMTPS", server: func(s *smtptest.Server) { s.RequireTLS = true }},
		{name: "implicit tls", tls: true, args: []string{"--tls-on-connect", "--tls-verify", "--tls-ca-path", "CA"}, proto: "ESMTPS"},
		{name: "auth plain", args: []string{"--tls", "--auth", "PLAIN", "--auth-user", "user", "--auth-password", "secret"}, proto: "ESMTPSA", user: "user", server: auth},
		{name: "auth login", args: []string{"--tls", "--auth", "LOGIN", "--auth-user", "user", "--auth-password", "secret"}, proto: "ESMTPSA", user: "user", server: auth},
		{name: "pipelining", args: []string{"--pipeline"}, proto: "ESMTP"},
		{name: "helo", args: []string{"--protocol", "SMTP"}, proto: "SMTP", server: func(s *smtptest.Server) { s.HELOOnly = true }},
		{name: "lmtp", args: []string{"--protocol", "LMTP"}, proto: "LMTP", server: func(s *smtptest.Server) { s.LMTP = true }},
		{name: "lmtp on a unix socket", args: []string{"--protocol", "LMTP"}, proto: "LMTP", server: func(s *smtptest.Server) { s.LMTP, s.Addr = true, unixAddr(t) }},
		{name: "unix socket", proto: "ESMTP", server: func(s *smtptest.Server) { s.Addr = unixAddr(t) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			if tt.server != nil {
				tt.server(srv)
			}
			if tt.tls {
				srv.StartImplicitTLS()
			} else {
				srv.Start()
			}
			args := []string{
				"--helo", "swaks.example.com", "--from", "from@example.com", "--to", "to@example.com,second@example.com",
				"--data", "@" + write(t, message),
			}
			if path, ok := strings.CutPrefix(srv.Addr, "unix:"); ok {
				args = append(args, "--socket", path)
			} else {
				host, port, err := net.SplitHostPort(srv.Addr)
				require.NoError(t, err)
				args = append(args, "--server", host, "--port", port)
			}
			for _, arg := range tt.args {
				if arg == "CA" {
					arg = write(t, string(srv.CertificatePEM()))
				}
				args = append(args, arg)
			}
			transcript := peertest.Swaks(t, args...)
			m := wait(t, srv, 1)[0]
			assert.Equal(t, "from@example.com", m.From)
			assert.Equal(t, []string{"to@example.com", "second@example.com"}, m.To)
			assert.Equal(t, tt.proto, m.Protocol)
			assert.Equal(t, "swaks.example.com", m.Hello)
			assert.Equal(t, tt.user, m.User)
			assert.Equal(t, strings.HasPrefix(tt.proto, "ESMTPS"), m.TLS != nil)
			sameData(t, crlf(message)+"\r\n", string(m.Data))
			if t.Failed() {
				t.Log(transcript)
			}
		})
	}
}

// TestPeersNetSMTP uses the client of the standard library.
func TestPeersNetSMTP(t *testing.T) {
	srv := peerServer(t, func(s *smtptest.Server) { s.Users = map[string]string{"user": "secret"}; s.RequireTLS = true })
	c, err := smtp.Dial(srv.Addr)
	require.NoError(t, err)
	defer c.Close()
	config := srv.ClientTLSConfig()
	config.ServerName = "localhost"
	require.NoError(t, c.StartTLS(config))
	require.NoError(t, c.Auth(smtp.PlainAuth("", "user", "secret", "127.0.0.1")))
	for i := range 3 { // one session
		require.NoError(t, c.Mail(fmt.Sprintf("from%d@example.com", i)))
		require.NoError(t, c.Rcpt("to@example.com"))
		w, err := c.Data()
		require.NoError(t, err)
		_, err = w.Write([]byte(trickyBody))
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	require.NoError(t, c.Quit())
	for i, m := range wait(t, srv, 3) {
		assert.Equal(t, fmt.Sprintf("from%d@example.com", i), m.From)
		sameData(t, crlf(trickyBody), string(m.Data))
		assert.Equal(t, "UTF8SMTPSA", m.Protocol) // net/smtp asks for SMTPUTF8 where it is offered
		assert.EqualValues(t, i+1, m.Sequence)
	}
}

// TestPeersPostfixClient has Postfix's own SMTP and LMTP clients deliver to our
// server: they pipeline, verify the certificate, and split recipients.
func TestPeersPostfixClient(t *testing.T) {
	const messages = 20
	message := "Subject: relayed\nTo: to@example.com\n\n" + trickyBody
	for _, tt := range []struct {
		name      string
		server    func(*smtptest.Server)
		tls       bool // from the first octet
		transport string
		main      map[string]string
		proto     string
	}{
		{name: "starttls", transport: "smtp:", proto: "ESMTPS", server: func(s *smtptest.Server) { s.RequireTLS = true },
			main: map[string]string{"smtp_tls_security_level": "secure", "smtp_tls_CAfile": "CA", "smtp_tls_secure_cert_match": "localhost"}},
		{name: "implicit tls", tls: true, transport: "smtp:", proto: "ESMTPS",
			main: map[string]string{"smtp_tls_security_level": "secure", "smtp_tls_wrappermode": "yes", "smtp_tls_CAfile": "CA", "smtp_tls_secure_cert_match": "localhost"}},
		{name: "plaintext", transport: "smtp:", proto: "ESMTP", main: map[string]string{"smtp_tls_security_level": "none"}},
		{name: "no pipelining", transport: "smtp:", proto: "ESMTP", server: func(s *smtptest.Server) { s.Hide = []string{"PIPELINING"} }},
		{name: "helo", transport: "smtp:", proto: "SMTP", server: func(s *smtptest.Server) { s.HELOOnly = true },
			main: map[string]string{"disable_mime_output_conversion": "yes"}}, // 8 bits as they are
		{name: "lmtp", transport: "lmtp:inet:", proto: "LMTP", server: func(s *smtptest.Server) { s.LMTP = true }},
		{name: "lmtp on a unix socket", transport: "lmtp:", proto: "LMTP", server: func(s *smtptest.Server) { s.LMTP, s.Addr = true, unixAddr(t) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			if tt.server != nil {
				tt.server(srv)
			}
			if tt.tls {
				srv.StartImplicitTLS()
			} else {
				srv.Start()
			}
			cfg := peertest.PostfixConfig{Relay: tt.transport + srv.Addr, Main: map[string]string{}}
			if path, ok := strings.CutPrefix(srv.Addr, "unix:"); ok {
				require.NoError(t, os.Chmod(path, 0o666)) // Postfix's clients are another user
			} else {
				host, port, err := net.SplitHostPort(srv.Addr)
				require.NoError(t, err)
				cfg.Relay = tt.transport + "[" + host + "]:" + port
			}
			for name, value := range tt.main {
				if value == "CA" {
					value = write(t, string(srv.CertificatePEM()))
				}
				cfg.Main[name] = value
			}
			p := peertest.Postfix(t, cfg)
			peertest.Source(t, "-m", fmt.Sprint(messages), "-s", "2", "-d", "-r", "3", "-F", write(t, message), p.Addr)
			got := wait(t, srv, messages)
			for _, m := range got {
				assert.Equal(t, tt.proto, m.Protocol)
				assert.Len(t, m.To, 3)
				_, body, _ := bytes.Cut(m.Data, []byte("\r\n\r\n")) // Postfix adds to the header
				sameData(t, crlf(trickyBody)+"\r\n", string(body))
			}
		})
	}
}
