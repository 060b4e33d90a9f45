package loadtest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// A server's limit of messages for a session costs sessions, never messages.
func TestSMTPMailMax(t *testing.T) {
	for _, mode := range []struct {
		name     string
		exchange loadtest.Exchange
		depth    int
		why      string
	}{
		{"lockstep", loadtest.Lockstep, 1, "the session is replaced after its last message"},
		{"pipelined, depth 2", loadtest.Pipelined, 2, "the next message's MAIL must not go out with the last one's data"},
		{"chunked, depth 5", loadtest.Chunked, 5, "more are in flight than the session may have"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			const limit, ops = 3, 20
			srv := smtptest.NewUnstartedServer(t)
			srv.MaxMessages = limit
			srv.Start()
			d := srv.Dialer()
			d.Exchange, d.Depth = mode.exchange, mode.depth
			res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, Ops: ops})
			if err != nil {
				t.Fatal(err)
			}
			if res.Accepted != ops || srv.Stats().Messages != ops {
				t.Errorf("accepted %d, server has %d, want %d (%s)\n%v", res.Accepted, srv.Stats().Messages, ops, mode.why, res)
			}
			if sessions := srv.Stats().Sessions; sessions < (ops+limit-1)/limit {
				t.Errorf("%d sessions for %d messages, the server allows %d in each", sessions, ops, limit)
			}
		})
	}
}

// A load that cannot be sent ends the run: it would fail for every message.
func TestSMTPRunWrongMessage(t *testing.T) {
	srv := smtptest.NewSink(t)
	for _, test := range []struct {
		name    string
		message func(int64) *loadtest.Message
		want    string
	}{
		{"none", func(int64) *loadtest.Message { return nil }, "no message for operation"},
		{"bare LF", func(int64) *loadtest.Message {
			return &loadtest.Message{To: []string{"a@example.com"}, Data: []byte("Subject: x\n\nbody\r\n")}
		}, "line 1: bare CR or LF"},
		{"no recipient", func(int64) *loadtest.Message { return &loadtest.Message{From: "a@example.com"} }, "set To"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := srv.Dialer()
			d.Message = test.message
			res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 2, Ops: 1000})
			if !errors.Is(err, loadtest.ErrSetup) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want ErrSetup with %q", err, test.want)
			}
			if res.Ops == 0 || res.Ops != res.Failed || res.Ops > 100 {
				t.Errorf("counts: %+v", res)
			}
		})
	}
}
