package smtptest_test

import (
	"net/smtp"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

// net/smtp: two sessions with two messages each.
func TestNetSMTP(t *testing.T) {
	srv := smtptest.NewServer(t)
	for range 2 {
		c, err := smtp.Dial(srv.Addr)
		require.NoError(t, err)
		require.NoError(t, c.StartTLS(srv.ClientTLSConfig()))
		for range 2 {
			require.NoError(t, c.Mail("a@example.org"))
			require.NoError(t, c.Rcpt("b@example.org"))
			require.NoError(t, c.Rcpt("c@example.org"))
			w, err := c.Data()
			require.NoError(t, err)
			_, err = w.Write([]byte("Subject: x\r\n\r\n.hello\r\n"))
			require.NoError(t, err)
			require.NoError(t, w.Close())
		}
		require.NoError(t, c.Quit())
	}
	msgs, err := srv.Wait(t.Context(), 4)
	require.NoError(t, err)
	require.Len(t, msgs, 4)
	for i, m := range msgs {
		require.Equal(t, "Subject: x\r\n\r\n.hello\r\n", string(m.Data))
		require.Equal(t, "a@example.org", m.From)
		require.Equal(t, []string{"b@example.org", "c@example.org"}, m.To)
		require.Equal(t, "BODY=8BITMIME SMTPUTF8", m.MailParams) // net/smtp asks for all there is
		require.Equal(t, []string{"", ""}, m.RcptParams)
		require.Equal(t, "localhost", m.Hello)
		require.Equal(t, "UTF8SMTPS", m.Protocol)
		require.NotNil(t, m.TLS)
		require.NotNil(t, m.RemoteAddr)
		require.False(t, m.Received.IsZero())
		require.EqualValues(t, i/2+1, m.Session)
		require.EqualValues(t, i%2+1, m.Sequence)
	}
	st := srv.Stats()
	require.EqualValues(t, 2, st.Sessions)
	require.EqualValues(t, 4, st.Messages)
	require.EqualValues(t, 8, st.Recipients)
	require.EqualValues(t, 4*len("Subject: x\r\n\r\n.hello\r\n"), st.Bytes)
	require.EqualValues(t, 2, st.TLSHandshakes)
	require.Zero(t, st.Refused)
}

// The mechanisms of net/smtp and go-sasl.
func TestAuthClients(t *testing.T) {
	for name, auth := range map[string]func(c *gosmtp.Client) error{
		"PLAIN": func(c *gosmtp.Client) error { return c.Auth(sasl.NewPlainClient("", "ann", "secret")) },
		"LOGIN": func(c *gosmtp.Client) error { return c.Auth(sasl.NewLoginClient("ann", "secret")) },
		"OAUTHBEARER": func(c *gosmtp.Client) error {
			return c.Auth(sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: "ann", Token: "secret"}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			srv.Users = map[string]string{"ann": "secret"}
			srv.RequireAuth = true
			srv.Start()
			c, err := gosmtp.DialStartTLS(srv.Addr, srv.ClientTLSConfig())
			require.NoError(t, err)
			require.Error(t, c.Mail("a@b", nil))
			require.NoError(t, auth(c))
			require.NoError(t, c.SendMail("a@b", []string{"c@d"}, strings.NewReader("x\r\n")))
			require.NoError(t, c.Quit())
			m := srv.Messages()[0]
			require.Equal(t, "ann", m.User)
			require.Equal(t, "ESMTPSA", m.Protocol)
			require.EqualValues(t, 1, srv.Stats().Auths)
		})
	}
	t.Run("CRAM-MD5", func(t *testing.T) {
		srv := smtptest.NewUnstartedServer(t)
		srv.Users = map[string]string{"ann": "secret"}
		srv.Start()
		for _, tt := range []struct {
			user, password string
			ok             bool
		}{{"ann", "wrong", false}, {"bob", "", false}, {"ann", "secret", true}} {
			c, err := smtp.Dial(srv.Addr)
			require.NoError(t, err)
			err = c.Auth(smtp.CRAMMD5Auth(tt.user, tt.password))
			require.Equal(t, tt.ok, err == nil, "%s: %v", tt.user, err)
			c.Close()
		}
	})
}

// go-smtp's client: parameters of extensions, and LMTP.
func TestGoSMTP(t *testing.T) {
	srv := smtptest.NewServer(t)
	c, err := gosmtp.Dial(srv.Addr)
	require.NoError(t, err)
	require.NoError(t, c.Mail("ä@example.org", &gosmtp.MailOptions{Size: 3, UTF8: true, Body: gosmtp.Body8BitMIME, Return: gosmtp.DSNReturnHeaders, EnvelopeID: "a=b"}))
	require.NoError(t, c.Rcpt("b@example.org", &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifyDelayed, gosmtp.DSNNotifyFailure}, OriginalRecipientType: gosmtp.DSNAddressTypeRFC822, OriginalRecipient: "x+y@example.org"}))
	w, err := c.Data()
	require.NoError(t, err)
	_, err = w.Write([]byte("x\r\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, c.Quit())
	m := srv.Messages()[0]
	require.Equal(t, "ä@example.org", m.From)
	require.Contains(t, m.MailParams, "ENVID=a+3Db")
	require.Equal(t, []string{"NOTIFY=DELAY,FAILURE ORCPT=RFC822;x+2By@example.org"}, m.RcptParams)
	require.Equal(t, "UTF8SMTP", m.Protocol)
}

func TestGoSMTPOverLMTP(t *testing.T) {
	srv := smtptest.NewUnstartedServer(t)
	srv.LMTP = true
	srv.Addr = "unix:" + t.TempDir() + "/lmtp"
	srv.Start()
	c := gosmtp.NewClientLMTP(dialTest(t, srv))
	require.NoError(t, c.Mail("a@b", nil))
	require.NoError(t, c.Rcpt("c@d", nil))
	require.NoError(t, c.Rcpt("e@f", nil))
	w, err := c.Data()
	require.NoError(t, err)
	_, err = w.Write([]byte("x\r\n"))
	require.NoError(t, err)
	replies, err := w.CloseWithLMTPResponse()
	require.NoError(t, err)
	require.Len(t, replies, 2)
	require.NoError(t, c.Quit())
	require.Equal(t, "LMTP", srv.Messages()[0].Protocol)
}
