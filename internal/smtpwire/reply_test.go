package smtpwire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

const ehloReply = "250-mail.example.org greets you\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n" +
	"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"

func TestParseReply(t *testing.T) {
	long := strings.Repeat("x", smtpwire.MaxReply)
	for _, tt := range []struct {
		name, in string
		code     int
		n        int // 0: more is needed, or err
		enhanced string
		text     string
		err      error
		why      string
	}{
		{name: "one line", in: "250 Ok\r\n", code: 250, n: 8, text: "Ok", why: "the usual"},
		{name: "two lines", in: "250-a\r\n250 b\r\n", code: 250, n: 14, text: "a\nb", why: "RFC 5321 §4.2.1"},
		{name: "pipelined", in: "250 a\r\n354 b\r\n", code: 250, n: 7, text: "a", why: "RFC 2920: several replies in one read; only the first is taken"},
		{name: "code only", in: "250\r\n", code: 250, n: 5, why: "§4.2: clients must accept a missing SP and text"},
		{name: "code and SP", in: "250 \r\n", code: 250, n: 6, why: "the last line of smtp-sink's EHLO reply"},
		{name: "code and hyphen", in: "250-\r\n250 b\r\n", code: 250, n: 13, text: "\nb", why: "an empty line of a multi-line reply"},
		{name: "code only ends", in: "250-a\r\n250\r\n", code: 250, n: 12, text: "a\n", why: "§4.2.1: a code alone is the last line"},
		{name: "bare LF", in: "250 a\n", code: 250, n: 6, text: "a", why: "old servers; nothing can be smuggled by a reply line"},
		{name: "two CRs", in: "250 a\r\r\n", code: 250, n: 8, text: "a?", why: "one CR belongs to the line end, the other is text"},
		{name: "CR inside", in: "250 a\rb\r\n", code: 250, n: 9, text: "a?b", why: "a bare CR ends no line"},
		{name: "NUL inside", in: "250 a\x00b\r\n", code: 250, n: 9, text: "a?b", why: "octets in the text cannot hurt until somebody prints them"},
		{name: "escape sequence", in: "550 \x1b[2J\xc2\x9bm\r\n", code: 550, n: 13, text: "?[2J?m", why: "a server must not reach the user's terminal, by C1 controls neither"},
		{name: "not UTF-8", in: "550 a\xffb\r\n", code: 550, n: 9, text: "a?b", why: "Latin-1 texts"},
		{name: "UTF-8", in: "550 grüß\r\n", code: 550, n: 12, text: "grüß", why: "RFC 6531 §3.7.4.2 lets replies have it"},
		{name: "unknown code", in: "299 a\r\n", code: 299, n: 7, text: "a", why: "§4.3.2: act on the first digit"},
		{name: "second digit", in: "571 a\r\n", code: 571, n: 7, text: "a", why: "outside the grammar's 0 to 5 and sent by real servers"},

		{name: "enhanced", in: "451 4.7.1 Try later\r\n", code: 451, n: 21, enhanced: "4.7.1", text: "4.7.1 Try later", why: "RFC 2034"},
		{name: "enhanced long", in: "550 5.123.456 a\r\n", code: 550, n: 17, enhanced: "5.123.456", text: "5.123.456 a", why: "RFC 3463 §2: up to three digits"},
		{name: "enhanced alone", in: "250 2.0.0\r\n", code: 250, n: 11, enhanced: "2.0.0", text: "2.0.0", why: "no text after it"},
		{name: "enhanced class differs", in: "550 4.7.1 a\r\n", code: 550, n: 13, text: "4.7.1 a", why: "RFC 2034 §4: class and code must agree"},
		{name: "version, not enhanced", in: "220 2.0.0.1 is my version\r\n", code: 220, n: 27, text: "2.0.0.1 is my version", why: "four parts are no status code"},
		{name: "address, not enhanced", in: "250 2.0.0-x\r\n", code: 250, n: 13, text: "2.0.0-x", why: "a space must follow"},
		{name: "four digits, not enhanced", in: "250 2.0.1000 x\r\n", code: 250, n: 16, text: "2.0.1000 x", why: "three digits at most"},
		{name: "354 has none", in: "354 3.0.0 go\r\n", code: 354, n: 14, text: "3.0.0 go", why: "RFC 3463 knows no class 3"},
		{name: "enhanced on the first line only", in: "550-5.7.1 a\r\n550 b\r\n", code: 550, n: 20, enhanced: "5.7.1", text: "5.7.1 a\nb", why: "some servers"},
		{name: "enhanced on the last line only", in: "550-a\r\n550 5.7.1 b\r\n", code: 550, n: 20, enhanced: "5.7.1", text: "a\n5.7.1 b", why: "some others"},

		{name: "nothing yet", in: "", why: "more is needed"},
		{name: "partial code", in: "25", why: "PEERS §11: a partial reply line"},
		{name: "partial line", in: "250 Ok", why: "no line end yet"},
		{name: "partial line end", in: "250 Ok\r", why: "the LF may follow"},
		{name: "code and CR", in: "250\r", why: "the LF may follow"},
		{name: "last line missing", in: "250-a\r\n", why: "the hyphen announces another"},
		{name: "last line partial", in: "250-a\r\n250 b", why: "the second line has no end yet"},

		{name: "codes differ", in: "250-a\r\n550 b\r\n", err: smtpwire.ErrReplySyntax, why: "§4.2.1: the same code on all lines"},
		{name: "1xx", in: "150 a\r\n", err: smtpwire.ErrReplySyntax, why: "no such class in SMTP: nothing to act on"},
		{name: "6xx", in: "650 a\r\n", err: smtpwire.ErrReplySyntax, why: "no such class"},
		{name: "000", in: "000 a\r\n", err: smtpwire.ErrReplySyntax, why: "no such class"},
		{name: "letters", in: "2a0 a\r\n", err: smtpwire.ErrReplySyntax, why: "digits only"},
		{name: "short code", in: "25 a\r\n", err: smtpwire.ErrReplySyntax, why: "three digits"},
		{name: "short line", in: "25\r\n", err: smtpwire.ErrReplySyntax, why: "three digits"},
		{name: "long code", in: "2500 a\r\n", err: smtpwire.ErrReplySyntax, why: "three digits"},
		{name: "code CR", in: "250\ra\r\n", err: smtpwire.ErrReplySyntax, why: "a bare CR is no separator"},
		{name: "tab", in: "250\ta\r\n", err: smtpwire.ErrReplySyntax, why: "nor is a tab"},
		{name: "empty line", in: "\r\n", err: smtpwire.ErrReplySyntax, why: "no code"},
		{name: "empty line between", in: "250-a\r\n\r\n250 b\r\n", err: smtpwire.ErrReplySyntax, why: "every line has a code"},
		{name: "HTTP", in: "HTTP/1.1 400 Bad Request", err: smtpwire.ErrReplySyntax, why: "another protocol, told without its line end"},
		{name: "TLS alert", in: "\x15\x03\x01\x00\x02", err: smtpwire.ErrReplySyntax, why: "implicit TLS spoken to in plaintext: no LF may ever come"},
		{name: "garbage in the second line", in: "250-a\r\nxyz", err: smtpwire.ErrReplySyntax, why: "told without its line end"},

		{name: "longest", in: "250 " + long[:smtpwire.MaxReply-6] + "\r\n", code: 250, n: smtpwire.MaxReply, text: long[:smtpwire.MaxReply-6], why: "the limit is inclusive"},
		{name: "too long by one", in: "250 " + long[:smtpwire.MaxReply-5] + "\r\n", err: smtpwire.ErrReplyTooLong, why: "the limit"},
		{name: "too long, unfinished", in: "250 " + long, err: smtpwire.ErrReplyTooLong, why: "memory is bounded before the line ends"},
		{name: "not yet too long", in: "250 " + long[:smtpwire.MaxReply-5], why: "one octet more may be the LF"},
		{name: "too many lines", in: strings.Repeat("250-a\r\n", smtpwire.MaxReply), err: smtpwire.ErrReplyTooLong, why: "the limit is for all lines together"},
		{name: "short one before a long one", in: "250 a\r\n250 " + long, code: 250, n: 7, text: "a", why: "the buffer may be longer than MaxReply, only the reply may not"},
		{name: "many short ones", in: strings.Repeat("250 a\r\n", smtpwire.MaxReply), code: 250, n: 7, text: "a", why: "a deep pipeline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, n, err := smtpwire.ParseReply([]byte(tt.in))
			require.ErrorIs(t, err, tt.err, tt.why)
			assert.Equal(t, tt.n, n, tt.why)
			assert.Equal(t, tt.code, r.Code, tt.why)
			assert.Equal(t, tt.enhanced, r.Enhanced.String(), tt.why)
			assert.Equal(t, tt.text, r.Text(), tt.why)
			for i := range len(tt.in) {
				if tt.n > 0 && i < tt.n {
					_, n, err := smtpwire.ParseReply([]byte(tt.in[:i]))
					require.NoError(t, err, "after %d octets", i)
					require.Zero(t, n, "after %d octets", i)
				}
				if i > 100 {
					break
				}
			}
		})
	}
}

func TestAppendReply(t *testing.T) {
	for _, tt := range []struct {
		name     string
		code     int
		enhanced smtpwire.EnhancedCode
		text     string
		want     string
		why      string
	}{
		{"plain", 250, smtpwire.EnhancedCode{}, "Ok", "250 Ok\r\n", "greeting and EHLO have no enhanced code"},
		{"enhanced", 451, smtpwire.EnhancedCode{4, 7, 1}, "Later", "451 4.7.1 Later\r\n", "RFC 2034"},
		{"lines", 550, smtpwire.EnhancedCode{5, 7, 1}, "a\nb", "550-5.7.1 a\r\n550 5.7.1 b\r\n", "RFC 2034 §4: on each line"},
		{"CRLF", 250, smtpwire.EnhancedCode{}, "a\r\nb", "250-a\r\n250 b\r\n", "both line ends are meant by users"},
		{"empty", 250, smtpwire.EnhancedCode{}, "", "250 \r\n", "the SP is required of servers"},
		{"bare CR", 250, smtpwire.EnhancedCode{}, "a\rb", "250 a?b\r\n", "response splitting by a user's text"},
		{"control", 250, smtpwire.EnhancedCode{}, "a\x00\x7f\tb", "250 a??\tb\r\n", "§4.2: textstring is HT and %d32-126"},
		{"UTF-8", 550, smtpwire.EnhancedCode{}, "grüß", "550 grüß\r\n", "RFC 6531"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := smtpwire.AppendReply([]byte("x"), tt.code, tt.enhanced, tt.text)
			assert.Equal(t, "x"+tt.want, string(out), tt.why)
			r, n, err := smtpwire.ParseReply(out[1:])
			require.NoError(t, err)
			assert.Equal(t, len(tt.want), n)
			assert.Equal(t, tt.code, r.Code)
			assert.Equal(t, tt.enhanced, r.Enhanced)
		})
	}
}

func TestReplyKeywords(t *testing.T) {
	in := "250-PIPELINING is my name\r\n250-pipelining\r\n250-Size 1000 \r\n250-AUTH=LOGIN PLAIN\r\n250-AUTH  PLAIN  LOGIN\r\n" +
		"250-X_BAD 1\r\n250--bad\r\n250-8BITMIME\r\n250 \r\n"
	r, n, err := smtpwire.ParseReply([]byte(in))
	require.NoError(t, err)
	require.Equal(t, len(in), n)
	var got []string
	for keyword, args := range r.Keywords {
		got = append(got, string(keyword)+"|"+string(args))
	}
	assert.Equal(t, []string{"pipelining|", "Size|1000", "AUTH|LOGIN PLAIN", "AUTH|PLAIN  LOGIN", "8BITMIME|"}, got,
		"not the first line (RFC 5321 §4.1.1.1), not what is no keyword, and AUTH= for AUTH")
	for keyword := range r.Keywords {
		assert.True(t, smtpwire.EqualFold(keyword, "PIPELINING"))
		break // and the iteration ends, or this panics
	}
}

func TestReplyDoesNotAllocate(t *testing.T) {
	in := []byte(ehloReply)
	rejection := []byte("550-5.7.1 No\r\n550 5.7.1 Not here\r\n")
	var out []byte
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		r, _, _ := smtpwire.ParseReply(in)
		count := 0
		r.Keywords(func(keyword, _ []byte) bool {
			if smtpwire.EqualFold(keyword, "SIZE") {
				count++
			}
			return true
		})
		if count != 1 {
			t.Fatal("SIZE not found")
		}
		r, _, _ = smtpwire.ParseReply(rejection)
		if r.Enhanced != (smtpwire.EnhancedCode{5, 7, 1}) {
			t.Fatal(r.Enhanced)
		}
		if _, _, err := smtpwire.ParseReply([]byte("HTTP")); err == nil {
			t.Fatal("accepted")
		}
		out = smtpwire.AppendReply(out[:0], 451, smtpwire.EnhancedCode{4, 7, 1}, "Try later\nor never")
	}))
}
