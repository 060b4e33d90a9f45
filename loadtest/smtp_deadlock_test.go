package loadtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// More replies than sockets hold: RFC 2920 §3.1.
func TestSMTPManyRecipients(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for _, x := range []loadtest.Exchange{loadtest.Pipelined, loadtest.Chunked} {
			for _, n := range []int{1000, 30000} {
				t.Run(fmt.Sprint(network, x, "/", n), func(t *testing.T) {
					srv := smtptest.NewUnstartedServer(t)
					if network == "unix" {
						srv.Addr = "unix:" + t.TempDir() + "/s"
					}
					srv.Discard = true
					srv.Start()
					d := srv.Dialer()
					d.Security, d.Exchange = loadtest.Plaintext, x
					d.Timeouts.Command = 3 * time.Second
					d.Timeouts.Message = 3 * time.Second
					d.Message = loadtest.NumberedRecipients(&loadtest.Message{From: "a@x", Data: []byte("x\r\n")}, "user+@localhost", n)
					res, err := loadtest.Run(t.Context(), d, loadtest.Config{Ops: 1})
					require.NoError(t, err)
					assert.EqualValues(t, 1, res.Accepted, "%v", res)
				})
			}
		}
	}
}
