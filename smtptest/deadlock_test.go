package smtptest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// With so many recipients and so much depth there are more replies than a unix
// socket holds: the client must read while it sends (RFC 2920 §3.1). Refusals on
// the way must not upset the count of what is owed.
func TestDepthManyRecipients(t *testing.T) {
	for _, lmtp := range []bool{false, true} {
		srv := smtptest.NewUnstartedServer(t)
		srv.Addr = "unix:" + t.TempDir() + "/s"
		srv.Discard, srv.LMTP = true, lmtp
		srv.Hook = smtptest.Chain(smtptest.On("RCPT").Every(700).Reply("450 4.2.0 no"), smtptest.On(".").Every(7).Reply("554 5.0.0 no"), smtptest.On("MAIL").Every(11).Reply("450 4.2.0 no"))
		srv.Start()
		d := srv.Dialer()
		d.Security, d.Exchange, d.Depth = loadtest.Plaintext, loadtest.Chunked, 128
		d.Timeouts.Message = 5 * time.Second
		d.Message = loadtest.NumberedRecipients(&loadtest.Message{From: "a@x", Data: []byte("x\r\n")}, "user+@localhost", 300)
		res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 400, Sessions: 2})
		require.NoError(t, err)
		assert.Zero(t, res.Failed+res.InDoubt, "%v", res)
		assert.Equal(t, srv.Stats().Messages, res.Accepted, "%v", res)
	}
}
