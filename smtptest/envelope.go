package smtptest

import (
	"bytes"
	"errors"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// A transaction is what the server knows of the current one, from MAIL on.
type transaction struct {
	active     bool
	rcpts      int   // RCPT commands
	recipients int   // accepted ones
	size       int64 // declared with SIZE
	utf8       bool
	binary     bool // BODY=BINARYMIME

	chunks  int64 // octets that came with BDAT
	inBDAT  bool  // a chunk came
	refused bool  // a chunk was refused: the transaction can only be given up

	// What follows is kept for capture and for the Hook only.
	from       string
	to         []string
	mailParams string
	rcptParams []string
}

// endTransaction forgets the transaction, if there is one.
func (c *session) endTransaction() {
	c.tx = transaction{}
	c.body = nil
}

func (c *session) mail(arg []byte) *reply {
	switch {
	case c.hello == "":
		return c.helloFirst()
	case c.tx.active:
		return replyNested
	case c.srv.MaxMessages > 0 && c.mails > int64(c.srv.MaxMessages):
		return replyTooManyMessages
	}
	path, params, err := smtpwire.ParseMail(arg)
	if err != nil {
		return replyPathSyntax
	}
	tx, r := c.mailParams(params)
	if r != nil {
		return r
	}
	if err := smtpwire.CheckPath(path, tx.utf8); err != nil {
		if errors.Is(err, smtpwire.ErrNonASCII) {
			return replyUTF8Needed
		}
		return replyPathSyntax
	}
	if c.srv.keep {
		tx.from, tx.mailParams = string(path), string(params)
	}
	tx.active = true
	c.tx = tx
	c.transactions++
	return replyMailOK
}

func (c *session) rcpt(arg []byte) *reply {
	switch {
	case !c.tx.active:
		return replyNeedMail
	case c.tx.inBDAT: // RFC 3030 §2
		return replyInBDAT
	}
	path, params, err := smtpwire.ParseRcpt(arg)
	if err != nil {
		return replyRcptSyntax
	}
	if err := smtpwire.CheckPath(path, c.tx.utf8); err != nil {
		if errors.Is(err, smtpwire.ErrNonASCII) {
			return replyUTF8Needed
		}
		return replyRcptSyntax
	}
	if r := c.rcptParams(params); r != nil {
		return r
	}
	if c.srv.MaxRecipients > 0 && c.tx.rcpts > c.srv.MaxRecipients {
		return replyTooManyRcpts
	}
	c.tx.recipients++
	if c.srv.keep {
		c.tx.to = append(c.tx.to, string(path))
		c.tx.rcptParams = append(c.tx.rcptParams, string(params))
	}
	return replyRcptOK
}

// mailParams checks the parameters of MAIL. Those of extensions that were not
// announced, as after HELO, are not recognized (RFC 5321 §4.1.1.11).
func (c *session) mailParams(params []byte) (tx transaction, r *reply) {
	ext := c.srv.ext
	if !c.esmtp {
		ext = extensions{}
	}
	var seen paramSet
	smtpwire.Params(params, func(key, value []byte, hasValue bool) bool {
		valid := true
		var param paramSet
		switch {
		case ext.size && smtpwire.EqualFold(key, "SIZE"):
			param = paramSize
			var err error
			tx.size, err = smtpwire.ParseSize(value)
			valid = err == nil
			if valid && c.srv.MaxSize > 0 && tx.size > c.srv.MaxSize {
				r = replyTooBig
			}
		case ext.eightBit && smtpwire.EqualFold(key, "BODY"):
			param = paramBody
			tx.binary = ext.binary && smtpwire.EqualFold(value, "BINARYMIME")
			valid = tx.binary || smtpwire.EqualFold(value, "7BIT") || smtpwire.EqualFold(value, "8BITMIME")
		case ext.utf8 && smtpwire.EqualFold(key, "SMTPUTF8"):
			param = paramUTF8
			tx.utf8, valid = true, !hasValue
		case ext.dsn && smtpwire.EqualFold(key, "RET"):
			param = paramRet
			valid = smtpwire.EqualFold(value, "FULL") || smtpwire.EqualFold(value, "HDRS")
		case ext.dsn && smtpwire.EqualFold(key, "ENVID"):
			param = paramEnvid
			valid = len(value) > 0 && len(value) <= 100 && isXtext(value)
		case ext.auth && smtpwire.EqualFold(key, "AUTH"): // RFC 4954 §5
			param = paramAuth
			valid = len(value) > 0 && (string(value) == "<>" || isXtext(value))
		default:
			r = replyParam
		}
		r = seen.add(param, valid, r)
		return r == nil
	})
	return tx, r
}

// rcptParams checks the parameters of RCPT.
func (c *session) rcptParams(params []byte) (r *reply) {
	dsn := c.srv.ext.dsn && c.esmtp
	var seen paramSet
	smtpwire.Params(params, func(key, value []byte, hasValue bool) bool {
		valid := true
		var param paramSet
		switch {
		case dsn && smtpwire.EqualFold(key, "NOTIFY"):
			param = paramNotify
			valid = isNotify(value)
		case dsn && smtpwire.EqualFold(key, "ORCPT"):
			param = paramOrcpt
			valid = isOrcpt(value, c.tx.utf8)
		default:
			r = replyParam
		}
		r = seen.add(param, valid, r)
		return r == nil
	})
	return r
}

// paramSet is a set of parameters: each may come once.
type paramSet uint8

// add notes param and returns the reply that refuses it: r if there is one
// already, nil if it is well.
func (s *paramSet) add(param paramSet, valid bool, r *reply) *reply {
	switch {
	case r != nil:
	case !valid:
		r = replyParamSyntax
	case *s&param != 0:
		r = replyParamTwice
	}
	*s |= param
	return r
}

const (
	paramSize paramSet = 1 << iota
	paramBody
	paramUTF8
	paramRet
	paramEnvid
	paramAuth

	paramNotify paramSet = 1 << 0
	paramOrcpt  paramSet = 1 << 1
)

// isXtext checks RFC 3461 §4: printable ASCII without "+" and "=", and "+" with
// two upper-case hexadecimal digits.
func isXtext(b []byte) bool {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '+':
			if i+2 >= len(b) || !isHex(b[i+1]) || !isHex(b[i+2]) {
				return false
			}
			i += 2
		case c <= ' ' || c >= 0x7f || c == '=':
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// isNotify checks RFC 3461 §4.1: NEVER alone, or a list of the others.
func isNotify(b []byte) bool {
	if smtpwire.EqualFold(b, "NEVER") {
		return true
	}
	for {
		word, rest, more := bytes.Cut(b, []byte{','})
		if !smtpwire.EqualFold(word, "SUCCESS") && !smtpwire.EqualFold(word, "FAILURE") && !smtpwire.EqualFold(word, "DELAY") {
			return false
		}
		if !more {
			return true
		}
		b = rest
	}
}

// isOrcpt checks RFC 3461 §4.2: type;xtext, and with SMTPUTF8 also octets above
// 127 (RFC 6533 §3).
func isOrcpt(b []byte, utf8 bool) bool {
	kind, address, ok := bytes.Cut(b, []byte{';'})
	if !ok || len(kind) == 0 || len(address) == 0 || len(b) > 500 {
		return false
	}
	for _, c := range kind {
		if c <= ' ' || c >= 0x7f || bytes.IndexByte([]byte(`()<>@,;:\".[]+=`), c) >= 0 {
			return false
		}
	}
	if utf8 && smtpwire.EqualFold(kind, "UTF-8") {
		return true // utf-8-addr-unitext and xtext with \x{...}; not ours to read
	}
	return isXtext(address)
}
