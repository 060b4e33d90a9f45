package smtptest

import (
	"time"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// data carries out DATA (RFC 5321 §4.1.1.4).
func (c *session) data(arg []byte) error {
	r := replyStart
	switch {
	case len(arg) > 0:
		r = replyNoParameters
	case !c.tx.active:
		r = replyNeedMail
	case c.tx.inBDAT: // RFC 3030 §2
		r = replyInBDAT
	case c.tx.binary: // RFC 3030 §3
		r = replyNeedBDAT
	case c.tx.recipients == 0:
		r = replyNeedRcpt
	}
	if r == replyStart && c.r < c.w && !c.srv.ext.pipelining {
		c.closing = true
		r = replySynchronization
	}
	c.say(r)
	if r != replyStart || c.closing {
		return nil
	}
	c.bulk = true
	c.dot.Reset()
	for !c.dot.Done() {
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return err
			}
		}
		in := c.buf[c.r:c.w]
		if c.srv.Discard || c.tooBig(c.dot.Size()) {
			c.body = nil
			c.r += c.dot.Discard(in)
		} else {
			var n int
			c.body, n = c.dot.Append(c.grown(c.body), in)
			c.r += n
		}
	}
	c.bulk = false
	return c.endOfData(c.dot.Size())
}

func (c *session) tooBig(size int64) bool {
	return c.srv.MaxSize > 0 && size > c.srv.MaxSize
}

// grown makes room in an empty body for what the client declared, within
// reason.
func (c *session) grown(body []byte) []byte {
	if body == nil && c.tx.size > 0 {
		return make([]byte, 0, min(c.tx.size, 1<<20))
	}
	return body
}

// bdat carries out BDAT (RFC 3030 §2).
func (c *session) bdat(arg []byte) error {
	if !c.srv.ext.chunking {
		c.say(replyNotImplemented)
		return nil
	}
	n, last, err := smtpwire.ParseBDAT(arg)
	r := (*reply)(nil)
	switch {
	case err != nil: // refuseChunk finds it out again
		r = replyBDATSyntax
	case !c.tx.active:
		r = replyNeedMail
	case c.tx.recipients == 0:
		r = replyNeedRcpt
	case c.tx.refused:
		r = replyBDATFailed
	case c.srv.MaxSize > 0 && n > c.srv.MaxSize-c.tx.chunks:
		r = replyTooBig
	}
	if r != nil {
		return c.refuseChunk(arg, func() { c.say(r) })
	}
	c.tx.inBDAT = true
	if err := c.readChunk(n, !c.srv.Discard); err != nil {
		return err
	}
	c.tx.chunks += n
	if !last {
		c.say(replyChunkOK)
		return nil
	}
	return c.endOfData(c.tx.chunks)
}

// refuseChunk consumes the octets of a chunk, as they come in any case, and then
// refuses it: RFC 3030 §2 wants it in this order.
func (c *session) refuseChunk(arg []byte, refuse func()) error {
	n, last, err := smtpwire.ParseBDAT(arg)
	if err != nil {
		// Nobody knows where the chunk ends: its octets would be taken for
		// commands.
		c.closing = true
		c.say(replyBDATSyntax)
		return nil
	}
	c.body = nil
	if err := c.readChunk(n, false); err != nil {
		return err
	}
	replies := 1
	if c.srv.LMTP && last && c.tx.recipients > 0 {
		replies = c.tx.recipients // RFC 2033 §4.3
	}
	for range replies {
		refuse()
	}
	switch {
	case last:
		// Nothing more can come of this transaction, and what is pipelined
		// behind it is the next one.
		c.endTransaction()
	case c.tx.active:
		c.tx.inBDAT, c.tx.refused = true, true
	}
	return nil
}

// readChunk reads n octets.
func (c *session) readChunk(n int64, keep bool) error {
	c.bulk = true
	for n > 0 {
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return err
			}
		}
		in := c.buf[c.r:c.w]
		if int64(len(in)) > n {
			in = in[:n]
		}
		if keep {
			c.body = append(c.grown(c.body), in...)
		}
		c.r += len(in)
		n -= int64(len(in))
	}
	c.bulk = false
	return nil
}

// endOfData answers the end of mail data and ends the transaction.
func (c *session) endOfData(size int64) error {
	c.verb = "."
	if c.srv.Log != nil {
		c.log("C: (%d octets of mail data)", size)
	}
	var err error
	if c.srv.LMTP {
		err = c.deliverLMTP(size)
	} else {
		err = c.deliver(size)
	}
	c.endTransaction()
	return err
}

func (c *session) deliver(size int64) error {
	act, err := c.ask(verbEnd, Command{})
	if err != nil {
		return err
	}
	if c.begin(act, '2') {
		switch {
		case c.tooBig(size):
			c.say(replyTooBig)
		case act.Close == ClosePartial:
			c.say(replyAccepted)
		default:
			c.accept(size, c.tx.to, c.tx.rcptParams)
			c.say(replyAccepted)
		}
	}
	c.end(act)
	return nil
}

// deliverLMTP replies for each recipient (RFC 2033 §4.2). All replies are made
// before the first is sent, as the message must be counted by then.
func (c *session) deliverLMTP(size int64) error {
	c.holdReplies = true
	defer func() { c.holdReplies = false }()
	closing := c.closing // by the Hook for BDAT
	var to, params []string
	recipients := 0
	for i := range c.tx.recipients {
		cmd := Command{}
		if c.srv.keep {
			cmd.Recipient = c.tx.to[i]
		}
		act, err := c.ask(verbEnd, cmd)
		if err != nil {
			return err
		}
		if c.begin(act, '2') {
			switch {
			case c.tooBig(size):
				c.say(replyTooBig)
			default:
				c.say(replyAccepted)
				if act.Close == ClosePartial {
					break
				}
				recipients++
				if c.srv.keep {
					to = append(to, c.tx.to[i])
					params = append(params, c.tx.rcptParams[i])
				}
			}
		}
		c.end(act)
		if c.closing && !closing {
			break
		}
	}
	if recipients > 0 {
		c.tx.recipients = recipients
		c.accept(size, to, params)
	}
	return nil
}

// accept counts the message, and keeps it unless the server discards. It is
// called when the positive reply is about to be written, never later: what a
// client was told is never more than what the server counts.
func (c *session) accept(size int64, to, params []string) {
	c.counts.recipients.Add(int64(c.tx.recipients))
	c.counts.bytes.Add(size)
	c.accepted++
	var m *Message
	if !c.srv.Discard {
		m = &Message{
			From:       c.tx.from,
			To:         to,
			MailParams: c.tx.mailParams,
			RcptParams: params,
			Data:       c.body,
			Hello:      c.hello,
			Protocol:   c.protocol(),
			User:       c.user,
			TLS:        c.tls,
			RemoteAddr: c.raw.RemoteAddr(),
			XClient:    c.attributes,
			Session:    c.id,
			Sequence:   c.accepted,
			Received:   time.Now(),
		}
		c.body = nil
	}
	c.srv.box.put(m)
}

// protocol returns the keyword of RFC 3848, or of RFC 6531 §4.3.
func (c *session) protocol() string {
	if !c.esmtp {
		return "SMTP"
	}
	p := "ESMTP"
	switch {
	case c.srv.LMTP && c.tx.utf8:
		p = "UTF8LMTP"
	case c.srv.LMTP:
		p = "LMTP"
	case c.tx.utf8:
		p = "UTF8SMTP"
	}
	if c.tls != nil {
		p += "S"
	}
	if c.user != "" {
		p += "A"
	}
	return p
}
