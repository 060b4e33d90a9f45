package smtptest

import (
	"maps"
	"strings"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// xclient carries out XCLIENT (Postfix's XCLIENT_README): the session is as new,
// and the reply is the greeting.
func (c *session) xclient(arg []byte) *reply {
	switch {
	case !c.srv.ext.xclient:
		return replyNotImplemented
	case c.tx.active:
		return replyInTransaction
	case len(arg) == 0:
		return replyNeedArgument
	}
	attributes := make(map[string]string)
	var r *reply
	smtpwire.Params(arg, func(key, value []byte, hasValue bool) bool {
		name := strings.ToUpper(string(key))
		text, err := smtpwire.AppendXtextDecoded(nil, value)
		switch name {
		case "NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT":
			if !hasValue || err != nil {
				r = replyParamSyntax
			}
		default:
			r = replyParamSyntax
		}
		attributes[name] = string(text)
		return r == nil
	})
	if r != nil {
		return r
	}
	if c.attributes == nil {
		c.attributes = attributes
	} else {
		// A later XCLIENT adds to an earlier one. The map may be in a Message.
		merged := maps.Clone(c.attributes)
		maps.Copy(merged, attributes)
		c.attributes = merged
	}
	c.forget()
	if login := attributes["LOGIN"]; login != "" {
		c.user = login
		if strings.EqualFold(login, "[UNAVAILABLE]") {
			c.user = ""
		}
	}
	return c.srv.greeting
}
