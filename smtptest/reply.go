package smtptest

import (
	"strconv"
	"strings"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// A reply is ready to be sent, with enhanced status codes and without (RFC 2034
// may be hidden).
type reply struct {
	code            int
	enhanced, plain string
}

func newReply(code int, enhanced smtpwire.EnhancedCode, text string) *reply {
	return &reply{
		code:     code,
		enhanced: string(smtpwire.AppendReply(nil, code, enhanced, text)),
		plain:    string(smtpwire.AppendReply(nil, code, smtpwire.EnhancedCode{}, text)),
	}
}

type enhanced = smtpwire.EnhancedCode

var (
	replyOK       = newReply(250, enhanced{2, 0, 0}, "Ok")
	replyMailOK   = newReply(250, enhanced{2, 1, 0}, "Ok")
	replyRcptOK   = newReply(250, enhanced{2, 1, 5}, "Ok")
	replyChunkOK  = newReply(250, enhanced{2, 0, 0}, "Chunk received")
	replyAccepted = newReply(250, enhanced{2, 0, 0}, "Ok: message accepted")
	replyVrfy     = newReply(252, enhanced{2, 1, 5}, "Cannot verify, but mail to it is accepted")
	replyHelp     = newReply(214, enhanced{2, 0, 0}, "A server for tests: github.com/benchmail/benchmail/smtptest")
	replyBye      = newReply(221, enhanced{2, 0, 0}, "Bye")
	replyStart    = newReply(354, enhanced{}, "End data with <CR><LF>.<CR><LF>")

	replyBareLF         = newReply(500, enhanced{5, 5, 2}, "Command line ends with LF: end it with CRLF")
	replyControl        = newReply(500, enhanced{5, 5, 2}, "Control character in command line")
	replyLineTooLong    = newReply(500, enhanced{5, 5, 6}, "Line too long")
	replyLineEndless    = newReply(421, enhanced{4, 5, 2}, "Line without an end; closing")
	replyUnknown        = newReply(500, enhanced{5, 5, 1}, "Command not recognized")
	replyNotImplemented = newReply(502, enhanced{5, 5, 1}, "Command not implemented")
	replyUseLHLO        = newReply(500, enhanced{5, 5, 1}, "This is LMTP: use LHLO")
	replyUseEHLO        = newReply(500, enhanced{5, 5, 1}, "This is SMTP: use EHLO")
	replyNoParameters   = newReply(501, enhanced{5, 5, 4}, "No parameters allowed")
	replyNeedName       = newReply(501, enhanced{5, 5, 4}, "Domain name or address literal missing")
	replyNeedArgument   = newReply(501, enhanced{5, 5, 4}, "Argument missing")

	replyHelloFirst      = newReply(503, enhanced{5, 5, 1}, "Send EHLO first")
	replyLHLOFirst       = newReply(503, enhanced{5, 5, 1}, "Send LHLO first")
	replyNested          = newReply(503, enhanced{5, 5, 1}, "Nested MAIL command")
	replyNeedMail        = newReply(503, enhanced{5, 5, 1}, "Send MAIL first")
	replyNeedRcpt        = newReply(503, enhanced{5, 5, 1}, "No valid recipients: send RCPT first")
	replyNeedBDAT        = newReply(503, enhanced{5, 5, 1}, "Send this message with BDAT")
	replyInBDAT          = newReply(503, enhanced{5, 5, 1}, "Chunks were sent: send BDAT LAST or RSET")
	replyBDATFailed      = newReply(503, enhanced{5, 5, 1}, "An earlier chunk was refused: send RSET")
	replyInTransaction   = newReply(503, enhanced{5, 5, 1}, "Not allowed in a mail transaction")
	replyNoService       = newReply(503, enhanced{5, 5, 1}, "No service here: send QUIT")
	replyBDATSyntax      = newReply(501, enhanced{5, 5, 4}, "Syntax: BDAT size [LAST]; closing, as nobody knows where the chunk ends")
	replySynchronization = newReply(554, enhanced{5, 5, 0}, "Command sent before the reply to the last one, and no PIPELINING; closing")

	replyPathSyntax  = newReply(501, enhanced{5, 1, 7}, "Bad address syntax: use FROM:<address>")
	replyRcptSyntax  = newReply(501, enhanced{5, 1, 3}, "Bad address syntax: use TO:<address>")
	replyUTF8Needed  = newReply(553, enhanced{5, 6, 7}, "Address is not ASCII: use SMTPUTF8")
	replyParamSyntax = newReply(501, enhanced{5, 5, 4}, "Bad parameter value")
	replyParamTwice  = newReply(501, enhanced{5, 5, 4}, "Parameter given twice")
	replyParam       = newReply(555, enhanced{5, 5, 4}, "Parameter not recognized")

	replyTooManyRcpts    = newReply(452, enhanced{4, 5, 3}, "Too many recipients")
	replyTooBig          = newReply(552, enhanced{5, 3, 4}, "Message too big")
	replyTooManyMessages = newReply(421, enhanced{4, 7, 0}, "Too many messages in one session; closing")
	replyTooManySessions = newReply(421, enhanced{4, 7, 0}, "Too many sessions; closing")
	replyTimeout         = newReply(421, enhanced{4, 4, 2}, "Timeout; closing")

	replyReadyForTLS     = newReply(220, enhanced{2, 0, 0}, "Ready to start TLS")
	replyTLSActive       = newReply(503, enhanced{5, 5, 1}, "TLS is active already")
	replyTLSFirst        = newReply(530, enhanced{5, 7, 0}, "Send STARTTLS first")
	replyPlaintextBehind = newReply(554, enhanced{5, 5, 0}, "Plaintext behind STARTTLS; closing")

	replyAuthFirst      = newReply(530, enhanced{5, 7, 0}, "Authentication required")
	replyAuthOK         = newReply(235, enhanced{2, 7, 0}, "Authentication successful")
	replyAuthTwice      = newReply(503, enhanced{5, 5, 1}, "Already authenticated")
	replyAuthCancelled  = newReply(501, enhanced{5, 7, 0}, "Authentication cancelled")
	replyAuthBase64     = newReply(501, enhanced{5, 5, 2}, "Not base64")
	replyAuthGarbage    = newReply(501, enhanced{5, 5, 2}, "Not what this mechanism sends")
	replyAuthLong       = newReply(500, enhanced{5, 5, 6}, "Authentication exchange line is too long")
	replyAuthMechanism  = newReply(504, enhanced{5, 5, 4}, "Mechanism not offered")
	replyAuthSyntax     = newReply(501, enhanced{5, 5, 4}, "Syntax: AUTH mechanism [initial response]")
	replyAuthEncryption = newReply(538, enhanced{5, 7, 11}, "Mechanism needs TLS: send STARTTLS first")
	replyAuthFailed     = newReply(535, enhanced{5, 7, 8}, "Authentication failed")
)

// say appends a reply to what is sent when the input is empty (RFC 2920 §3.2).
func (c *session) say(r *reply) {
	if c.override != "" && c.override[0] == byte('0'+r.code/100) {
		c.sayRaw(c.override)
		return
	}
	text := r.enhanced
	if !c.srv.ext.enhanced {
		text = r.plain
	}
	c.replied = true
	c.out = append(c.out, text...)
	if r.code >= 400 {
		c.refused(text)
	}
	if r.code == 421 {
		c.closing = true
	}
	if c.srv.Log != nil {
		c.logReply(text)
	}
}

// sayRaw appends a Hook's reply, as it is.
func (c *session) sayRaw(text string) {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	if !strings.HasSuffix(text, "\n") {
		text += "\r\n"
	}
	c.replied = true
	c.out = append(c.out, text...)
	if text[0] == '4' || text[0] == '5' {
		c.refused(text)
	}
	if strings.HasPrefix(text, "421") {
		c.closing = true
	}
	if c.srv.Log != nil {
		c.logReply(text)
	}
}

func (c *session) refused(text string) {
	line, _, _ := strings.Cut(text, "\r\n")
	c.counts.refused.Add(1)
	c.srv.box.noteRefusal(c.verb, line)
}

func (c *session) logReply(text string) {
	for line := range strings.Lines(text) {
		c.log("S: %s", strings.TrimRight(line, "\r\n"))
	}
}

func (c *session) log(format string, args ...any) {
	if c.srv.Log != nil {
		c.srv.Log("session "+strconv.FormatInt(c.id, 10)+" "+format, args...)
	}
}
