package smtptest_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Rules do to a running server what they say, and whatever they do, what the
// engine counts as accepted is what the server has.
func TestRuleServer(t *testing.T) {
	type counts struct{ Accepted, Refused, Throttled, Failed, InDoubt int64 }
	for _, tt := range []struct {
		name string
		rule func() smtptest.Hook // a new one, as it counts
		want counts               // of 10 messages over one session
		why  string
	}{
		{"first", func() smtptest.Hook { return smtptest.On("RCPT").First(3).Reply("450 4.2.0 Try later") }, counts{Accepted: 7, Refused: 3}, "the first three"},
		{"every", func() smtptest.Hook { return smtptest.On("MAIL").Every(2).Reply("550 5.7.1 No") }, counts{Accepted: 5, Refused: 5}, "each second"},
		{"end of data", func() smtptest.Hook { return smtptest.On(".").Every(5).Reply("552 5.3.4 Too big") }, counts{Accepted: 8, Refused: 2}, "the last reply counts"},
		{"rate", func() smtptest.Hook {
			return smtptest.On("MAIL").MoreThan(4, time.Hour).Reply("450 4.7.1 Too much mail")
		}, counts{Accepted: 4, Refused: 6}, "a rate limit as of Postfix"},
		{"session limit", func() smtptest.Hook {
			return smtptest.On("MAIL").PerSession().After(3).Reply("421 4.7.0 Enough for this session")
		}, counts{Accepted: 8, Refused: 2, Throttled: 2}, "3 in each session; the fourth of it ends it"},
		{"hang up", func() smtptest.Hook { return smtptest.On("MAIL").Every(6).HangUp(smtptest.CloseWithoutReply) }, counts{Accepted: 9, Failed: 1}, "no answer to MAIL: the server does not have it"},
		{"reset", func() smtptest.Hook { return smtptest.On("RCPT").Every(6).HangUp(smtptest.Reset) }, counts{Accepted: 9, Failed: 1}, "RST"},
		{"lost reply", func() smtptest.Hook { return smtptest.On(".").Every(5).HangUp(smtptest.CloseWithoutReply) }, counts{Accepted: 8, InDoubt: 2}, "all was sent and no answer came"},
		{"half a reply", func() smtptest.Hook { return smtptest.On(".").Every(5).HangUp(smtptest.ClosePartial) }, counts{Accepted: 8, InDoubt: 2}, "half of an answer is none"},
		{"goodbye after reply", func() smtptest.Hook { return smtptest.On(".").Every(5).HangUp(smtptest.CloseAfterReply) }, counts{Accepted: 9, Failed: 1}, "the fifth is answered; the sixth finds the session closed"},
		{"recipient", func() smtptest.Hook { return smtptest.On("RCPT").To("*@localhost").After(9).Reply("550 5.1.1 Unknown") }, counts{Accepted: 9, Refused: 1}, "by address"},
		{"delay and fault", func() smtptest.Hook {
			return smtptest.Chain(
				smtptest.On("RCPT").Delay(time.Millisecond),
				smtptest.On("RCPT").First(1).Reply("450 4.2.0 Try later"),
			)
		}, counts{Accepted: 9, Refused: 1}, "both"},
	} {
		for name, exchange := range map[string]loadtest.Exchange{"lockstep": loadtest.Lockstep, "pipelined": loadtest.Pipelined, "chunked": loadtest.Chunked} {
			t.Run(fmt.Sprintf("%s/%s", tt.name, name), func(t *testing.T) {
				srv := smtptest.NewUnstartedServer(t)
				srv.Discard = true
				srv.Hook = tt.rule()
				srv.Start()
				d := srv.Dialer()
				d.Security = loadtest.Plaintext
				d.Exchange = exchange
				res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 10})
				require.NoError(t, err)
				want := tt.want
				if exchange == loadtest.Chunked { // the mail data goes with MAIL
					want.Failed, want.InDoubt = 0, want.Failed+want.InDoubt
				}
				got := counts{res.Accepted, res.Refused, res.Throttled, res.Failed, res.InDoubt}
				assert.Equal(t, want, got, "%s: %v", tt.why, res.Errors)
				assert.EqualValues(t, 10, res.Ops)
				has := srv.Stats().Messages
				assert.True(t, res.Accepted <= has && has <= res.Accepted+res.InDoubt, "the server has %d", has)
			})
		}
	}
}

// What smtp-sink -A does: a reply to mail data that was not sent yet, and a
// goodbye.
func TestRuleEarlyReply(t *testing.T) {
	srv := smtptest.NewUnstartedServer(t)
	srv.Hook = smtptest.On("DATA").Do(smtptest.Action{Reply: "354 Go ahead\n550 This violates SMTP", Close: smtptest.CloseAfterReply})
	srv.Start()
	conn, err := net.Dial("tcp", srv.Addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "EHLO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
	require.NoError(t, err)
	dialog, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(string(dialog), "\r\n354 Go ahead\r\n550 This violates SMTP\r\n"), "%q", dialog)
	assert.Zero(t, srv.Stats().Messages)
}
