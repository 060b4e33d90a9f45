package smtptest_test

import (
	"net/smtp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

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
	require.Equal(t, "Subject: x\r\n\r\n.hello\r\n", string(msgs[3].Data))
	require.Equal(t, "UTF8SMTPS", msgs[3].Protocol)
	require.EqualValues(t, 2, msgs[3].Session)
	require.EqualValues(t, 2, msgs[3].Sequence)
	require.Equal(t, []string{"b@example.org", "c@example.org"}, msgs[3].To)
	require.Equal(t, "a@example.org", msgs[3].From)
}
