package smtptest_test

import (
	"encoding/base64"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

// ehloLines returns what the server announces.
func ehloLines(t *testing.T, srv *smtptest.Server, conn net.Conn) []string {
	verb := "EHLO"
	if srv.LMTP {
		verb = "LHLO"
	}
	_, err := conn.Write([]byte(verb + " client.example\r\n"))
	require.NoError(t, err)
	code, lines := readLines(t, conn)
	require.Equal(t, 250, code)
	return lines
}

func TestAnnounced(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		setup     func(*smtptest.Server)
		want      string
	}{
		{"all", "the default", func(s *smtptest.Server) {}, "localhost|PIPELINING|SIZE 0|STARTTLS|ENHANCEDSTATUSCODES|8BITMIME|DSN|SMTPUTF8|CHUNKING|BINARYMIME|HELP"},
		{"LMTP", "the same", func(s *smtptest.Server) { s.LMTP, s.Hostname = true, "mx.example" }, "mx.example|PIPELINING|SIZE 0|STARTTLS|ENHANCEDSTATUSCODES|8BITMIME|DSN|SMTPUTF8|CHUNKING|BINARYMIME|HELP"},
		{"limits", "RFC 1870 §4, RFC 9422", func(s *smtptest.Server) { s.MaxSize, s.MaxRecipients, s.MaxMessages = 1000, 3, 2 }, "localhost|PIPELINING|SIZE 1000|STARTTLS|ENHANCEDSTATUSCODES|8BITMIME|DSN|SMTPUTF8|CHUNKING|BINARYMIME|LIMITS MAILMAX=2 RCPTMAX=3|HELP"},
		{"hidden", "and what cannot be without them", func(s *smtptest.Server) {
			s.Hide = []string{"8bitmime", "CHUNKING", "SIZE", "PIPELINING", "DSN", "STARTTLS", "HELP"}
		}, "localhost|ENHANCEDSTATUSCODES"},
		{"more", "as they are", func(s *smtptest.Server) {
			s.NoSTARTTLS, s.Announce = true, []string{"XFOO 1 2", "FUTURERELEASE 1 x"}
		}, "localhost|PIPELINING|SIZE 0|ENHANCEDSTATUSCODES|8BITMIME|DSN|SMTPUTF8|CHUNKING|BINARYMIME|HELP|XFOO 1 2|FUTURERELEASE 1 x"},
		{"AUTH before TLS", "nothing that sends the password", func(s *smtptest.Server) { s.Users = map[string]string{} }, "localhost|PIPELINING|SIZE 0|STARTTLS|AUTH CRAM-MD5|ENHANCEDSTATUSCODES|8BITMIME|DSN|SMTPUTF8|CHUNKING|BINARYMIME|HELP"},
		{"AUTH before TLS allowed", "those chosen", func(s *smtptest.Server) {
			s.Users, s.AllowInsecureAuth, s.Mechanisms, s.XClient = map[string]string{}, true, []string{"PLAIN", "LOGIN"}, true
		}, "localhost|PIPELINING|SIZE 0|STARTTLS|AUTH PLAIN LOGIN|ENHANCEDSTATUSCODES|8BITMIME|DSN|SMTPUTF8|CHUNKING|BINARYMIME|XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT|HELP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			tt.setup(srv)
			srv.Start()
			conn := dialTest(t, srv)
			readLines(t, conn)
			require.Equal(t, tt.want, strings.Join(ehloLines(t, srv, conn), "|"), tt.why)
		})
	}
}

func TestHidden(t *testing.T) {
	hide := func(keywords ...string) func(*smtptest.Server) {
		return func(s *smtptest.Server) { s.Hide = keywords }
	}
	runDialogs(t, []dialogTest{
		{name: "PIPELINING", why: "a client that does not wait is caught", setup: hide("PIPELINING"), dialog: hello + "C+ MAIL FROM:<a@b>\\r\\nRCPT TO:<c@d>\\r\\n\nS 250\nS 554 5.5.0\nEOF"},
		{name: "PIPELINING, data too early", why: "behind DATA too", setup: hide("PIPELINING"), dialog: envelope + "C+ DATA\\r\\nx\nS 554 5.5.0\nEOF"},
		{name: "PIPELINING, behind the data", why: "and behind the end of data", setup: hide("PIPELINING"), dialog: envelope + data + "C+ .\\r\\nRSET\\r\\n\nS 250\nS 554\nEOF", messages: 1},
		{name: "PIPELINING, a chunk", why: "belongs to its command: RFC 3030 has no reply between", setup: hide("PIPELINING"), dialog: envelope + "C+ BDAT 3 LAST\\r\\nabc\nS 250\n" + quit, messages: 1},
		{name: "parameters", why: "not recognized then", setup: hide("SIZE", "8BITMIME", "DSN"), dialog: hello + "C MAIL FROM:<a@b> SIZE=1\nS 555\nC MAIL FROM:<a@b> BODY=7BIT\nS 555\nC MAIL FROM:<a@b> RET=HDRS\nS 555\nC MAIL FROM:<a@b> SMTPUTF8\nS 555\n" + mail + "C RCPT TO:<a@b> NOTIFY=NEVER\nS 555\n"},
		{name: "ENHANCEDSTATUSCODES", why: "replies without them", setup: hide("ENHANCEDSTATUSCODES"), dialog: hello + "C MAIL FROM:<a@b>\nS 250 Ok\nC FOO\nS 500 Command\n"},
		{name: "STARTTLS", why: "RFC 5321 §4.2.4: 502", setup: hide("STARTTLS"), dialog: hello + "C STARTTLS\nS 502 5.5.1\n"},
		{name: "STARTTLS by its field", why: "the same", setup: func(s *smtptest.Server) { s.NoSTARTTLS = true }, dialog: hello + "C STARTTLS\nS 502 5.5.1\n"},
		{name: "AUTH", why: "not offered without Users", dialog: hello + "C AUTH PLAIN\nS 502 5.5.1\n"},
		{name: "XCLIENT", why: "not offered unless enabled", dialog: hello + "C XCLIENT NAME=x\nS 502 5.5.1\n"},
		{name: "HELOOnly", why: "smtp-sink -E: a server without extensions", setup: func(s *smtptest.Server) { s.HELOOnly = true }, dialog: "C EHLO x\nS 502\nC HELO x\nS 250\nC MAIL FROM:<a@b> SIZE=1\nS 555\nC STARTTLS\nS 502\nC MAIL FROM:<a@b>\nS 250 Ok\nC RCPT TO:<b@c>\nS 250\n" + data + "C .\nS 250\nC BDAT 0 LAST\nS 502\n", messages: 1},
	})
}

func TestLimits(t *testing.T) {
	limits := func(s *smtptest.Server) { s.MaxRecipients, s.MaxMessages = 2, 2 }
	runDialogs(t, []dialogTest{
		{name: "recipients", why: "452: the accepted ones stand (RFC 5321 §4.5.3.1.10)", setup: limits, dialog: envelope + rcpt + "C RCPT TO:<c@d>\nS 452 4.5.3\n" + data + "C .\nS 250\n" + mail + rcpt, messages: 1},
		{name: "refused recipients", why: "RFC 9422 §4.2: they count", setup: limits, dialog: hello + mail + "C RCPT TO:<>\nS 501\n" + rcpt + "C RCPT TO:<c@d>\nS 452\n"},
		{name: "messages", why: "421 and the end", setup: limits, dialog: envelope + data + "C .\nS 250\n" + mail + rcpt + data + "C .\nS 250\nC MAIL FROM:<a@b>\nS 421 4.7.0\nEOF", messages: 2},
		{name: "421 and more behind", why: "nothing of it is carried out", setup: limits, dialog: envelope + data + "C .\nS 250\n" + mail + "C RSET\nS 250\nC+ MAIL FROM:<a@b>\\r\\nNOOP\\r\\n\nS 421\nEOF", messages: 1},
	})
}

func TestMaxSessions(t *testing.T) {
	srv := smtptest.NewUnstartedServer(t)
	srv.MaxSessions = 1
	srv.Start()
	first := dialTest(t, srv)
	dialog(hello).run(t, srv, first)
	dialog("S 421 4.7.0\nEOF").run(t, srv, dialTest(t, srv))
	dialog("S 421 4.7.0\nEOF").run(t, srv, dialTest(t, srv))
	dialog("C QUIT\nS 221\nEOF").run(t, srv, &greeted{Conn: first})
	dialog(hello+quit).run(t, srv, dialTest(t, srv))
}

// greeted plays a greeting that was read already.
type greeted struct {
	net.Conn
	done bool
}

func (g *greeted) Read(b []byte) (int, error) {
	if !g.done {
		g.done = true
		return copy(b, "220 again\r\n"), nil
	}
	return g.Conn.Read(b)
}

func b64(s string) dialog { return dialog(base64.StdEncoding.EncodeToString([]byte(s))) }

func TestAuth(t *testing.T) {
	users := func(s *smtptest.Server) { s.Users = map[string]string{"ann": "secret"} }
	insecure := func(s *smtptest.Server) { users(s); s.AllowInsecureAuth = true }
	required := func(s *smtptest.Server) { insecure(s); s.RequireAuth = true }
	good := "AUTH PLAIN " + b64("\x00ann\x00secret")
	long := dialog(strings.Repeat("QUJD", 12284/4)) // the longest line
	runDialogs(t, []dialogTest{
		{name: "PLAIN", why: "RFC 4616, with an initial response", setup: insecure, dialog: hello + "C " + good + "\nS 235 2.7.0\n"},
		{name: "PLAIN without initial response", why: "RFC 4954 §4: an empty challenge", setup: insecure, dialog: hello + "C AUTH plain\nS 334 \nC " + b64("ann\x00ann\x00secret") + "\nS 235\n"},
		{name: "PLAIN refused", why: "535 5.7.8; another try is allowed", setup: insecure, dialog: hello + "C AUTH PLAIN " + b64("\x00ann\x00wrong") + "\nS 535 5.7.8\nC AUTH PLAIN " + b64("\x00bob\x00") + "\nS 535\nC AUTH PLAIN " + b64("bob\x00ann\x00secret") + "\nS 535\nC " + good + "\nS 235\n"},
		{name: "PLAIN malformed", why: "501", setup: insecure, dialog: hello + "C AUTH PLAIN " + b64("ann") + "\nS 501 5.5.2\nC AUTH PLAIN !\nS 501 5.5.2\nC AUTH PLAIN =\nS 501\nC AUTH PLAIN\nS 334\nC !\nS 501 5.5.2\nC NOOP\nS 250\n"},
		{name: "LOGIN", why: "two challenges", setup: insecure, dialog: hello + "C AUTH LOGIN\nS 334 " + b64("Username:") + "\nC " + b64("ann") + "\nS 334 " + b64("Password:") + "\nC " + b64("secret") + "\nS 235\n"},
		{name: "LOGIN with the name at once", why: "many clients do", setup: insecure, dialog: hello + "C AUTH LOGIN " + b64("ann") + "\nS 334 " + b64("Password:") + "\nC " + b64("wrong") + "\nS 535\n"},
		{name: "CRAM-MD5 malformed", why: "the server begins", setup: users, dialog: hello + "C AUTH CRAM-MD5 eA==\nS 501\nC AUTH CRAM-MD5\nS 334\nC eA==\nS 501\nC AUTH CRAM-MD5\nS 334\nC " + b64("ann 00") + "\nS 535\n"},
		{name: "XOAUTH2", why: "a refusal has its reason first", setup: insecure, dialog: hello + "C AUTH XOAUTH2 " + b64("user=ann\x01auth=Bearer bad\x01\x01") + "\nS 334\nC\nS 535\nC AUTH XOAUTH2 " + b64("user=ann\x01auth=Bearer secret\x01\x01") + "\nS 235\n"},
		{name: "OAUTHBEARER", why: "RFC 7628 §3; the answer to a refusal may be empty", setup: insecure, dialog: hello + "C AUTH OAUTHBEARER " + b64("n,a=ann,\x01auth=Bearer bad\x01\x01") + "\nS 334\nC\nS 535\nC AUTH OAUTHBEARER eA==\nS 501\nC AUTH OAUTHBEARER " + b64("n,a=ann,\x01host=x\x01port=25\x01auth=bearer secret\x01\x01") + "\nS 235\n"},
		{name: "cancelled", why: "RFC 4954 §4: 501", setup: insecure, dialog: hello + "C AUTH LOGIN\nS 334\nC *\nS 501 5.7.0\nC NOOP\nS 250\n"},
		{name: "twice", why: "RFC 4954 §4: 503", setup: insecure, dialog: hello + "C " + good + "\nS 235\nC " + good + "\nS 503 5.5.1\n"},
		{name: "in a transaction", why: "RFC 4954 §4: 503", setup: insecure, dialog: hello + mail + "C " + good + "\nS 503 5.5.1\n"},
		{name: "before EHLO", why: "nothing was announced", setup: insecure, dialog: "C " + good + "\nS 503\nC HELO x\nS 250\nC " + good + "\nS 503\n"},
		{name: "unknown mechanism", why: "RFC 4954 §4: 504 5.5.4", setup: insecure, dialog: hello + "C AUTH GSSAPI\nS 504 5.5.4\nC AUTH\nS 501 5.5.4\n"},
		{name: "in plaintext", why: "RFC 4954 §4: never; 538", setup: users, dialog: hello + "C " + good + "\nS 538 5.7.11\n"},
		{name: "with TLS", why: "then it is allowed; and forgotten by nothing but a new session", setup: users, dialog: starttls + hello + "C " + good + "\nS 235\nC EHLO x\nS 250\nC " + good + "\nS 503\n"},
		{name: "required", why: "RFC 4954 §6: 530 5.7.0", setup: required, dialog: hello + "C MAIL FROM:<a@b>\nS 530 5.7.0\nC VRFY x\nS 530\nC BDAT 4 LAST\nC+ QUIT\nS 530\nC NOOP\nS 250\nC " + good + "\nS 235\n" + mail},
		{name: "longest line", why: "RFC 4954 §4: 12288 octets", setup: insecure, dialog: hello + "C AUTH PLAIN\nS 334\nC " + long + "\nS 501 5.5.2\nC NOOP\nS 250\n"},
		{name: "line too long", why: "RFC 4954 §4: 500 5.5.6", setup: insecure, dialog: hello + "C AUTH PLAIN\nS 334\nC QUJD" + long + "\nS 500 5.5.6\nC AUTH PLAIN\nS 334\nC* 100000 x\nC\nS 500 5.5.6\nC NOOP\nS 250\n"},
		{name: "long initial response", why: "the command may be as long", setup: insecure, dialog: hello + "C AUTH PLAIN " + long[:8000] + "\nS 501 5.5.2\nC AUTH PLAIN " + long + "\nS 500 5.5.6\nC NOOP\nS 250\n"},
		{name: "control characters", why: "not base64", setup: insecure, dialog: hello + "C AUTH PLAIN\nS 334\nC \\x00\\x01\nS 501 5.5.2\n"},
	})
}

func TestXClient(t *testing.T) {
	enabled := func(s *smtptest.Server) { s.XClient = true }
	runDialogs(t, []dialogTest{
		{name: "greeting", why: "XCLIENT_README: 220, and the client says EHLO again", setup: enabled, dialog: hello + "C XCLIENT NAME=mx.example ADDR=192.0.2.1\nS 220 localhost\nC MAIL FROM:<a@b>\nS 503\n" + hello + mail},
		{name: "in a transaction", why: "503", setup: enabled, dialog: hello + mail + "C XCLIENT NAME=x\nS 503 5.5.1\n"},
		{name: "malformed", why: "501", setup: enabled, dialog: hello + "C XCLIENT\nS 501\nC XCLIENT NAME\nS 501\nC XCLIENT FOO=x\nS 501\nC XCLIENT NAME=+4\nS 501\n"},
	})
	t.Run("captured", func(t *testing.T) {
		srv := smtptest.NewUnstartedServer(t)
		srv.XClient = true
		srv.Start()
		(hello + "C XCLIENT NAME=a+20b ADDR=IPV6:2001:db8::1\nS 220\n" + hello + "C XCLIENT LOGIN=ann NAME=[UNAVAILABLE]\nS 220\n" + envelope + data + "C .\nS 250\n").run(t, srv, dialTest(t, srv))
		m := srv.Messages()[0]
		require.Equal(t, map[string]string{"NAME": "[UNAVAILABLE]", "ADDR": "IPV6:2001:db8::1", "LOGIN": "ann"}, m.XClient)
		require.Equal(t, "ann", m.User)
	})
}
