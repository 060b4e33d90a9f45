package smtptest

import (
	"bytes"
	"strings"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// command answers a command line, which still has its line end.
func (c *session) command(line []byte) error {
	if c.srv.Log != nil {
		c.log("C: %s", strings.TrimRight(string(line), "\r\n"))
	}
	if c.replied && !c.srv.ext.pipelining {
		c.verb = "unknown"
		c.closing = true
		c.say(replySynchronization)
		return nil
	}
	c.override = ""
	text, ok := bytes.CutSuffix(line, crlf)
	if !ok {
		// RFC 5321 §2.3.8. It is taken for the end of the line, so that a person
		// with a keyboard learns why, and refused, so that no client gets used
		// to it.
		c.refuseLine(line, replyBareLF)
		return nil
	}
	cmd, err := smtpwire.ParseCommand(text)
	if err != nil {
		c.refuseLine(line, replyControl)
		return nil
	}
	switch c.verb = verbName(cmd.Verb); cmd.Verb {
	case smtpwire.MAIL:
		c.mails++
	case smtpwire.RCPT:
		c.tx.rcpts++
	}
	asked := Command{}
	if c.srv.Hook != nil {
		asked = describe(cmd, text)
	}
	act, err := c.ask(cmd.Verb, asked)
	if err != nil {
		return err
	}
	success := byte('2')
	switch cmd.Verb {
	case smtpwire.DATA:
		success = '3'
	case smtpwire.Unknown, smtpwire.EXPN:
		success = 0 // there is none
	}
	if cmd.Verb == smtpwire.BDAT && c.srv.ext.chunking && act.Reply != "" && act.Reply[0] != success {
		refusal := act.Reply
		act.Reply = ""
		if c.begin(act, success) {
			err = c.refuseChunk(cmd.Arg, func() { c.sayRaw(refusal) })
		}
	} else if c.begin(act, success) {
		err = c.dispatch(cmd)
	}
	c.end(act)
	return err
}

// refuseLine refuses a line that is not carried out, whatever it says. If it
// announced a chunk, the session ends: nobody knows whether and where that
// comes, and its octets would be taken for commands.
func (c *session) refuseLine(line []byte, r *reply) {
	c.override, c.verb = "", "unknown"
	if c.srv.ext.chunking && len(line) > 4 && smtpwire.EqualFold(line[:5], "BDAT ") {
		c.closing = true
		r = replyBDATSyntax
	}
	c.say(r)
}

var crlf = []byte("\r\n")

// describe makes of a command what a Hook is asked about.
func describe(cmd smtpwire.Command, line []byte) Command {
	asked := Command{Verb: cmd.Verb.String(), Arg: string(cmd.Arg)}
	switch cmd.Verb {
	case smtpwire.Unknown:
		word, _, _ := bytes.Cut(line, []byte{' '})
		asked.Verb = strings.ToUpper(string(word))
		if asked.Verb == "" {
			asked.Verb = "unknown"
		}
	case smtpwire.MAIL:
		if path, _, err := smtpwire.ParseMail(cmd.Arg); err == nil {
			asked.From = string(path)
		}
	case smtpwire.RCPT:
		if path, _, err := smtpwire.ParseRcpt(cmd.Arg); err == nil {
			asked.Recipient = string(path)
		}
	}
	return asked
}

// dispatch carries out a command and replies.
func (c *session) dispatch(cmd smtpwire.Command) error {
	if r := c.forbidden(cmd.Verb); r != nil {
		if cmd.Verb == smtpwire.BDAT && c.srv.ext.chunking {
			return c.refuseChunk(cmd.Arg, func() { c.say(r) })
		}
		c.say(r)
		return nil
	}
	switch cmd.Verb {
	case smtpwire.DATA:
		return c.data(cmd.Arg)
	case smtpwire.BDAT:
		return c.bdat(cmd.Arg)
	case smtpwire.STARTTLS:
		return c.starttls(cmd.Arg)
	case smtpwire.AUTH:
		return c.auth(cmd.Arg)
	}
	c.say(c.simple(cmd))
	return nil
}

// simple carries out a command that needs nothing but its line.
func (c *session) simple(cmd smtpwire.Command) *reply {
	switch cmd.Verb {
	case smtpwire.EHLO, smtpwire.HELO, smtpwire.LHLO:
		return c.sayHello(cmd)
	case smtpwire.MAIL:
		return c.mail(cmd.Arg)
	case smtpwire.RCPT:
		return c.rcpt(cmd.Arg)
	case smtpwire.RSET:
		if len(cmd.Arg) > 0 {
			return replyNoParameters
		}
		c.endTransaction()
		return replyOK
	case smtpwire.NOOP:
		return replyOK // it may have a parameter (RFC 5321 §4.1.1.9)
	case smtpwire.QUIT:
		if len(cmd.Arg) > 0 {
			return replyNoParameters
		}
		c.closing, c.quit = true, true
		return replyBye
	case smtpwire.VRFY:
		if len(cmd.Arg) == 0 {
			return replyNeedArgument
		}
		return replyVrfy
	case smtpwire.HELP:
		if !c.srv.ext.help {
			return replyNotImplemented
		}
		return replyHelp
	case smtpwire.XCLIENT:
		return c.xclient(cmd.Arg)
	case smtpwire.EXPN:
		return replyNotImplemented
	}
	return replyUnknown
}

// forbidden returns a reply to a command that is not allowed at all in this
// state of the session, nil if it is.
func (c *session) forbidden(v smtpwire.Verb) *reply {
	if c.rejected && v != smtpwire.QUIT {
		return replyNoService // RFC 5321 §3.1
	}
	if c.srv.RequireTLS && c.tls == nil {
		switch v {
		case smtpwire.NOOP, smtpwire.EHLO, smtpwire.HELO, smtpwire.LHLO, smtpwire.STARTTLS, smtpwire.QUIT:
		default:
			return replyTLSFirst
		}
	}
	if c.srv.RequireAuth && c.user == "" {
		switch v {
		case smtpwire.AUTH, smtpwire.EHLO, smtpwire.HELO, smtpwire.LHLO, smtpwire.NOOP, smtpwire.RSET, smtpwire.STARTTLS, smtpwire.QUIT:
		default:
			return replyAuthFirst
		}
	}
	return nil
}

func (c *session) sayHello(cmd smtpwire.Command) *reply {
	switch {
	case c.srv.LMTP && cmd.Verb != smtpwire.LHLO: // RFC 2033 §4.1
		return replyUseLHLO
	case !c.srv.LMTP && cmd.Verb == smtpwire.LHLO:
		return replyUseEHLO
	case cmd.Verb == smtpwire.EHLO && c.srv.HELOOnly:
		return replyNotImplemented
	case len(cmd.Arg) == 0:
		return replyNeedName
	}
	c.endTransaction() // RFC 5321 §4.1.4
	c.hello = string(cmd.Arg)
	c.esmtp = cmd.Verb != smtpwire.HELO
	if !c.esmtp {
		return c.srv.helo
	}
	if c.tls != nil {
		return c.srv.ehloTLS
	}
	return c.srv.ehlo
}

// helloFirst is the reply to what comes before EHLO.
func (c *session) helloFirst() *reply {
	if c.srv.LMTP {
		return replyLHLOFirst
	}
	return replyHelloFirst
}
