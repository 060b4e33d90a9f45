package loadtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest"
)

// A dialog is what a scripted server expects and says, one line each:
//
//	S: 220 hello     the server says this line
//	C: EHLO me       the client says this line
//	S> 220 hel       the server says this without a line end
//	!hang            the server says nothing more, and waits for the client to leave
//	!close           the server closes the connection
//	!wait 3s         the server waits
//	!drip            the server says an octet a second, for ever
//	!gulp            the server reads one write, whatever it is
//	!keep            the dialog ends here, the connection goes on: errKept
//
// C lines that follow each other must come in one write. A C+ line begins
// another write. S lines that follow each other are one write.
type dialog string

// serve plays the server's part. It returns an error when the client says
// something else, or does not close the connection at the end.
func (d dialog) serve(conn net.Conn) (err error) {
	defer conn.Close()
	var say, hear bytes.Buffer
	flush := func() error {
		if hear.Len() > 0 {
			// A pipe hands over one write at a time, so one read shows whether
			// it was one.
			got := make([]byte, hear.Len()+1<<10)
			n, err := conn.Read(got)
			if err != nil {
				return fmt.Errorf("reading, in place of %q: %w", hear.String(), err)
			}
			if want := hear.String(); string(got[:n]) != want {
				return fmt.Errorf("the client wrote\n%q\nand not\n%q", got[:n], want)
			}
			hear.Reset()
		}
		if say.Len() > 0 {
			_, err := conn.Write(say.Bytes())
			say.Reset()
			return err
		}
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(d)), "\n")
	for _, line := range lines {
		line = strings.TrimLeft(line, "\t ")
		kind, text, _ := strings.Cut(line, " ")
		switch kind {
		case "":
			continue
		case "C:", "C+":
			if say.Len() > 0 || kind == "C+" {
				if err := flush(); err != nil {
					return err
				}
			}
			hear.WriteString(text + "\r\n")
			continue
		case "S:":
			if hear.Len() > 0 {
				if err := flush(); err != nil {
					return err
				}
			}
			say.WriteString(text + "\r\n")
			continue
		case "S>":
			if hear.Len() > 0 {
				if err := flush(); err != nil {
					return err
				}
			}
			say.WriteString(text)
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		switch kind {
		case "!close":
			return nil
		case "!gulp":
			if _, err := conn.Read(make([]byte, 8<<10)); err != nil {
				return err
			}
		case "!keep":
			return errKept
		case "!hang":
			_, err := io.Copy(io.Discard, conn)
			return err
		case "!drip":
			for {
				if _, err := conn.Write([]byte("x")); err != nil {
					return nil
				}
				time.Sleep(time.Second)
			}
		case "!wait":
			wait, err := time.ParseDuration(text)
			if err != nil {
				return err
			}
			time.Sleep(wait)
		default:
			return fmt.Errorf("dialog: %q", line)
		}
	}
	if err := flush(); err != nil {
		return err
	}
	rest, err := io.ReadAll(conn)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("the client wrote %q after the end", rest)
	}
	return err
}

// overPipe makes d talk to a server that plays script, once, and returns a
// function that waits for the server to end.
func overPipe(d *loadtest.SMTP, script dialog) func() error {
	server := make(chan error, 1)
	if d.Addr == "" {
		d.Addr = "unix:pipe"
	}
	d.NetDial = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() { server <- script.serve(far) }()
		return near, nil
	}
	return func() error { return <-server }
}

// kind returns an error's kind, "" for nil.
func kind(err error) string {
	var k loadtest.Kinder
	switch {
	case err == nil:
		return ""
	case errors.As(err, &k):
		return k.Kind()
	}
	return err.Error()
}

// class says how the engine counts an error.
func class(err error) string {
	switch {
	case err == nil:
		return "accepted"
	case errors.Is(err, loadtest.ErrInDoubt):
		return "in doubt"
	case errors.Is(err, loadtest.ErrThrottled): // after ErrInDoubt, as in the engine
		return "throttled"
	case errors.Is(err, loadtest.ErrRefused):
		return "refused"
	}
	return "failed"
}

// outcome is class and kind: "accepted", "refused: MAIL 550".
func outcome(err error) string {
	if err == nil {
		return "accepted"
	}
	return class(err) + ": " + kind(err)
}

// perform does n operations over one session, Depth at a time, as the engine
// would, and returns their outcomes. It stops after one that ends the session.
func perform(ctx context.Context, s loadtest.Session, n int64) (ops []*loadtest.Op, outcomes []string) {
	p := s.(loadtest.Pipeliner)
	dead := false
	started, finished := int64(0), int64(0)
	note := func(op *loadtest.Op, err error) {
		ops = append(ops, op)
		outcomes = append(outcomes, outcome(err))
		if err != nil && !errors.Is(err, loadtest.ErrRefused) {
			dead = true
		}
	}
	for {
		for !dead && started < n && started-finished < int64(p.Depth()) {
			op := &loadtest.Op{N: started}
			started++
			if err := p.Start(ctx, op); err != nil {
				finished++
				note(op, err)
			}
		}
		if started == finished {
			return ops, outcomes
		}
		op, err := p.Finish(ctx)
		finished++
		note(op, err)
	}
}

func short(n int64) *loadtest.Message { return shortMessage }

var shortMessage = &loadtest.Message{From: "a@x", To: []string{"b@x"}, Data: []byte("Subject: 1\r\n\r\n.dot\r\n")}

func twoRecipients(int64) *loadtest.Message { return twoMessage }

var twoMessage = shortMessage.WithRecipients("b@x", "c@x")

// greeting is the part of all dialogs that is not what they are about.
const greeting = `
	S: 220 test ESMTP
	C: EHLO localhost
	S: 250-test
	S: 250-PIPELINING
	S: 250-CHUNKING
	S: 250 ENHANCEDSTATUSCODES
`

const lmtpGreeting = `
	S: 220 test LMTP
	C: LHLO localhost
	S: 250-test
	S: 250-CHUNKING
	S: 250 PIPELINING
`

const quit = `
	C: QUIT
	S: 221 bye
`

func TestSMTPDialog(t *testing.T) {
	const mailRcpt = `
	C: MAIL FROM:<a@x>
	S: 250 2.1.0 ok
	C: RCPT TO:<b@x>
	S: 250 2.1.5 ok
	`
	const data = `
	C: DATA
	S: 354 go
	C: Subject: 1
	C: 
	C: ..dot
	C: .
	`
	const group = `
	C: MAIL FROM:<a@x>
	C: RCPT TO:<b@x>
	C: DATA
	`
	const chunk = `
	C: MAIL FROM:<a@x>
	C: RCPT TO:<b@x>
	C: BDAT 20 LAST
	C: Subject: 1
	C: 
	C: .dot
	`
	tests := []struct {
		name, why string
		dialer    *loadtest.SMTP
		script    dialog
		ops       int64
		want      []string
		open      bool // the session is lost or in use: do not expect QUIT
	}{
		{
			"lockstep", "4 turns, each one write; no RSET in between; the dot is stuffed",
			&loadtest.SMTP{},
			greeting + mailRcpt + data + `S: 250 2.0.0 queued` + mailRcpt + data + `S: 250 2.0.0 queued` + quit, 2,
			[]string{"accepted", "accepted"}, false,
		},
		{
			"reply without SP", "RFC 5321 §4.2.1: a client must accept it",
			&loadtest.SMTP{},
			"S: 220\nC: EHLO localhost\nS: 250\nC: MAIL FROM:<a@x>\nS: 250\nC: RCPT TO:<b@x>\nS: 250\n" + data + "S: 250" + quit, 1,
			[]string{"accepted"}, false,
		},
		{
			"null reverse-path and parameters", "RFC 5321 §4.5.5; MailParams and RcptParams go as they are",
			&loadtest.SMTP{Message: message(&loadtest.Message{To: []string{`"b b"@x`}, MailParams: "RET=HDRS", RcptParams: "NOTIFY=NEVER", Data: []byte("x")})},
			greeting + `
			C: MAIL FROM:<> RET=HDRS
			S: 250 ok
			C: RCPT TO:<"b b"@x> NOTIFY=NEVER
			S: 250 ok
			C: DATA
			S: 354 go
			C: x
			C: .
			S: 250 ok
			` + quit, 1,
			[]string{"accepted"}, false,
		},
		{
			"8BITMIME where it is needed and offered", "RFC 6152 §3; not where MailParams says otherwise",
			&loadtest.SMTP{Message: message(
				&loadtest.Message{From: "a@x", To: []string{"b@x"}, Data: []byte("\xe9\r\n")},
				&loadtest.Message{From: "a@x", To: []string{"b@x"}, Data: []byte("\xe9\r\n"), MailParams: "body=7BIT"})},
			"S: 220 x\nC: EHLO localhost\nS: 250-x\nS: 250 8bitmime" + `
			C: MAIL FROM:<a@x> BODY=8BITMIME
			S: 550 no
			C: MAIL FROM:<a@x> body=7BIT
			S: 550 no
			` + quit, 2,
			[]string{"refused: MAIL 550", "refused: MAIL 550"}, false,
		},
		{
			"SMTPUTF8", "RFC 6531 §3.4",
			&loadtest.SMTP{Message: message(&loadtest.Message{From: "a@x", To: []string{"ü@x"}})},
			"S: 220 x\nC: EHLO localhost\nS: 250-x\nS: 250 SMTPUTF8" + `
			C: MAIL FROM:<a@x> SMTPUTF8
			S: 550 no
			` + quit, 1,
			[]string{"refused: MAIL 550"}, false,
		},
		{
			"HELO", "RFC 5321 §3.2: a server may be too old for EHLO",
			&loadtest.SMTP{Hello: "[127.0.0.1]"},
			"S: 220 x\nC: EHLO [127.0.0.1]\nS: 500 what\nC: HELO [127.0.0.1]\nS: 250 x" + mailRcpt + data + "S: 250 ok" + quit, 1,
			[]string{"accepted"}, false,
		},
		{
			"MAIL refused", "there is nothing to reset",
			&loadtest.SMTP{},
			greeting + "C: MAIL FROM:<a@x>\nS: 451 4.7.1 later" + mailRcpt + data + "S: 250 ok" + quit, 2,
			[]string{"refused: MAIL 451 4.7.1", "accepted"}, false,
		},
		{
			"all RCPT refused", "no DATA (§3.3); RSET goes ahead of the next MAIL, in its write",
			&loadtest.SMTP{Message: twoRecipients},
			greeting + `
			C: MAIL FROM:<a@x>
			S: 250 ok
			C: RCPT TO:<b@x>
			S: 550 5.1.1 no
			C: RCPT TO:<c@x>
			S: 450 4.2.0 no
			C: RSET
			C: MAIL FROM:<a@x>
			S: 250 reset
			S: 550 5.7.1 no
			` + quit, 2,
			[]string{"refused: RCPT 550 5.1.1", "refused: MAIL 550 5.7.1"}, false,
		},
		{
			"RSET without PIPELINING", "then it is a turn by itself",
			&loadtest.SMTP{},
			"S: 220 x\nC: EHLO localhost\nS: 250 x" + mailRcpt + `
			C: DATA
			S: 451 4.3.0 no
			C: RSET
			S: 250 ok
			` + mailRcpt + data + "S: 250 ok" + quit, 2,
			[]string{"refused: DATA 451 4.3.0", "accepted"}, false,
		},
		{
			"end of data refused", "that should end the transaction, but Postfix leaves it open (smtpd_end_of_data_restrictions)",
			&loadtest.SMTP{},
			greeting + mailRcpt + data + "S: 554 5.6.0 no\nC: RSET\nC: MAIL FROM:<a@x>\nS: 250 reset\nS: 450 no" + quit, 2,
			[]string{"refused: message 554 5.6.0", "refused: MAIL 450"}, false,
		},
		{
			"250 to DATA", "a server that has lost count (symfony #54169)",
			&loadtest.SMTP{},
			greeting + mailRcpt + "C: DATA\nS: 250 ok", 1,
			[]string{"failed: protocol DATA"}, true,
		},
		{
			"two replies to one command", "the second must not be taken for the next command's",
			&loadtest.SMTP{},
			greeting + "C: MAIL FROM:<a@x>\nS: 250 ok\nS: 250 ok", 1,
			[]string{"failed: protocol RCPT"}, true,
		},
		{
			"421 behind the last reply", "RFC 5321 §3.8: at any time",
			&loadtest.SMTP{},
			greeting + mailRcpt + data + "S: 250 ok\nS: 421 4.3.2 shutting down", 2,
			[]string{"accepted", "throttled: MAIL 421 4.3.2"}, true,
		},
		{
			"too long", "RFC 2033 and RFC 5321 have no such reply",
			&loadtest.SMTP{},
			greeting + dialog("C: MAIL FROM:<a@x>\n"+strings.Repeat("S: 250-"+strings.Repeat("x", 500)+"\n", 25)), 1,
			[]string{"failed: protocol MAIL"}, true,
		},
		{
			"long reply", "the buffer grows up to 10 KiB",
			&loadtest.SMTP{},
			greeting + dialog("C: MAIL FROM:<a@x>\n"+strings.Repeat("S: 550-"+strings.Repeat("x", 500)+"\n", 18)+"S: 550 x\n") + quit, 1,
			[]string{"refused: MAIL 550"}, false,
		},

		{
			"pipelined", "2 turns (RFC 2920)",
			&loadtest.SMTP{Exchange: loadtest.Pipelined},
			greeting + group + "S: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: .\nS: 250 ok" + quit, 1,
			[]string{"accepted"}, false,
		},
		{
			"pipelined depth 2", "the mail data and the next MAIL share a write",
			&loadtest.SMTP{Exchange: loadtest.Pipelined, Depth: 2},
			greeting + group + "S: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: ." +
				group + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: ." +
				group + "S: 554 5.6.0 no\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: .\nS: 250 ok" + quit, 3,
			[]string{"accepted", "refused: message 554 5.6.0", "accepted"}, false,
		},
		{
			"pipelined, refused data leaves the transaction open", "Postfix: DATA would deliver to the recipients of both; later ones wait for the reply",
			&loadtest.SMTP{Exchange: loadtest.Pipelined, Depth: 2},
			greeting + group + "S: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: ." +
				group + "S: 554 5.6.0 no\nS: 503 nested\nS: 250 ok\nS: 354 go\n", 2,
			[]string{"refused: message 554 5.6.0", "failed: protocol DATA"}, true,
		},
		{
			"pipelined, refused data and MAIL refused", "RSET goes ahead of the next one",
			&loadtest.SMTP{Exchange: loadtest.Pipelined, Depth: 2},
			greeting + group + "S: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: ." +
				group + "S: 554 5.6.0 no\nS: 503 nested\nS: 503 no\nS: 503 no\nC: RSET" +
				group + "S: 250 reset\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: .\nS: 250 ok" + quit, 3,
			[]string{"refused: message 554 5.6.0", "refused: MAIL 503", "accepted"}, false,
		},
		{
			"pipelined, lost", "only what was sent up to its end is in doubt",
			&loadtest.SMTP{Exchange: loadtest.Pipelined, Depth: 2},
			greeting + group + "S: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: ." + group + "!close", 2,
			[]string{"in doubt: lost message", "failed: lost MAIL"}, true,
		},
		{
			"pipelined, MAIL refused", "the other replies are read all the same",
			&loadtest.SMTP{Exchange: loadtest.Pipelined},
			greeting + group + "S: 450 4.7.1 no\nS: 503 no\nS: 503 no" + quit, 1,
			[]string{"refused: MAIL 450 4.7.1"}, false,
		},
		{
			"pipelined, DATA refused", "RSET in the next write",
			&loadtest.SMTP{Exchange: loadtest.Pipelined},
			greeting + group + "S: 250 ok\nS: 250 ok\nS: 451 4.3.0 no\nC: RSET" + group + "S: 250 ok\nS: 450 no\nS: 503 no\nS: 503 no" + quit, 2,
			[]string{"refused: DATA 451 4.3.0", "refused: MAIL 450"}, false,
		},
		{
			"354 with nobody accepted", "RFC 2920 §3.1: a single dot, and its 250 is no acceptance",
			&loadtest.SMTP{Exchange: loadtest.Pipelined, Depth: 2},
			greeting + group + "S: 250 ok\nS: 550 5.1.1 no\nS: 354 go\nC: .\nS: 250 ok\nC: RSET" + group +
				"S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: Subject: 1\nC: \nC: ..dot\nC: .\nS: 250 ok" + quit, 2,
			[]string{"refused: RCPT 550 5.1.1", "accepted"}, false,
		},
		{
			"354 after MAIL refused and RCPT accepted", "the server has another transaction open: data would be delivered",
			&loadtest.SMTP{Exchange: loadtest.Pipelined},
			greeting + group + "S: 503 nested\nS: 250 ok\nS: 354 go", 1,
			[]string{"failed: protocol DATA"}, true,
		},

		{
			"chunked", "1 turn (RFC 3030), nothing stuffed",
			&loadtest.SMTP{Exchange: loadtest.Chunked},
			greeting + chunk + "S: 250 ok\nS: 250 ok\nS: 250 ok" + quit, 1,
			[]string{"accepted"}, false,
		},
		{
			"chunked depth 3", "written when there is no reply left to read",
			&loadtest.SMTP{Exchange: loadtest.Chunked, Depth: 3},
			greeting + chunk + chunk + chunk +
				"S: 250 1\nS: 250 1\nS: 250 1\nS: 250 2\nS: 250 2\nS: 250 2\nS: 250 3\n" + chunk + chunk +
				"S: 250 3\nS: 250 3\nS: 250 4\nS: 250 4\nS: 250 4\nS: 250 5\nS: 250 5\nS: 550 no" + quit, 5,
			[]string{"accepted", "accepted", "accepted", "accepted", "refused: message 550"}, false,
		},
		{
			"chunk refused, server wants RSET", "RFC 3030 §2: what was on its way is sent again behind the RSET",
			&loadtest.SMTP{Exchange: loadtest.Chunked, Depth: 3},
			greeting + chunk + chunk + chunk +
				"S: 250 1\nS: 250 1\nS: 552 5.3.4 no\nS: 503 2\nS: 503 2\nS: 503 2\nS: 503 3\nS: 503 3\nS: 503 3\nC: RSET" + chunk + chunk +
				"S: 250 reset\nS: 250 2\nS: 250 2\nS: 250 2\nS: 250 3\nS: 250 3\nS: 250 3" + quit, 3,
			[]string{"refused: message 552 5.3.4", "accepted", "accepted"}, false,
		},
		{
			"chunk refused, server goes on", "then nothing is sent twice",
			&loadtest.SMTP{Exchange: loadtest.Chunked, Depth: 2},
			greeting + chunk + chunk +
				"S: 250 1\nS: 250 1\nS: 552 5.3.4 no\nS: 250 2\nS: 250 2\nS: 250 2" + chunk + "S: 250 3\nS: 250 3\nS: 250 3" + quit, 3,
			[]string{"refused: message 552 5.3.4", "accepted", "accepted"}, false,
		},
		{
			"chunk accepted after MAIL refused", "a delivery in some other transaction: nobody knows what the server has",
			&loadtest.SMTP{Exchange: loadtest.Chunked},
			greeting + chunk + "S: 503 nested\nS: 250 ok\nS: 250 ok", 1,
			[]string{"in doubt: protocol message"}, true,
		},
		{
			"chunked, lost", "each by its own octets",
			&loadtest.SMTP{Exchange: loadtest.Chunked, Depth: 2},
			greeting + chunk + chunk + "S: 250 ok\nS: 250 ok\nS: 250 ok\n!close", 2,
			[]string{"accepted", "in doubt: lost MAIL"}, true,
		},
		{
			"chunked, 421", "nothing behind a 421 is executed: not in doubt",
			&loadtest.SMTP{Exchange: loadtest.Chunked, Depth: 3},
			greeting + chunk + chunk + chunk + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 421 4.7.0 too many\n!close", 3,
			[]string{"accepted", "throttled: MAIL 421 4.7.0", "throttled: MAIL 421 4.7.0"}, true,
		},

		{
			"LMTP", "RFC 2033 §4.2: a reply for each recipient that was accepted, and no more",
			&loadtest.SMTP{LMTP: true, Message: twoRecipients},
			lmtpGreeting + mailRcpt + `
			C: RCPT TO:<c@x>
			S: 550 5.1.1 no
			` + data + `
			S: 250 2.0.0 b
			C: MAIL FROM:<a@x>
			S: 550 no
			` + quit, 2,
			[]string{"accepted", "refused: MAIL 550"}, false,
		},
		{
			"LMTP, one of two", "accepted for somebody",
			&loadtest.SMTP{LMTP: true, Message: twoRecipients},
			lmtpGreeting + mailRcpt + "C: RCPT TO:<c@x>\nS: 250 ok" + data + "S: 452 4.2.2 full\nS: 250 ok" + quit, 1,
			[]string{"accepted"}, false,
		},
		{
			"LMTP, none of two", "refused by the first reply",
			&loadtest.SMTP{LMTP: true, Message: twoRecipients},
			lmtpGreeting + mailRcpt + "C: RCPT TO:<c@x>\nS: 250 ok" + data + "S: 452 4.2.2 full\nS: 550 no" + quit, 1,
			[]string{"refused: message 452 4.2.2"}, false,
		},
		{
			"LMTP, lost between replies", "one has the mail, of the other nobody knows",
			&loadtest.SMTP{LMTP: true, Message: twoRecipients},
			lmtpGreeting + mailRcpt + "C: RCPT TO:<c@x>\nS: 250 ok" + data + "S: 250 ok\n!close", 1,
			[]string{"in doubt: lost message"}, true,
		},
		{
			"LMTP, 421 between replies", "the same: for one it is accepted",
			&loadtest.SMTP{LMTP: true, Message: twoRecipients},
			lmtpGreeting + mailRcpt + "C: RCPT TO:<c@x>\nS: 250 ok" + data + "S: 250 ok\nS: 421 4.3.2 bye\n!close", 1,
			[]string{"in doubt: message 421 4.3.2"}, true,
		},
		{
			"LMTP, 421 alone", "for nobody",
			&loadtest.SMTP{LMTP: true},
			lmtpGreeting + mailRcpt + data + "S: 421 4.3.2 bye\n!close", 1,
			[]string{"throttled: message 421 4.3.2"}, true,
		},
		{
			"LMTP chunked", "the same replies for BDAT LAST; one if nobody was accepted",
			&loadtest.SMTP{LMTP: true, Exchange: loadtest.Chunked, Message: twoRecipients},
			lmtpGreeting + `
			C: MAIL FROM:<a@x>
			C: RCPT TO:<b@x>
			C: RCPT TO:<c@x>
			C: BDAT 20 LAST
			C: Subject: 1
			C: 
			C: .dot
			S: 250 ok
			S: 250 ok
			S: 250 ok
			S: 250 ok
			S: 452 full
			C: MAIL FROM:<a@x>
			C: RCPT TO:<b@x>
			C: RCPT TO:<c@x>
			C: BDAT 20 LAST
			C: Subject: 1
			C: 
			C: .dot
			S: 250 ok
			S: 550 no
			S: 550 no
			S: 503 nobody
			` + quit, 2,
			[]string{"accepted", "refused: RCPT 550"}, false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := test.dialer
				d.Security = loadtest.Plaintext
				if d.Message == nil {
					d.Message = short
				}
				wait := overPipe(d, test.script)
				s, err := d.Dial(t.Context())
				require.NoError(t, err)
				_, got := perform(t.Context(), s, test.ops)
				err = s.Close()
				assert.Equal(t, test.want, got, test.why)
				assert.NoError(t, err, "Close")
				if err := wait(); !test.open {
					assert.NoError(t, err, "server")
				}
			})
		})
	}
}

// message returns a function for SMTP.Message that returns them in turn.
func message(messages ...*loadtest.Message) func(int64) *loadtest.Message {
	return func(n int64) *loadtest.Message { return messages[n%int64(len(messages))] }
}

// Groups that are too long to be copied go out in the right order all the same.
func TestSMTPLongGroups(t *testing.T) {
	const recipients = 200
	m := &loadtest.Message{From: "a@x", Data: []byte("\xe9" + strings.Repeat("x", 6000) + "\r\n")}
	var rcpts, oks strings.Builder
	for i := range recipients {
		m.To = append(m.To, fmt.Sprintf("recipient-%d@x", i))
		fmt.Fprintf(&rcpts, "C: RCPT TO:<recipient-%d@x>\n", i)
		oks.WriteString("S: 250 ok\n")
	}
	body := "C: " + strings.TrimSuffix(string(m.Data), "\r\n") + "\n"
	for _, hello := range []dialog{
		"S: 220 x\nC: EHLO localhost\nS: 250-x\nS: 250-PIPELINING\nS: 250 CHUNKING\n",
		"S: 220 x\nC: EHLO localhost\nS: 250-x\nS: 250-PIPELINING\nS: 250-8BITMIME\nS: 250 CHUNKING\n",
	} {
		mail := "C: MAIL FROM:<a@x>\n"
		if strings.Contains(string(hello), "8BITMIME") {
			mail = "C: MAIL FROM:<a@x> BODY=8BITMIME\n"
		}
		var all, pipelined strings.Builder
		for i := range 3 {
			if i > 0 {
				all.WriteString("C: RSET\n")
			}
			all.WriteString(mail + rcpts.String() + fmt.Sprintf("C: BDAT %d LAST\n", len(m.Data)) + body)
			if i > 0 {
				all.WriteString("S: 250 reset\n")
			}
			all.WriteString("S: 250 ok\n" + oks.String() + "S: 552 no\n")

			pipelined.WriteString(mail + rcpts.String() + "C: DATA\n")
			if i > 0 {
				pipelined.WriteString("S: 250 ok\n")
			}
			pipelined.WriteString("S: 250 ok\n" + oks.String() + "S: 354 go\n" + body + "C: .\n")
		}
		pipelined.WriteString("S: 250 ok\n")
		for _, test := range []struct {
			d      *loadtest.SMTP
			script string
			want   string
		}{
			{&loadtest.SMTP{Exchange: loadtest.Chunked}, all.String(), "refused: message 552"},
			{&loadtest.SMTP{Exchange: loadtest.Pipelined, Depth: 2}, pipelined.String(), "accepted"},
		} {
			test.d.Security, test.d.Message = loadtest.Plaintext, message(m)
			// Not by writes: how many there are is not the point.
			wait := overStream(test.d, hello+dialog(test.script)+quit)
			s, err := test.d.Dial(t.Context())
			require.NoError(t, err)
			_, got := perform(t.Context(), s, 3)
			assert.Equal(t, []string{test.want, test.want, test.want}, got)
			assert.NoError(t, s.Close())
			require.NoError(t, wait())
		}
	}
}

// overStream is overPipe with a TCP connection, and a server that does not care
// in how many writes something comes.
func overStream(d *loadtest.SMTP, script dialog) func() error {
	server := make(chan error, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return func() error { return err }
	}
	d.Addr = l.Addr().String()
	go func() {
		defer l.Close()
		conn, err := l.Accept()
		if err == nil {
			err = script.serve(stream{conn})
		}
		server <- err
	}()
	return func() error { return <-server }
}

// stream fills what it is asked to read, up to the kilobyte that dialogs have
// room for more than they expect.
type stream struct{ net.Conn }

func (s stream) Read(b []byte) (int, error) {
	if len(b) > 1<<10 {
		b = b[:len(b)-1<<10]
	}
	return io.ReadFull(s.Conn, b)
}

func TestSMTPRecipients(t *testing.T) {
	tests := []struct {
		name, why         string
		lmtp              bool
		final             string
		accepted, refused int64
		kind              string
	}{
		{"SMTP", "by the replies to RCPT", false, "S: 250 ok", 1, 1, "RCPT 450 4.2.0"},
		{"LMTP", "by the final replies", true, "S: 250 ok", 1, 1, "RCPT 450 4.2.0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hello := dialog(greeting)
				if test.lmtp {
					hello = lmtpGreeting
				}
				d := &loadtest.SMTP{Security: loadtest.Plaintext, LMTP: test.lmtp, Message: twoRecipients}
				wait := overPipe(d, hello+`
				C: MAIL FROM:<a@x>
				S: 250 ok
				C: RCPT TO:<b@x>
				S: 450 4.2.0 no
				C: RCPT TO:<c@x>
				S: 250 ok
				C: DATA
				S: 354 go
				C: Subject: 1
				C: 
				C: ..dot
				C: .
				`+dialog(test.final)+quit)
				s, err := d.Dial(t.Context())
				require.NoError(t, err)
				op := &loadtest.Op{RecipientsRefused: 7}
				require.NoError(t, s.Do(t.Context(), op))
				assert.Equal(t, test.accepted, op.Recipients, test.why)
				assert.Equal(t, test.refused, op.RecipientsRefused, test.why)
				assert.Equal(t, test.kind, kind(op.RecipientErr))
				assert.EqualValues(t, 20, op.Bytes, "RFC 1870: without the stuffed dot")
				require.NoError(t, s.Close())
				require.NoError(t, wait())
			})
		})
	}
}
