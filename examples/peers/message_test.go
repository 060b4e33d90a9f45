package peers_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

const (
	hostname = "localhost"
	mailbox  = "foo@localhost"
)

// mailData is what smtp-source sends when it is not asked for anything else,
// octet for octet but for the date and the numbers of the Message-Id.
var mailData = strings.Join([]string{
	"From: <" + mailbox + ">",
	"To: <" + mailbox + ">",
	"Date: Sun, 22 Nov 2026 00:12:16 +0000 (UTC)",
	"Message-Id: <28eb.0003.0001@" + hostname + ">",
	"",
	"La de da de da 1.",
	"La de da de da 2.",
	"La de da de da 3.",
	"La de da de da 4.",
	"",
}, "\r\n")

func message() *loadtest.Message {
	return &loadtest.Message{From: mailbox, To: []string{mailbox}, Data: []byte(mailData)}
}

// TestMessage holds what every ratio rests on: that both sides send the same.
func TestMessage(t *testing.T) {
	if _, err := find(source); err != nil {
		t.Skip(err)
	}
	srv := smtptest.NewUnstartedServer(t)
	srv.NoSTARTTLS = true
	srv.Start()
	l := load{addr: srv.Addr, sessions: 1, messages: 2}
	runSource(t, source, l)
	benchmail(t, clientSpec{Addr: srv.Addr, Sessions: l.sessions, Messages: l.messages})
	got := srv.Messages()
	require.Len(t, got, 2*l.messages)
	for _, m := range got {
		require.Equal(t, mailbox, m.From)
		require.Equal(t, []string{mailbox}, m.To)
		require.Empty(t, m.MailParams)
		require.Equal(t, varying(mailData), varying(string(m.Data)))
	}
}

var variable = regexp.MustCompile(`Date: .{31} \(UTC\)|<[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}@`)

// varying replaces what differs from message to message and not in length.
func varying(data string) string { return variable.ReplaceAllString(data, "*") }
