package smtptest_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/smtptest"
)

// A dialog is a script of a client, one step a line:
//
//	C EHLO x        send a line; \r \n \x00 ... are escapes, CRLF is added
//	C+ DATA\r\n.    send octets; nothing is added
//	C* 5000 x       send an octet so many times
//	S 250 2.1.0     read a reply, whose last line begins so
//	TLS             make a TLS handshake
//	EOF             the server has closed, politely or not
//	FIN             stop sending
type dialog string

// Beginnings of dialogs. The greeting is read before the first step, unless that
// is "TLS", "S" or "EOF".
const (
	hello    dialog = "C EHLO client.example\nS 250\n"
	lhlo     dialog = "C LHLO client.example\nS 250\n"
	starttls        = hello + "C STARTTLS\nS 220\nTLS\n"
	mail     dialog = "C MAIL FROM:<a@example.org>\nS 250 2.1.0\n"
	rcpt     dialog = "C RCPT TO:<b@example.org>\nS 250 2.1.5\n"
	envelope        = hello + mail + rcpt
	quit     dialog = "C QUIT\nS 221 2.0.0\nEOF\n"
)

// dialTest connects to srv. Everything on the connection has to happen in 20 s.
func dialTest(tb testing.TB, srv *smtptest.Server) net.Conn {
	tb.Helper()
	network, addr := "tcp", srv.Addr
	if path, ok := strings.CutPrefix(srv.Addr, "unix:"); ok {
		network, addr = "unix", path
	}
	conn, err := net.Dial(network, addr)
	require.NoError(tb, err)
	tb.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// run plays d on conn.
func (d dialog) run(tb testing.TB, srv *smtptest.Server, conn net.Conn) {
	tb.Helper()
	steps := strings.Split(strings.TrimSpace(string(d)), "\n")
	br := bufio.NewReader(conn)
	if first, _, _ := strings.Cut(steps[0], " "); first != "S" && first != "TLS" && first != "EOF" {
		require.Equal(tb, "220", readReply(tb, br)[:3], "greeting")
	}
	for i, step := range steps {
		step = strings.TrimLeft(step, " \t")
		word, rest, _ := strings.Cut(step, " ")
		switch word {
		case "C", "C+":
			text, err := strconv.Unquote(`"` + strings.ReplaceAll(rest, `"`, `\"`) + `"`)
			require.NoError(tb, err, "step %d: %s", i, step)
			if word == "C" {
				text += "\r\n"
			}
			// The server may have closed: the replies tell.
			_, _ = io.WriteString(conn, text)
		case "C*":
			count, octet, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(count)
			require.NoError(tb, err)
			_, _ = io.WriteString(conn, strings.Repeat(octet, n))
		case "S":
			got := readReply(tb, br)
			require.True(tb, strings.HasPrefix(got, rest), "step %d: %s: got %q", i, step, got)
		case "TLS":
			require.Zero(tb, br.Buffered(), "step %d: plaintext after the 220", i)
			tlsConn := tls.Client(conn, srv.ClientTLSConfig())
			require.NoError(tb, tlsConn.Handshake(), "step %d: handshake", i)
			conn = tlsConn
			br.Reset(conn)
		case "EOF":
			requireClosed(tb, br)
		case "FIN":
			require.NoError(tb, conn.(interface{ CloseWrite() error }).CloseWrite())
		default:
			tb.Fatalf("step %d: %q is no step", i, step)
		}
	}
}

// readReply returns the last line of a reply; "EOF" if there is none.
func readReply(tb testing.TB, br *bufio.Reader) string {
	tb.Helper()
	for {
		line, err := br.ReadString('\n')
		if isClosed(err) {
			return "EOF " + line
		}
		require.NoError(tb, err)
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 4 || line[3] != '-' {
			return line
		}
	}
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func requireClosed(tb testing.TB, r io.Reader) {
	tb.Helper()
	got, err := io.ReadAll(r)
	require.True(tb, err == nil || isClosed(err), "not closed by the server: %v", err)
	require.Empty(tb, string(got), "sent before it was closed")
}

// readLines reads a whole reply with all its texts.
func readLines(tb testing.TB, conn net.Conn) (code int, lines []string) {
	tb.Helper()
	code, text, err := textproto.NewReader(bufio.NewReader(conn)).ReadResponse(0)
	require.NoError(tb, err)
	return code, strings.Split(text, "\n")
}

type dialogTest struct {
	name  string
	why   string
	setup func(*smtptest.Server)
	dialog
	messages int64 // that the server has accepted at the end
}

func runDialogs(t *testing.T, tests []dialogTest) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			if tt.setup != nil {
				tt.setup(srv)
			}
			srv.Start()
			tt.run(t, srv, dialTest(t, srv))
			require.Equal(t, tt.messages, srv.Stats().Messages, "messages; %s", tt.why)
			srv.Close()
			require.Zero(t, srv.Stats().Open, "sessions open after Close")
			require.Len(t, srv.Messages(), int(tt.messages))
		})
	}
}
