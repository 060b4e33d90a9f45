package smtpwire_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

func TestParams(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
		ok   bool
		why  string
	}{
		{"", nil, true, "none"},
		{"SIZE=1 SMTPUTF8", []string{"SIZE=1", "SMTPUTF8"}, true, "RFC 5321 §4.1.2"},
		{"  a=b   C  ", []string{"a=b", "C"}, true, "case kept, spaces harmless"},
		{"AUTH=<>", []string{"AUTH=<>"}, true, "RFC 4954 §5"},
		{"ORCPT=rfc822;a+2Bb@c", []string{"ORCPT=rfc822;a+2Bb@c"}, true, "RFC 3461 §4.2"},
		{"ORCPT=utf-8;ü@c", []string{"ORCPT=utf-8;ü@c"}, true, "RFC 6533 §3"},
		{"8BIT-X=1", []string{"8BIT-X=1"}, true, "esmtp-keyword: letters, digits, hyphens"},
		{"A=", []string{"A="}, false, "a value has an octet"},
		{"=1", []string{"=1"}, false, "no key"},
		{"A=b=c", []string{"A=b=c"}, false, "no '=' in a value"},
		{"-A", []string{"-A"}, false, "a letter or digit first"},
		{"A_B", []string{"A_B"}, false, "no underscore"},
		{"A\r\nRSET", []string{"A\r\nRSET"}, false, "command injection"},
		{"A=b\r\nRSET", []string{"A=b\r\nRSET"}, false, "command injection"},
		{"A=1 B= C=2", []string{"A=1", "B=", "C=2"}, false, "in the middle"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			var got []string
			smtpwire.Params([]byte(tt.in), func(key, value []byte, hasValue bool) bool {
				s := string(key)
				if hasValue {
					s = fmt.Sprintf("%s=%s", key, value)
				}
				got = append(got, s)
				return true
			})
			assert.Equal(t, tt.want, got, tt.why)
			err := smtpwire.CheckParams([]byte(tt.in))
			if tt.ok {
				assert.NoError(t, err, tt.why)
			} else {
				assert.ErrorIs(t, err, smtpwire.ErrParamSyntax, tt.why)
			}
		})
	}
	n := 0
	smtpwire.Params([]byte("A B C"), func(_, _ []byte, _ bool) bool { n++; return n < 2 })
	assert.Equal(t, 2, n, "false ends it")
}

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64
		ok   bool
		why  string
	}{
		{"0", 0, true, "RFC 1870 §4"},
		{"500000", 500000, true, "§4"},
		{"9223372036854775807", math.MaxInt64, true, "the largest int64"},
		{"9223372036854775808", math.MaxInt64, true, "more exceeds every limit too"},
		{"99999999999999999999", math.MaxInt64, true, "20 digits, and no wrap-around"},
		{"00000000000000000001", 1, true, "20 digits"},
		{"100000000000000000000", 0, false, "21 digits"},
		{"", 0, false, "no digit"},
		{"-1", 0, false, "digits only"},
		{"1k", 0, false, "digits only"},
	} {
		n, err := smtpwire.ParseSize([]byte(tt.in))
		assert.Equal(t, tt.ok, err == nil, "%q: %s", tt.in, tt.why)
		assert.Equal(t, tt.want, n, "%q: %s", tt.in, tt.why)
	}
}

func TestXtext(t *testing.T) {
	for _, tt := range []struct{ plain, xtext, why string }{
		{"", "", "nothing"},
		{"a@b.org", "a@b.org", "nothing to do"},
		{"e=mc2@example.com", "e+3Dmc2@example.com", "RFC 4954 §5's example"},
		{"a+b c", "a+2Bb+20c", "the two that have a meaning, and space"},
		{"\x00\r\n\x7f\xff", "+00+0D+0A+7F+FF", "all that is not %d33-126"},
	} {
		assert.Equal(t, "x"+tt.xtext, string(smtpwire.AppendXtext([]byte("x"), tt.plain)), tt.why)
		out, err := smtpwire.AppendXtextDecoded([]byte("x"), []byte(tt.xtext))
		assert.NoError(t, err, tt.why)
		assert.Equal(t, "x"+tt.plain, string(out), tt.why)
	}
	out, err := smtpwire.AppendXtextDecoded(nil, []byte("a+2bb"))
	assert.NoError(t, err, "lower case is taken")
	assert.Equal(t, "a+b", string(out))
	for in, why := range map[string]string{
		"a b": "a space ends the parameter", "a=b": "'=' is encoded", "+": "no digits", "a+2": "one digit", "+2G": "no hex digit",
		"+G2": "no hex digit", "\xff": "above 126", "a\r": "control",
	} {
		out, err := smtpwire.AppendXtextDecoded([]byte("x"), []byte(in))
		assert.ErrorIs(t, err, smtpwire.ErrXtextSyntax, "%q: %s", in, why)
		assert.Equal(t, "x", string(out), "%q: dst as it was", in)
	}
}
