package smtpwire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

func TestParsePath(t *testing.T) {
	local64, domain := strings.Repeat("a", 64), strings.Repeat("d", 185)+".org"
	for _, tt := range []struct {
		name, arg    string // without FROM: or TO:
		path, params string
		err          error
		why          string
	}{
		{"mailbox", "<a@b.org>", "a@b.org", "", nil, "the usual"},
		{"parameters", "<a@b> SIZE=1 BODY=8BITMIME", "a@b", "SIZE=1 BODY=8BITMIME", nil, "§4.1.1.11"},
		{"several spaces before parameters", "<a@b>   SIZE=1", "a@b", "SIZE=1", nil, "harmless"},
		{"no space before parameters", "<a@b>SIZE=1", "", "", smtpwire.ErrPathSyntax, "who knows what is meant"},
		{"space after the colon", " <a@b>", "a@b", "", nil, "against the grammar, and in every log"},
		{"no brackets", "a@b", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"no closing bracket", "<a@b", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"nothing", "", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"two brackets", "<<a@b>>", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"Postmaster", "<Postmaster>", "Postmaster", "", nil, "§4.1.1.3: needs no domain"},
		{"local name", "<root>", "root", "", nil, "every server takes them"},
		{"case", "<aB@cD>", "aB@cD", "", nil, "§2.4: kept"},
		{"atext", "<!#$%&'*+-/=?^_`{|}~@b>", "!#$%&'*+-/=?^_`{|}~@b", "", nil, "§4.1.2 atext"},
		{"dots anywhere", "<.a..b.@c>", ".a..b.@c", "", nil, "against the grammar, and in use by telephones of a provider"},
		{"no local part", "<@b>", "", "", smtpwire.ErrPathSyntax, "neither mailbox nor route"},
		{"no domain", "<a@>", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"two ats", "<a@b@c>", "", "", smtpwire.ErrPathSyntax, "needs quoting"},
		{"space", "<a b@c>", "", "", smtpwire.ErrPathSyntax, "needs quoting"},
		{"comma", "<a,b@c>", "", "", smtpwire.ErrPathSyntax, "needs quoting"},
		{"brackets inside", "<a>b@c>", "", "", smtpwire.ErrPathSyntax, "needs quoting"},

		{"quoted", `<"a b"@c>`, `"a b"@c`, "", nil, "§4.1.2 quoted-string"},
		{"quoted bracket", `<"a>b"@c> X=1`, `"a>b"@c`, "X=1", nil, "the first '>' is not the end"},
		{"quoted at", `<"a@b"@c>`, `"a@b"@c`, "", nil, "the first '@' is not the one"},
		{"quoted quote", `<"a\"b"@c>`, `"a\"b"@c`, "", nil, "quoted-pair"},
		{"quoted quote and bracket", `<"a\">"@c>`, `"a\">"@c`, "", nil, "the quoted quote does not close"},
		{"quoted backslash", `<"a\\"@c>`, `"a\\"@c`, "", nil, "the quoted backslash quotes nothing"},
		{"quoted, empty", `<""@c>`, `""@c`, "", nil, "*QcontentSMTP"},
		{"quoted, alone", `<"a b">`, `"a b"`, "", nil, "a local name"},
		{"quoted, not closed", `<"a@c>`, "", "", smtpwire.ErrPathSyntax, "no end at all"},
		{"quoted, backslash at the end", `<"a\"@c>`, "", "", smtpwire.ErrPathSyntax, "the closing quote is quoted"},
		{"quoted, text after", `<"a"b@c>`, "", "", smtpwire.ErrPathSyntax, "only '@' may follow"},
		{"quoted twice", `<"a"@"b"@c>`, "", "", smtpwire.ErrPathSyntax, "one local-part"},
		{"quote inside", `<a"b"@c>`, "", "", smtpwire.ErrPathSyntax, "all of it or nothing"},
		{"quoted tab", "<\"a\tb\"@c>", "", "", smtpwire.ErrPathSyntax, "qtextSMTP has no controls"},

		{"IPv4", "<a@[192.0.2.1]>", "a@[192.0.2.1]", "", nil, "§4.1.3"},
		{"IPv6", "<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "", nil, "§4.1.3"},
		{"IPv6, case", "<a@[ipv6:::1]>", "a@[ipv6:::1]", "", nil, "tags have no case"},
		{"tag", "<a@[x-tag:y]>", "a@[x-tag:y]", "", nil, "§4.1.3 General-address-literal"},
		{"IPv6 without tag", "<a@[::1]>", "", "", smtpwire.ErrPathSyntax, "§4.1.3: the tag is required"},
		{"IPv6 zone", "<a@[IPv6:fe80::1%lo]>", "", "", smtpwire.ErrPathSyntax, "means nothing to another host"},
		{"IPv4 out of range", "<a@[192.0.2.256]>", "", "", smtpwire.ErrPathSyntax, "no address"},
		{"literal, empty", "<a@[]>", "", "", smtpwire.ErrPathSyntax, "no address"},
		{"literal, not closed", "<a@[192.0.2.1>", "", "", smtpwire.ErrPathSyntax, "§4.1.3"},
		{"literal, text after", "<a@[192.0.2.1]b>", "", "", smtpwire.ErrPathSyntax, "§4.1.3"},
		{"literal, space", "<a@[tag:x y]>", "", "", smtpwire.ErrPathSyntax, "dcontent has none"},

		{"hyphen in domain", "<a@b-c.org>", "a@b-c.org", "", nil, "§4.1.2 Ldh-str"},
		{"underscore", "<a@_b.org>", "a@_b.org", "", nil, "not in the grammar and in use"},
		{"dot at the end", "<a@b.org.>", "a@b.org.", "", nil, "a fully qualified name"},
		{"hyphen first", "<a@-b>", "", "", smtpwire.ErrPathSyntax, "§4.1.2: Let-dig first"},
		{"hyphen last", "<a@b->", "", "", smtpwire.ErrPathSyntax, "§4.1.2: Let-dig last"},
		{"hyphen last in label", "<a@b-.c>", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"hyphen first in label", "<a@b.-c>", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"empty label", "<a@b..c>", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"dot", "<a@.>", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"dot first", "<a@.b>", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},
		{"slash", "<a@b/c>", "", "", smtpwire.ErrPathSyntax, "§4.1.2"},

		{"source route", "<@x,@y.org:a@b>", "a@b", "", nil, "§4.1.1.3, Appendix C: accepted and ignored"},
		{"source route of one", "<@x:a@b> X", "a@b", "X", nil, "Appendix C"},
		{"source route, quoted", `<@x:"@y:a"@b>`, `"@y:a"@b`, "", nil, "the local-part is not a route"},
		{"source route, no mailbox", "<@x:>", "", "", smtpwire.ErrPathSyntax, "§4.1.2 Path"},
		{"source route, no at", "<@x,y:a@b>", "", "", smtpwire.ErrPathSyntax, "§4.1.2 A-d-l"},
		{"source route, no domain", "<@:a@b>", "", "", smtpwire.ErrPathSyntax, "§4.1.2 At-domain"},
		{"source route, comma at the end", "<@x,:a@b>", "", "", smtpwire.ErrPathSyntax, "§4.1.2 A-d-l"},

		{"UTF-8", "<grüß@пример.рф>", "grüß@пример.рф", "", nil, "RFC 6531; CheckPath decides"},
		{"longest local-part", "<" + local64 + "@b>", local64 + "@b", "", nil, "§4.5.3.1.1"},
		{"local-part too long", "<" + local64 + "a@b>", "", "", smtpwire.ErrPathTooLong, "§4.5.3.1.1"},
		{"longest path", "<" + local64 + "@" + domain + ">", local64 + "@" + domain, "", nil, "§4.5.3.1.3: 256 with the brackets"},
		{"path too long", "<" + local64 + "@d" + domain + ">", "", "", smtpwire.ErrPathTooLong, "§4.5.3.1.3"},
		{"domain too long", "<a@" + strings.Repeat("d.", 128) + ">", "", "", smtpwire.ErrPathTooLong, "§4.5.3.1.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, params, err := smtpwire.ParseRcpt([]byte("TO:" + tt.arg))
			require.ErrorIs(t, err, tt.err, tt.why)
			assert.Equal(t, tt.path, string(path), tt.why)
			assert.Equal(t, tt.params, string(params), tt.why)

			path, params, err = smtpwire.ParseMail([]byte("from:" + tt.arg))
			require.ErrorIs(t, err, tt.err, "MAIL is as RCPT is")
			assert.Equal(t, tt.path+" "+tt.params, string(path)+" "+string(params), "MAIL is as RCPT is")

			if err == nil {
				assert.NoError(t, smtpwire.CheckAddress(tt.path), "what a server takes a client may send")
			}
		})
	}
}

func TestNullPath(t *testing.T) {
	path, params, err := smtpwire.ParseMail([]byte("FROM:<> BODY=8BITMIME"))
	require.NoError(t, err, "§4.5.5: the null reverse-path")
	assert.Empty(t, path)
	assert.Equal(t, "BODY=8BITMIME", string(params))
	_, _, err = smtpwire.ParseRcpt([]byte("TO:<>"))
	assert.ErrorIs(t, err, smtpwire.ErrPathSyntax, "there is no null forward-path")
	_, _, err = smtpwire.ParseMail([]byte("TO:<a@b>"))
	assert.ErrorIs(t, err, smtpwire.ErrPathSyntax, "the wrong keyword")
	_, _, err = smtpwire.ParseMail([]byte("FROM <a@b>"))
	assert.ErrorIs(t, err, smtpwire.ErrPathSyntax, "no colon")
	_, _, err = smtpwire.ParseMail(nil)
	assert.ErrorIs(t, err, smtpwire.ErrPathSyntax, "no argument")
}

func TestCheckPath(t *testing.T) {
	assert.NoError(t, smtpwire.CheckPath([]byte("a@b"), false))
	assert.ErrorIs(t, smtpwire.CheckPath([]byte("ü@b"), false), smtpwire.ErrNonASCII, "RFC 6531 §3.3: only with SMTPUTF8")
	assert.NoError(t, smtpwire.CheckPath([]byte("ü@b"), true))
	assert.ErrorIs(t, smtpwire.CheckPath([]byte("\xfc@b"), true), smtpwire.ErrPathSyntax, "Latin-1 is not UTF-8")
	assert.NoError(t, smtpwire.CheckPath(nil, false), "the null reverse-path")
}

func TestCheckAddress(t *testing.T) {
	for _, tt := range []struct {
		address string
		err     error
		why     string
	}{
		{"a@b", nil, "the usual"},
		{`"a b>"@c`, nil, "quoted"},
		{"ü@b", nil, "with SMTPUTF8; NeedsUTF8 says so"},
		{"", smtpwire.ErrPathSyntax, "the null path is not an address"},
		{"a@b>\r\nDATA", smtpwire.ErrPathSyntax, "command injection"},
		{"a@b\n", smtpwire.ErrPathSyntax, "command injection"},
		{"\"a\r\nRSET\"@b", smtpwire.ErrPathSyntax, "command injection, quoted"},
		{"a@b> SIZE=1", smtpwire.ErrPathSyntax, "parameter injection"},
		{"<a@b>", smtpwire.ErrPathSyntax, "the brackets are ours"},
		{"A <a@b>", smtpwire.ErrPathSyntax, "a header's form"},
		{"@x:a@b", smtpwire.ErrPathSyntax, "§4.1.1.3: clients should not send routes"},
		{"\xff@b", smtpwire.ErrPathSyntax, "not UTF-8"},
		{strings.Repeat("a", 65) + "@b", smtpwire.ErrPathTooLong, "§4.5.3.1.1"},
	} {
		assert.ErrorIs(t, smtpwire.CheckAddress(tt.address), tt.err, "%q: %s", tt.address, tt.why)
	}
	assert.True(t, smtpwire.NeedsUTF8("a@ü"))
	assert.False(t, smtpwire.NeedsUTF8("a@b"))
}
