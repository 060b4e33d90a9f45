package smtptest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/testcert"
	"github.com/benchmail/benchmail/smtptest"
)

func TestStartTLS(t *testing.T) {
	required := func(s *smtptest.Server) { s.RequireTLS = true }
	runDialogs(t, []dialogTest{
		{name: "state", why: "RFC 3207 §4.2: all that was said before is discarded", dialog: starttls + "C MAIL FROM:<a@b>\nS 503 5.5.1\nC NOOP\nS 250\n" + envelope + data + "C .\nS 250\n" + quit, messages: 1},
		{name: "transaction", why: "is state too", dialog: envelope + "C STARTTLS\nS 220\nTLS\nC RCPT TO:<a@b>\nS 503\nC DATA\nS 503\n" + hello + "C DATA\nS 503\n"},
		{name: "twice", why: "503; not offered any more", dialog: starttls + hello + "C STARTTLS\nS 503 5.5.1\n"},
		{name: "with a parameter", why: "RFC 3207 §4: 501", dialog: hello + "C STARTTLS now\nS 501 5.5.4\n"},
		{name: "before EHLO", why: "nothing was offered", dialog: "C STARTTLS\nS 503\n"},
		{name: "plaintext behind it", why: "CVE-2011-0411: not carried out, before or after the handshake", dialog: hello + "C+ STARTTLS\\r\\nRSET\\r\\n\nS 554 5.5.0\nEOF"},
		{name: "one octet behind it", why: "the same", dialog: hello + "C+ STARTTLS\\r\\n\\x16\nS 554 5.5.0\nEOF"},
		{name: "required", why: "RFC 3207 §4: 530 to all but NOOP, EHLO, STARTTLS and QUIT", setup: required, dialog: hello + "C MAIL FROM:<a@b>\nS 530 5.7.0\nC RSET\nS 530\nC VRFY x\nS 530\nC BDAT 6 LAST\nC QUIT\nS 530\nC NOOP\nS 250\nC STARTTLS\nS 220\nTLS\n" + hello + mail},
	})
}

// What arrives in plaintext after the 220 is not taken for commands either.
func TestStartTLSPlaintextLater(t *testing.T) {
	srv := smtptest.NewServer(t)
	conn := dialTest(t, srv)
	(hello + "C STARTTLS\nS 220\nC MAIL FROM:<a@b>\n").run(t, srv, conn)
	got, err := io.ReadAll(conn)
	require.True(t, err == nil || isClosed(err), "%v", err)
	require.NotContains(t, string(got), "250")
	require.Zero(t, srv.Stats().Commands["MAIL"])
}

func TestImplicitTLS(t *testing.T) {
	srv := smtptest.NewUnstartedServer(t)
	srv.StartImplicitTLS()
	dialog("TLS\nS 220\n"+hello+"C STARTTLS\nS 503\n"+mail+rcpt+data+"C .\nS 250\n"+quit).run(t, srv, dialTest(t, srv))
	require.NotNil(t, srv.Messages()[0].TLS)
	require.Equal(t, "ESMTPS", srv.Messages()[0].Protocol)
}

// Sessions are resumed, and counted as such, in TLS 1.2 and 1.3.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			srv.StartImplicitTLS()
			config := srv.ClientTLSConfig()
			config.MinVersion, config.MaxVersion = version, version
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for range 3 {
				conn := tls.Client(dialTest(t, srv), config)
				_, err := conn.Read(make([]byte, 100)) // the ticket comes before the greeting
				require.NoError(t, err)
				conn.Close()
			}
			st := srv.Stats()
			require.EqualValues(t, 3, st.TLSHandshakes)
			require.EqualValues(t, 2, st.TLSResumed)
		})
	}
}

// The client's configuration verifies the server wherever it listens, and one
// that trusts something else does not.
func TestCertificate(t *testing.T) {
	own, err := testcert.Default().Issue(testcert.Options{Hosts: []string{"own.example"}})
	require.NoError(t, err)
	for _, tt := range []struct {
		name  string
		setup func(*smtptest.Server)
	}{
		{"IPv4", func(s *smtptest.Server) {}},
		{"IPv6", func(s *smtptest.Server) { s.Addr = "[::1]:0" }},
		{"another loopback address", func(s *smtptest.Server) { s.Addr = "127.0.0.9:0" }},
		{"unix", func(s *smtptest.Server) { s.Addr = "unix:" + t.TempDir() + "/s" }},
		{"own name", func(s *smtptest.Server) { s.Hostname = "mx.example" }},
		{"own certificate", func(s *smtptest.Server) { s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{own}} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			tt.setup(srv)
			srv.StartImplicitTLS()
			dialog("TLS\nS 220\n"+hello+quit).run(t, srv, dialTest(t, srv))

			roots := x509.NewCertPool()
			require.True(t, roots.AppendCertsFromPEM(srv.CertificatePEM()))
			conn := tls.Client(dialTest(t, srv), &tls.Config{RootCAs: roots, ServerName: srv.ClientTLSConfig().ServerName})
			require.NoError(t, conn.Handshake(), "with CertificatePEM")

			other, err := testcert.New()
			require.NoError(t, err)
			conn = tls.Client(dialTest(t, srv), &tls.Config{RootCAs: other.Pool(), ServerName: "localhost"})
			require.Error(t, conn.Handshake(), "with the roots of somebody else")
		})
	}
}

// Dialer's sessions reach every kind of server.
func TestDialer(t *testing.T) {
	auth := func(s *smtptest.Server) {
		s.Users, s.RequireAuth = map[string]string{"ann": "secret"}, true
	}
	for _, tt := range []struct {
		name  string
		setup func(*smtptest.Server)
		start func(*smtptest.Server)
		tls   int64
	}{
		{"STARTTLS", func(s *smtptest.Server) {}, (*smtptest.Server).Start, 1},
		{"implicit TLS", func(s *smtptest.Server) {}, (*smtptest.Server).StartImplicitTLS, 1},
		{"plaintext", func(s *smtptest.Server) { s.NoSTARTTLS = true }, (*smtptest.Server).Start, 0},
		{"hidden STARTTLS", func(s *smtptest.Server) { s.Hide = []string{"STARTTLS"} }, (*smtptest.Server).Start, 0},
		{"LMTP", func(s *smtptest.Server) { s.LMTP = true }, (*smtptest.Server).Start, 1},
		{"unix", func(s *smtptest.Server) { s.Addr = "unix:" + t.TempDir() + "/s" }, (*smtptest.Server).Start, 1},
		{"IPv6", func(s *smtptest.Server) { s.Addr = "[::1]:0" }, (*smtptest.Server).Start, 1},
		{"all addresses", func(s *smtptest.Server) { s.Addr = ":0" }, (*smtptest.Server).Start, 1},
		{"AUTH", auth, (*smtptest.Server).Start, 1},
		{"AUTH LOGIN", func(s *smtptest.Server) { auth(s); s.Mechanisms = []string{"LOGIN"} }, (*smtptest.Server).Start, 1},
		{"AUTH OAUTHBEARER", func(s *smtptest.Server) { auth(s); s.Mechanisms = []string{"OAUTHBEARER"} }, (*smtptest.Server).Start, 1},
		{"HELO only", func(s *smtptest.Server) { s.HELOOnly = true }, (*smtptest.Server).Start, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			tt.setup(srv)
			tt.start(srv)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			session, err := srv.Dialer().Dial(ctx)
			require.NoError(t, err)
			_ = session.Close() // the server may have closed first
			require.Equal(t, tt.tls, srv.Stats().TLSHandshakes)
			require.EqualValues(t, 1, srv.Stats().Sessions)
		})
	}
}

func TestUnixSocketIsRemoved(t *testing.T) {
	path := t.TempDir() + "/s"
	srv := smtptest.NewUnstartedServer(t)
	srv.Addr = "unix:" + path
	srv.Start()
	require.Equal(t, "unix:"+path, srv.Addr)
	dialog(envelope+data+"C .\nS 250\n"+quit).run(t, srv, dialTest(t, srv))
	srv.Close()
	require.NoFileExists(t, path)
	_, err := net.Dial("unix", path)
	require.Error(t, err)
}
