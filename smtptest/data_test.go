package smtptest_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/smtpwire"
	"github.com/benchmail/benchmail/smtptest"
)

const data dialog = "C DATA\nS 354\n"

func TestData(t *testing.T) {
	small := func(s *smtptest.Server) { s.MaxSize = 10 }
	discard := func(s *smtptest.Server) { s.MaxSize, s.Discard = 10, true }
	tests := []dialogTest{
		{name: "empty", why: "a bare dot is mail data of no octets", dialog: envelope + data + "C .\nS 250 2.0.0\n" + quit, messages: 1},
		{name: "reuse", why: "no RSET is needed between transactions", dialog: envelope + data + "C .\nS 250\n" + mail + rcpt + data + "C x\nC .\nS 250\n" + quit, messages: 2},
		{name: "after it", why: "the transaction is over", dialog: envelope + data + "C .\nS 250\nC DATA\nS 503\nC RCPT TO:<a@b>\nS 503\n", messages: 1},
		{name: "size reached", why: "RFC 1870 §5 counts line ends", setup: small, dialog: envelope + data + "C 12345678\nC .\nS 250\n", messages: 1},
		{name: "size exceeded", why: "552 at the end of data; the session goes on", setup: small, dialog: envelope + data + "C 123456789\nC .\nS 552 5.3.4\nC DATA\nS 503\n" + mail + rcpt + data + "C .\nS 250\n", messages: 1},
		{name: "stuffed dots", why: "they do not count: RFC 1870 §5", setup: small, dialog: envelope + data + "C ..1234567\nC .\nS 250\n", messages: 1},
		{name: "size exceeded by a lot", why: "nothing is kept", setup: small, dialog: envelope + data + "C* 1000000 x\nC\nC .\nS 552 5.3.4\n"},
		{name: "long line", why: "lines over 1000 octets are accepted: load tools send them", dialog: envelope + data + "C* 200000 x\nC\nC .\nS 250\n", messages: 1},
		{name: "commands as data", why: "they are data", dialog: envelope + data + "C QUIT\nC RSET\nC .\nS 250\nC NOOP\nS 250\n", messages: 1},
		{name: "end in pieces", why: "the end of data may come octet by octet", dialog: envelope + data + "C+ x\\r\nC+ \\n\nC+ .\nC+ \\r\nC+ \\n\nS 250\n", messages: 1},
	}
	runDialogs(t, tests)
	for i := range tests {
		if tests[i].setup != nil {
			tests[i].name += " (Discard)"
			tests[i].setup = discard
			tests[i].messages = 0 // nothing in Messages; counted below
		}
	}
	for _, tt := range tests {
		if tt.setup == nil {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.NewUnstartedServer(t)
			tt.setup(srv)
			srv.Start()
			tt.run(t, srv, dialTest(t, srv))
			require.Empty(t, srv.Messages(), "Discard keeps nothing")
		})
	}
}

// The vectors of SMTP smuggling (CVE-2023-51764 and others) and the legal end of
// data that go-smtp does not see: only CRLF.CRLF ends it.
func TestEndOfData(t *testing.T) {
	for _, tt := range []struct{ name, sent, want string }{
		{"LF.LF", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n"},
		{"LF.CRLF", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n"},
		{"CRLF.LF", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n"},
		{"CR.CR", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n"},
		{"CR.CRLF", "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n"},
		{"CRLF.CR", "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n"},
		{"LF CR.CRLF", "a\n\r.\r\nb\r\n.\r\n", "a\n\r.\r\nb\r\n"},
		{"NUL.", "a\r\n\x00.\r\nb\r\n.\r\n", "a\r\n\x00.\r\nb\r\n"},
		{"CR CRLF.CRLF", "a\r\r\n.\r\n", "a\r\r\n"},
		{"CRLF CR CRLF.CRLF", "a\r\n\r\r\n.\r\n", "a\r\n\r\r\n"},
		{"dots", "..\r\n...\r\n.a\r\n.\r\n", ".\r\n..\r\na\r\n"},
	} {
		for _, step := range []int{1, 2, 3, 1000} {
			t.Run(fmt.Sprintf("%s by %d", tt.name, step), func(t *testing.T) {
				srv := smtptest.NewServer(t)
				conn := dialTest(t, srv)
				(envelope + data).run(t, srv, conn)
				for b := []byte(tt.sent); len(b) > 0; {
					n := min(step, len(b))
					_, err := conn.Write(b[:n])
					require.NoError(t, err)
					b = b[n:]
				}
				dialog("S 250 2.0.0\n"+mail+"C QUIT\nS 221\nEOF").run(t, srv, conn)
				msgs := srv.Messages()
				require.Len(t, msgs, 1)
				require.Equal(t, tt.want, string(msgs[0].Data))
			})
		}
	}
}

// Data of many sizes, around those of the buffers, comes out as it went in.
func TestDataByteExact(t *testing.T) {
	srv := smtptest.NewServer(t)
	conn := dialTest(t, srv)
	dialog(hello).run(t, srv, conn)
	var want [][]byte
	for _, size := range []int{0, 1, 2, 1000, 4093, 4094, 4095, 4096, 4097, 65535, 65536, 65537, 300000} {
		body := bytes.Repeat([]byte(".x\r\n..\r\n\x00\xff\r\n"), size/12+1)[:size]
		if size > 0 {
			body = append(body, "\r\n"...)
		}
		want = append(want, body)
		_, err := conn.Write([]byte("MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n"))
		require.NoError(t, err)
		dialog("S 250\nS 250\nS 354\n").run(t, srv, conn)
		go conn.Write(smtpwire.AppendDotStuffed(nil, body))
		dialog("S 250\n").run(t, srv, conn)
	}
	msgs, err := srv.Wait(t.Context(), len(want))
	require.NoError(t, err)
	var total int64
	for i, m := range msgs {
		require.True(t, bytes.Equal(want[i], m.Data), "message %d of %d octets", i, len(want[i]))
		total += int64(len(want[i]))
	}
	require.Equal(t, total, srv.Stats().Bytes)
}

func TestChunking(t *testing.T) {
	small := func(s *smtptest.Server) { s.MaxSize = 10 }
	runDialogs(t, []dialogTest{
		{name: "one chunk", why: "RFC 3030 §2", dialog: envelope + "C BDAT 3 LAST\nC+ abc\nS 250 2.0.0\n" + mail, messages: 1},
		{name: "chunks", why: "a reply for each", dialog: envelope + "C BDAT 3\nC+ abc\nS 250\nC bdat 2 last\nC+ de\nS 250\n" + quit, messages: 1},
		{name: "BDAT 0 LAST", why: "legal, also alone", dialog: envelope + "C BDAT 3\nC+ abc\nS 250\nC BDAT 0 LAST\nS 250\n" + mail + rcpt + "C BDAT 0 LAST\nS 250\n", messages: 2},
		{name: "dots", why: "no dot-stuffing, no end of data", dialog: envelope + "C BDAT 5 LAST\nC+ \\r\\n.\\r\\n\nS 250\n" + quit, messages: 1},
		{name: "pipelined", why: "chunk and commands in one write", dialog: hello + "C+ MAIL FROM:<a@b>\\r\\nRCPT TO:<c@d>\\r\\nBDAT 6 LAST\\r\\nQUIT\\r\\nNOOP\\r\\n\nS 250\nS 250\nS 250\nS 250 2.0.0\n", messages: 1},
		{name: "large", why: "larger than any buffer", dialog: envelope + "C BDAT 300000 LAST\nC* 300000 x\nS 250\n" + quit, messages: 1},
		{name: "without MAIL", why: "503, and the octets are consumed", dialog: hello + "C BDAT 6 LAST\nC QUIT\nS 503 5.5.1\nC NOOP\nS 250\n"},
		{name: "without RCPT", why: "503, consumed, and LAST ends the transaction", dialog: hello + mail + "C BDAT 6 LAST\nC QUIT\nS 503 5.5.1\n" + mail},
		{name: "without RCPT, not LAST", why: "nothing can be delivered by what is pipelined behind", dialog: hello + mail + "C BDAT 6\nC QUIT\nS 503\nC RCPT TO:<a@b>\nS 503\nC BDAT 6 LAST\nC QUIT\nS 503\n" + mail},
		{name: "DATA after BDAT", why: "RFC 3030 §2: 503", dialog: envelope + "C BDAT 3\nC+ abc\nS 250\nC DATA\nS 503 5.5.1\nC BDAT 0 LAST\nS 250\n", messages: 1},
		{name: "RCPT and MAIL after BDAT", why: "out of order", dialog: envelope + "C BDAT 3\nC+ abc\nS 250\nC RCPT TO:<a@b>\nS 503\nC MAIL FROM:<a@b>\nS 503\nC NOOP\nS 250\nC BDAT 0 LAST\nS 250\n", messages: 1},
		{name: "RSET after BDAT", why: "drops the chunks", dialog: envelope + "C BDAT 3\nC+ abc\nS 250\nC RSET\nS 250\n" + mail + rcpt + "C BDAT 2 LAST\nC+ de\nS 250\n", messages: 1},
		{name: "too big", why: "552, consumed; later chunks are refused too", setup: small, dialog: envelope + "C BDAT 8\nC+ 12345678\nS 250\nC BDAT 3\nC+ 9ab\nS 552 5.3.4\nC BDAT 1 LAST\nC+ x\nS 503 5.5.1\n" + mail},
		{name: "too big at once", why: "552, consumed", setup: small, dialog: envelope + "C BDAT 100000 LAST\nC* 100000 x\nS 552 5.3.4\n" + mail},
		{name: "RSET after a refused chunk", why: "RFC 3030 §2", setup: small, dialog: envelope + "C BDAT 11\nC+ 12345678901\nS 552\nC MAIL FROM:<a@b>\nS 503\nC RSET\nS 250\n" + mail + rcpt + "C BDAT 1 LAST\nC+ x\nS 250\n", messages: 1},
		{name: "no size", why: "501; the end of the chunk cannot be found: closed", dialog: envelope + "C BDAT\nS 501 5.5.4\nEOF"},
		{name: "bad size", why: "octets behind it must not be taken for commands", dialog: envelope + "C+ BDAT -1 LAST\\r\\nMAIL FROM:<a@b>\\r\\n\nS 501 5.5.4\nEOF"},
		{name: "size that does not fit", why: "no overflow", dialog: envelope + "C BDAT 99999999999999999999\nS 501\nEOF"},
		{name: "BINARYMIME with DATA", why: "RFC 3030 §3: 503", dialog: hello + "C MAIL FROM:<a@b> BODY=BINARYMIME\nS 250\n" + rcpt + "C DATA\nS 503 5.5.1\nC BDAT 3 LAST\nC+ \\n\\x00\\r\nS 250\n", messages: 1},
		{name: "hidden", why: "502; a server that does not know BDAT does not know its chunk", setup: func(s *smtptest.Server) { s.Hide = []string{"chunking"} }, dialog: hello + "C MAIL FROM:<a@b> BODY=BINARYMIME\nS 501\n" + mail + rcpt + "C BDAT 6 LAST\nS 502 5.5.1\nC+ abc\\r\\n\nS 500\n"},
		{name: "DATA in parts of a session", why: "both ways may be mixed between transactions", dialog: envelope + "C BDAT 1 LAST\nC+ x\nS 250\n" + mail + rcpt + data + "C .\nS 250\n", messages: 2},
	})
}

func TestChunksByteExact(t *testing.T) {
	srv := smtptest.NewServer(t)
	conn := dialTest(t, srv)
	body := strings.Repeat("\r\n.\r\n\x00\xffQUIT\n", 20000)
	dialog(envelope).run(t, srv, conn)
	var out []byte
	for rest, n := body, 1; len(rest) > 0; n = n*3 + 1 {
		n = min(n, len(rest))
		out = smtpwire.AppendBDAT(out, int64(n), n == len(rest))
		out = append(out, rest[:n]...)
		rest = rest[n:]
	}
	go conn.Write(out)
	msgs, err := srv.Wait(t.Context(), 1)
	require.NoError(t, err)
	require.True(t, body == string(msgs[0].Data), "octets")
}

func TestLMTP(t *testing.T) {
	lmtp := func(s *smtptest.Server) { s.LMTP = true }
	small := func(s *smtptest.Server) { s.LMTP, s.MaxSize, s.MaxRecipients = true, 10, 3 }
	two := dialog(lhlo + mail + rcpt + "C RCPT TO:<c@example.org>\nS 250\n")
	runDialogs(t, []dialogTest{
		{name: "EHLO and HELO", why: "RFC 2033 §4.1: LHLO only", setup: lmtp, dialog: "C EHLO x\nS 500 5.5.1\nC HELO x\nS 500\nC MAIL FROM:<a@b>\nS 503\n" + lhlo + mail},
		{name: "a reply for each", why: "RFC 2033 §4.2", setup: lmtp, dialog: two + data + "C .\nS 250\nS 250\n" + quit, messages: 1},
		{name: "accepted ones only", why: "a refused RCPT has no reply", setup: lmtp, dialog: two + "C RCPT TO:<>\nS 501\n" + data + "C .\nS 250\nS 250\n" + quit, messages: 1},
		{name: "BDAT LAST", why: "RFC 2033 §4.3; one reply for other chunks", setup: lmtp, dialog: two + "C BDAT 1\nC+ x\nS 250\nC BDAT 1 LAST\nC+ y\nS 250\nS 250\n" + quit, messages: 1},
		{name: "DATA without RCPT", why: "RFC 2033 §4.2: must be 503", setup: lmtp, dialog: lhlo + mail + "C DATA\nS 503\n"},
		{name: "too big", why: "refused for each", setup: small, dialog: two + data + "C 1234567890\nC .\nS 552\nS 552\n" + mail},
		{name: "BDAT too big", why: "refused for each", setup: small, dialog: two + "C BDAT 11\nC+ 12345678901\nS 552\nC BDAT 0 LAST\nS 503\nS 503\n" + mail},
		{name: "too many recipients", why: "452 4.5.3", setup: small, dialog: two + rcpt + "C RCPT TO:<x@y>\nS 452 4.5.3\n" + data + "C .\nS 250\nS 250\nS 250\n" + quit, messages: 1},
	})
}
