package containers_test

import (
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/containers"
	"github.com/benchmail/benchmail/loadtest"
)

func TestSinkFlags(t *testing.T) {
	zero := time.Duration(0)
	two := 2 * time.Second
	type cfg = containers.SinkConfig
	for _, tt := range []struct {
		name string
		cfg  cfg
		want string // without "-m 32768" in front; "!" and a part of the error
	}{
		{"zero value", cfg{}, ""},
		{"switches", cfg{Count: true, LMTP: true, PIX: true, No8BITMIME: true, NoAUTH: true, NoXCLIENT: true, NoESMTP: true, NoEnhanced: true, NoXFORWARD: true, NoDSN: true, NoPIPELINING: true, Verbose: true},
			"-c -L -P -8 -a -C -e -E -F -N -p -v"},
		{"commands", cfg{HardReject: []string{"MAIL", "RCPT"}, SoftReject: []string{"."}, Drop: []string{"DATA"}, Disconnect: []string{"CONNECT"}},
			"-f MAIL,RCPT -r . -q DATA -Q CONNECT"},
		{"replies", cfg{HardRejectReply: "550 No", SoftRejectReply: "450 Later"}, "-B 550 No -b 450 Later"},
		{"dump", cfg{DumpFiles: "%H/%M.", DumpPrefix: "X: y", Hostname: "sink.test"}, "-d %H/%M. -S X: y -h sink.test"},
		{"dump to one", cfg{DumpFile: "all"}, "-D all"},
		{"ends", cfg{Count: true, ExitMessages: 5, ExitSessions: 3, Window: 1024}, "-c -M 5 -n 3 -T 1024"},
		{"times", cfg{Timeout: 10 * time.Second, ReadDelay: time.Second, AbortData: &two}, "-t 10 -H 1 -A 2"},
		{"abort at once", cfg{AbortData: &zero}, "-A 0"},
		{"delays", cfg{Delays: []containers.SinkDelay{{"MAIL", time.Second, 0}, {".", 2 * time.Second, 0.5}}}, "-W MAIL:1 -W .:2:50"},
		{"part of a second", cfg{Timeout: time.Millisecond}, "!whole seconds"},
		{"delay of none", cfg{Delays: []containers.SinkDelay{{"MAIL", 0, 0}}}, "!at least one"},
		{"odds", cfg{Delays: []containers.SinkDelay{{"MAIL", time.Second, 1}}}, "!Odds"},
		{"delay of two commands", cfg{Delays: []containers.SinkDelay{{"MAIL,RCPT", time.Second, 0}}}, "!not the name"},
		{"both dumps", cfg{DumpFile: "a", DumpFiles: "b"}, "!exclude"},
		{"ExitSessions alone", cfg{ExitSessions: 1}, "!needs Count"},
		{"command with a comma", cfg{Drop: []string{"MAIL,RCPT"}}, "!not the name"},
		{"reply with a line break", cfg{HardRejectReply: "550 a\r\n250 b"}, "!line break"},
		{"negative", cfg{MaxSessions: -1}, "!negative"},
		{"negative backlog", cfg{Backlog: -1}, "!negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flags, err := tt.cfg.Flags()
			if part, bad := strings.CutPrefix(tt.want, "!"); bad {
				require.ErrorContains(t, err, part)
				return
			}
			require.NoError(t, err)
			got := strings.Join(flags, " ")
			got = strings.Join(strings.Fields(strings.Replace(got, "-m 32768", "", 1)), " ")
			assert.Equal(t, tt.want, got)
		})
	}
}

// TestSinkTakesFlags: the real one takes what we make of a SinkConfig, and does
// it.
func TestSinkTakesFlags(t *testing.T) {
	t.Parallel()
	srv := containers.StartSMTPSink(t, containers.WithSink(containers.SinkConfig{
		MaxSessions: 100, Backlog: 10, Count: true, No8BITMIME: true, NoAUTH: true, NoXCLIENT: true, NoXFORWARD: true, NoDSN: true,
		HardReject: []string{"."}, HardRejectReply: "554 5.7.1 Not today", Hostname: "sink.test", Timeout: 10 * time.Second, Window: 65536,
		Delays: []containers.SinkDelay{{"VRFY", time.Second, 0.25}}, DumpFiles: "m", Verbose: true,
	}))
	assert.Contains(t, srv.Greeting(), "sink.test")
	res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Ops: 10})
	require.NoError(t, err)
	assert.EqualValues(t, 10, res.Refused)
	require.NotEmpty(t, res.Errors)
	assert.Contains(t, res.Errors[0].Kind, "554 5.7.1")
}

func TestSinkCounts(t *testing.T) {
	t.Parallel()
	srv := containers.StartSMTPSink(t, containers.WithSink(containers.SinkConfig{Count: true}))
	res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Sessions: 5, Ops: 500, OpsPerSession: 7})
	require.NoError(t, err)
	require.EqualValues(t, 500, res.Accepted)
	require.NoError(t, srv.Kill(t.Context()))
	assert.EqualValues(t, 500, sinkCount(t, srv))
}

var mesg = regexp.MustCompile(`mesg=(\d+)`)

// sinkCount returns what smtp-sink -c printed last. It ends each count with CR,
// and Docker passes a line on when it has ended: when the server has.
func sinkCount(t *testing.T, srv *containers.Server) int64 {
	t.Helper()
	r, err := srv.Logs(t.Context())
	require.NoError(t, err)
	defer r.Close()
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	all := mesg.FindAllSubmatch(text, -1)
	require.NotEmpty(t, all, "no count in the log")
	n, err := strconv.ParseInt(string(all[len(all)-1][1]), 10, 64)
	require.NoError(t, err)
	return n
}
