package smtpwire_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

func TestParseCommand(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		verb       smtpwire.Verb
		arg        string
		err        error
		why        string
	}{
		{"argument", "MAIL FROM:<a@b> SIZE=1", smtpwire.MAIL, "FROM:<a@b> SIZE=1", nil, "the usual"},
		{"none", "DATA", smtpwire.DATA, "", nil, "no argument"},
		{"lower case", "ehlo Host", smtpwire.EHLO, "Host", nil, "§2.4: verbs have no case, arguments keep theirs"},
		{"mixed case", "StartTLS", smtpwire.STARTTLS, "", nil, "§2.4"},
		{"trailing space", "QUIT \t ", smtpwire.QUIT, "", nil, "§4.1.1: white space at the end is tolerated"},
		{"trailing space after argument", "HELO a ", smtpwire.HELO, "a", nil, "§4.1.1"},
		{"several spaces", "HELO   a", smtpwire.HELO, "a", nil, "wrong and harmless"},
		{"tab between", "MAIL\tFROM:<a@b>", smtpwire.Unknown, "", nil, "the grammar has SP"},
		{"tab in the argument", "NOOP a\tb", smtpwire.NOOP, "a\tb", nil, "the argument is anything"},
		{"space before", " QUIT", smtpwire.Unknown, "QUIT", nil, "the grammar starts with the verb"},
		{"unknown", "FOO bar", smtpwire.Unknown, "bar", nil, "500 is for the server to say"},
		{"unknown of four letters", "FOOL bar", smtpwire.Unknown, "bar", nil, "the fast path must look at each letter"},
		{"folds to a letter", "\x0dAIL", 0, "", smtpwire.ErrControl, "clearing bit 5 must not make an M"},
		{"high bit", "\xcdAIL", smtpwire.Unknown, "", nil, "nor an octet above 127"},
		{"Kelvin sign", "\u212aELO", smtpwire.Unknown, "", nil, "nor what Unicode folds to a K"},
		{"prefix", "MAILX", smtpwire.Unknown, "", nil, "a verb ends at a space"},
		{"too short", "MAI", smtpwire.Unknown, "", nil, "three letters"},
		{"empty", "", smtpwire.Unknown, "", nil, "an empty line is a command that is not known"},
		{"space", " ", smtpwire.Unknown, "", nil, "so is this"},
		{"BDAT", "BDAT 10 LAST", smtpwire.BDAT, "10 LAST", nil, "RFC 3030"},
		{"XCLIENT", "xclient ADDR=::1", smtpwire.XCLIENT, "ADDR=::1", nil, "Postfix"},
		{"UTF-8", "VRFY grüß SMTPUTF8", smtpwire.VRFY, "grüß SMTPUTF8", nil, "RFC 6531"},
		{"NUL", "MAIL FROM:<a\x00@b>", 0, "", smtpwire.ErrControl, "what a C server would see ends here"},
		{"NUL late", "MAIL FROM:<aaaaaaaaaaaaaaaaaaaaaaa\x00@b>", 0, "", smtpwire.ErrControl, "in any eight octets"},
		{"bare CR", "NOOP\rMAIL", 0, "", smtpwire.ErrControl, "§2.3.8"},
		{"LF", "NOOP\nMAIL", 0, "", smtpwire.ErrControl, "not a line"},
		{"DEL", "NOOP aaaaaaaa\x7f", 0, "", smtpwire.ErrControl, "not printable"},
		{"tab among eight", "NOOP a\tbcdefghi", smtpwire.NOOP, "a\tbcdefghi", nil, "the fast check stops and looks again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := smtpwire.ParseCommand([]byte(tt.line))
			require.ErrorIs(t, err, tt.err, tt.why)
			assert.Equal(t, tt.verb, c.Verb, tt.why)
			assert.Equal(t, tt.arg, string(c.Arg), tt.why)
		})
	}
	for v := smtpwire.HELO; v <= smtpwire.XCLIENT; v++ {
		for _, line := range []string{v.String(), strings.ToLower(v.String()), v.String() + " x"} {
			c, err := smtpwire.ParseCommand([]byte(line))
			assert.NoError(t, err)
			assert.Equal(t, v, c.Verb, "%q: each verb is known", line)
		}
	}
	for c := range 256 { // at every place of eight octets
		for i := range 16 {
			line := []byte("NOOP 6789abcdefghi")
			line[i+1] = byte(c)
			_, err := smtpwire.ParseCommand(line)
			control := c < ' ' && c != '\t' || c == 0x7f
			assert.Equal(t, control, err != nil, "%q", line)
		}
	}
	assert.Equal(t, "", smtpwire.Verb(200).String(), "a verb that is none does not panic")
}

func TestParseBDAT(t *testing.T) {
	for _, tt := range []struct {
		arg  string
		n    int64
		last bool
		ok   bool
		why  string
	}{
		{"0", 0, false, true, "RFC 3030 §2"},
		{"86", 86, false, true, "§4.1"},
		{"86 LAST", 86, true, true, "§4.1"},
		{"86 last", 86, true, true, "keywords have no case"},
		{"86   LAST", 86, true, true, "harmless"},
		{"0 LAST", 0, true, true, "§2: the last chunk may be empty"},
		{"007", 7, false, true, "1*DIGIT"},
		{"9223372036854775807", math.MaxInt64, false, true, "must be skipped, so must be understood"},
		{"9223372036854775808", 0, false, false, "overflow"},
		{"9999999999999999999", 0, false, false, "overflow"},
		{"99999999999999999999", 0, false, false, "overflow"},
		{"18446744073709551617", 0, false, false, "wraps to 1 in 64 bits: smuggling"},
		{"", 0, false, false, "no size"},
		{"LAST", 0, false, false, "no size"},
		{"-1", 0, false, false, "digits only"},
		{"+1", 0, false, false, "digits only"},
		{"0x10", 0, false, false, "digits only"},
		{"1 FIRST", 0, false, false, "only LAST"},
		{"1 LAST LAST", 0, false, false, "once"},
		{"1 LAS", 0, false, false, "in full"},
		{"1LAST", 0, false, false, "with a space"},
	} {
		t.Run(tt.arg, func(t *testing.T) {
			n, last, err := smtpwire.ParseBDAT([]byte(tt.arg))
			assert.Equal(t, tt.ok, err == nil, tt.why)
			assert.Equal(t, tt.n, n, tt.why)
			assert.Equal(t, tt.last, last, tt.why)
		})
	}
}

func TestCommandDoesNotAllocate(t *testing.T) {
	var out []byte
	params := []byte("SIZE=1024 BODY=8BITMIME AUTH=a+2Bb")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		out = smtpwire.AppendMail(out[:0], "loadtest@example.org", "SIZE=1024 BODY=8BITMIME")
		c, err := smtpwire.ParseCommand(out[:len(out)-2])
		if err != nil || c.Verb != smtpwire.MAIL {
			t.Fatal(c, err)
		}
		path, p, err := smtpwire.ParseMail(c.Arg)
		if err != nil || len(path) != 20 || smtpwire.CheckPath(path, false) != nil || smtpwire.CheckParams(p) != nil {
			t.Fatal(path, p, err)
		}
		var size int64
		smtpwire.Params(params, func(key, value []byte, _ bool) bool {
			if smtpwire.EqualFold(key, "SIZE") {
				size, _ = smtpwire.ParseSize(value)
			}
			return true
		})
		if size != 1024 {
			t.Fatal(size)
		}
		out = smtpwire.AppendRcpt(out[:0], `"a b"@example.org`, "")
		c, _ = smtpwire.ParseCommand(out[:len(out)-2])
		if path, _, err = smtpwire.ParseRcpt(c.Arg); err != nil {
			t.Fatal(path, err)
		}
		out = smtpwire.AppendBDAT(out[:0], 1024, true)
		c, _ = smtpwire.ParseCommand(out[:len(out)-2])
		if n, last, err := smtpwire.ParseBDAT(c.Arg); n != 1024 || !last || err != nil {
			t.Fatal(n, last, err)
		}
		out = smtpwire.AppendXtext(out[:0], "a+b@example.org")
		if out, err = smtpwire.AppendXtextDecoded(out[:0], out); err != nil {
			t.Fatal(err)
		}
	}))
}
