package smtptest_test

import (
	"testing"

	"github.com/benchmail/benchmail/smtptest"
)

func TestCommands(t *testing.T) {
	runDialogs(t, []dialogTest{
		{name: "EHLO", why: "the enhanced status code is missing in its reply: RFC 2034 §4", dialog: "C EHLO x\nS 250 HELP\n" + quit},
		{name: "HELO", why: "one line", dialog: "C HELO x\nS 250 localhost\n" + quit},
		{name: "lower case", why: "verbs are case-insensitive: RFC 5321 §2.4", dialog: "C ehlo x\nS 250\nC mail from:<a@b>\nS 250\nC rcpt to:<c@d>\nS 250\nC quit\nS 221\nEOF"},
		{name: "EHLO without a name", why: "the argument is mandatory: RFC 5321 §4.1.1.1", dialog: "C EHLO\nS 501 5.5.4\nC HELO\nS 501 5.5.4\nC EHLO x\nS 250\n"},
		{name: "LHLO to SMTP", why: "another protocol", dialog: "C LHLO x\nS 500 5.5.1\n"},
		{name: "MAIL before EHLO", why: "RFC 5321 §4.1.4: EHLO comes first", dialog: "C MAIL FROM:<a@b>\nS 503 5.5.1\n"},
		{name: "allowed before EHLO", why: "RFC 5321 §4.1.4: NOOP, HELP, EXPN, VRFY, RSET", dialog: "C NOOP\nS 250 2.0.0\nC RSET\nS 250 2.0.0\nC VRFY x\nS 252\nC HELP\nS 214\nC EXPN x\nS 502\n" + quit},
		{name: "RCPT without MAIL", why: "order", dialog: hello + "C RCPT TO:<b@c>\nS 503 5.5.1\n"},
		{name: "DATA without MAIL", why: "order", dialog: hello + "C DATA\nS 503 5.5.1\n"},
		{name: "DATA without RCPT", why: "RFC 5321 §3.3 allows 503 and 554", dialog: hello + mail + "C DATA\nS 503 5.5.1\nC RSET\nS 250\n"},
		{name: "nested MAIL", why: "RFC 5321 §4.1.4: 503", dialog: hello + mail + "C MAIL FROM:<a@b>\nS 503 5.5.1\n" + rcpt},
		{name: "RSET", why: "it ends the transaction, not the session", dialog: envelope + "C RSET\nS 250\nC RCPT TO:<a@b>\nS 503\n" + mail},
		{name: "EHLO in a transaction", why: "is a RSET: RFC 5321 §4.1.4", dialog: envelope + hello + "C DATA\nS 503\n" + mail},
		{name: "refused EHLO in a transaction", why: "RFC 5321 §4.1.4: a refused one changes nothing", dialog: envelope + "C EHLO\nS 501\nC DATA\nS 354\nC .\nS 250\n", messages: 1},
		{name: "VRFY", why: "252: it is not verified, and accepted: RFC 5321 §3.5.3", dialog: hello + "C VRFY postmaster\nS 252 2.\nC VRFY\nS 501 5.5.4\n"},
		{name: "NOOP with a parameter", why: "RFC 5321 §4.1.1.9 allows it", dialog: "C NOOP foo\nS 250\n"},
		{name: "parameters where there are none", why: "RFC 5321 §4.1.1: RSET, DATA and QUIT have none", dialog: envelope + "C RSET x\nS 501 5.5.4\nC DATA x\nS 501 5.5.4\nC QUIT x\nS 501 5.5.4\nC DATA\nS 354\nC .\nS 250\n", messages: 1},
		{name: "spaces at the end", why: "RFC 5321 §4.1.1: to be tolerated", dialog: "C EHLO x  \nS 250\nC QUIT  \nS 221\n"},
		{name: "unknown command", why: "500, and the session goes on: RFC 5321 §3.8", dialog: "C FOO bar\nS 500 5.5.1\nC\nS 500 5.5\nC NOOP\nS 250\n"},
		{name: "pipelined group", why: "RFC 2920 §3.2: replies in order", dialog: "C EHLO x\nS 250\nC+ MAIL FROM:<a@b>\\r\\nRCPT TO:<c@d>\\r\\nDATA\\r\\nx\\r\\n.\\r\\nMAIL FROM:<>\\r\\nRSET\\r\\nQUIT\\r\\n\nS 250 2.1.0\nS 250 2.1.5\nS 354\nS 250 2.0.0\nS 250 2.1.0\nS 250 2.0.0\nS 221\nEOF", messages: 1},
		{name: "behind QUIT", why: "nothing is carried out any more", dialog: "C+ QUIT\\r\\nEHLO x\\r\\n\nS 221\nEOF"},
	})
}

func TestBadLines(t *testing.T) {
	runDialogs(t, []dialogTest{
		{name: "bare LF", why: "RFC 5321 §2.3.8; it ends the line, so that a person sees why", dialog: "C+ EHLO x\\n\nS 500 5.5.2\nC EHLO x\nS 250\n"},
		{name: "bare CR", why: "RFC 5321 §2.3.8", dialog: "C EHLO x\\rMAIL FROM:<a@b>\nS 500 5.5.2\nC NOOP\nS 250\n"},
		{name: "two CRs", why: "the first one is bare", dialog: "C NOOP\\r\nS 500 5.5.2\nC NOOP\nS 250\n"},
		{name: "NUL", why: "no command has one", dialog: "C NO\\x00OP\nS 500 5.5.2\nC NOOP\\x00\nS 500 5.5.2\nC NOOP\nS 250\n"},
		{name: "8-bit verb", why: "no such command", dialog: "C \\xc3\\xa4\nS 500\nC NOOP\nS 250\n"},
		{name: "longest", why: "2048 octets with the line end", dialog: "C+ NOOP \nC* 2041 x\nC\nS 250\n"},
		{name: "too long", why: "500 5.5.6, skipped to its end", dialog: "C+ NOOP \nC* 2042 x\nC\nS 500 5.5.6\nC NOOP\nS 250\n"},
		{name: "too long and more behind", why: "what follows its end is a command again", dialog: "C* 100000 x\nC+ \\r\\nNOOP\\r\\n\nS 500 5.5.6\nS 250\n"},
		{name: "too long, buffer's edge", why: "the line end comes with the next read", dialog: "C* 4096 x\nC\nS 500 5.5.6\nC* 65536 x\nC\nS 500 5.5.6\nC NOOP\nS 250\n"},
		{name: "too long in a transaction", why: "it changes nothing", dialog: envelope + "C* 9000 x\nC\nS 500 5.5.6\nC DATA\nS 354\nC .\nS 250\n", messages: 1},
		{name: "endless", why: "bounded: 421 after 1 MiB", dialog: "C* 2000000 x\nS 421 4.5.2\nEOF\n"},
		{name: "many bad commands", why: "RFC 5321 §3.8: they do not end a session", dialog: "C* 3000 \n" + manyBad + "C NOOP\nS 250\n"},
	})
}

var manyBad = func() dialog {
	d := dialog("")
	for range 300 {
		d += "C FOO\nS 500\n"
	}
	return d
}()

func TestPaths(t *testing.T) {
	runDialogs(t, []dialogTest{
		{name: "null reverse-path", why: "RFC 5321 §4.5.5", dialog: hello + "C MAIL FROM:<>\nS 250\n" + rcpt},
		{name: "null forward-path", why: "there is none", dialog: hello + mail + "C RCPT TO:<>\nS 501 5.1.3\n"},
		{name: "postmaster", why: "RFC 5321 §4.1.1.3", dialog: hello + mail + "C RCPT TO:<Postmaster>\nS 250\n"},
		{name: "quoted local-part", why: "a '>' in quotes does not end the path", dialog: hello + "C MAIL FROM:<\"a > b\"@example.org>\nS 250\nC RCPT TO:<\"x\\\\\"y\"@example.org>\nS 250\n"},
		{name: "source route", why: "RFC 5321 §4.1.1.3: accepted and ignored", dialog: hello + "C MAIL FROM:<@x.example,@y.example:a@b.example>\nS 250\n"},
		{name: "without brackets", why: "RFC 5321 §4.1.2", dialog: hello + "C MAIL FROM:a@b\nS 501 5.1.7\n" + mail + "C RCPT TO:a@b\nS 501 5.1.3\nC RCPT <a@b>\nS 501 5.1.3\n"},
		{name: "nothing", why: "RFC 5321 §4.1.2", dialog: hello + "C MAIL\nS 501 5.1.7\nC MAIL FROM:\nS 501 5.1.7\nC MAIL FROM:<a@b\nS 501 5.1.7\n"},
		{name: "UTF-8 without SMTPUTF8", why: "RFC 6531 §3.5: 553 5.6.7", dialog: hello + "C MAIL FROM:<\xc3\xa4@example.org>\nS 553 5.6.7\n" + mail + "C RCPT TO:<\xc3\xa4@example.org>\nS 553 5.6.7\n"},
		{name: "UTF-8 with SMTPUTF8", why: "RFC 6531 §3.4", dialog: hello + "C MAIL FROM:<\xc3\xa4@example.org> SMTPUTF8\nS 250\nC RCPT TO:<\xc3\xa4@\xc3\xbc.example>\nS 250\n"},
		{name: "Latin-1 with SMTPUTF8", why: "it is not UTF-8", dialog: hello + "C MAIL FROM:<\\xe4@example.org> SMTPUTF8\nS 501 5.1.7\n"},
	})
}

func TestParameters(t *testing.T) {
	ok := func(params string) dialog {
		return dialog("C MAIL FROM:<a@b>" + params + "\nS 250 2.1.0\nC RSET\nS 250\n")
	}
	bad := func(params, reply string) dialog { return dialog("C MAIL FROM:<a@b>" + params + "\nS " + reply + "\n") }
	rcptOK := func(params string) dialog { return dialog("C RCPT TO:<a@b>" + params + "\nS 250 2.1.5\n") }
	rcptBad := func(params, reply string) dialog { return dialog("C RCPT TO:<a@b>" + params + "\nS " + reply + "\n") }
	runDialogs(t, []dialogTest{
		{name: "SIZE", why: "RFC 1870 §3: 1 to 20 digits", dialog: hello + ok(" SIZE=0") + ok(" size=99999999999999999999") + bad(" SIZE", "501 5.5.4") + bad(" SIZE=", "501 5.5.4") + bad(" SIZE=-1", "501 5.5.4") + bad(" SIZE=999999999999999999999", "501 5.5.4")},
		{name: "SIZE too large", why: "RFC 1870 §6.1", setup: func(s *smtptest.Server) { s.MaxSize = 1000 }, dialog: hello + ok(" SIZE=1000") + bad(" SIZE=1001", "552 5.3.4") + bad(" SIZE=99999999999999999999", "552 5.3.4")},
		{name: "BODY", why: "RFC 6152 §2, RFC 3030 §3", dialog: hello + ok(" BODY=7BIT") + ok(" BODY=8bitmime") + ok(" BODY=BINARYMIME") + bad(" BODY=9BIT", "501 5.5.4") + bad(" BODY", "501 5.5.4")},
		{name: "SMTPUTF8", why: "RFC 6531 §3.1: no value", dialog: hello + ok(" SMTPUTF8") + bad(" SMTPUTF8=1", "501 5.5.4")},
		{name: "RET and ENVID", why: "RFC 3461 §4.3, §4.4", dialog: hello + ok(" RET=FULL ENVID=a+2Bb") + ok(" RET=hdrs") + bad(" RET=ALL", "501 5.5.4") + bad(" ENVID=a+b", "501 5.5.4") + bad(" ENVID=", "501 5.5.4") + bad(" ENVID=a=b", "501 5.5.4")},
		{name: "NOTIFY", why: "RFC 3461 §4.1: NEVER stands alone", dialog: hello + mail + rcptOK(" NOTIFY=NEVER") + rcptOK(" NOTIFY=success,FAILURE,DELAY") + rcptBad(" NOTIFY=NEVER,DELAY", "501 5.5.4") + rcptBad(" NOTIFY=", "501 5.5.4") + rcptBad(" NOTIFY=DELAY,", "501 5.5.4")},
		{name: "ORCPT", why: "RFC 3461 §4.2: type;xtext", dialog: hello + mail + rcptOK(" ORCPT=rfc822;a+2Bb@c") + rcptBad(" ORCPT=a@b", "501 5.5.4") + rcptBad(" ORCPT=rfc822;", "501 5.5.4") + rcptBad(" ORCPT=rfc822;a+b", "501 5.5.4")},
		{name: "twice", why: "RFC 5321 §4.1.1.11", dialog: hello + bad(" SIZE=1 SIZE=1", "501 5.5.4") + mail + rcptBad(" NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4")},
		{name: "unknown", why: "RFC 5321 §4.1.1.11: 555", dialog: hello + bad(" FOO=BAR", "555 5.5.4") + bad(" NOTIFY=NEVER", "555 5.5.4") + mail + rcptBad(" SIZE=1", "555 5.5.4") + rcptBad(" FOO", "555 5.5.4")},
		{name: "after HELO", why: "nothing was announced", dialog: "C HELO x\nS 250\n" + bad(" SIZE=1", "555 5.5.4") + mail + rcptBad(" NOTIFY=NEVER", "555 5.5.4")},
		{name: "AUTH", why: "RFC 4954 §5; only where AUTH is offered", setup: func(s *smtptest.Server) { s.Users = map[string]string{"u": "p"} }, dialog: hello + ok(" AUTH=<>") + ok(" AUTH=e+3Dmc2@example.com") + bad(" AUTH=", "501 5.5.4") + bad(" AUTH=a=b", "501 5.5.4")},
		{name: "AUTH not offered", why: "the parameter belongs to the extension", dialog: hello + bad(" AUTH=<>", "555 5.5.4")},
	})
}
