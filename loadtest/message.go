package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// A Message is an envelope and mail data (RFC 5321 §2.3.1, §2.3.9). It is
// checked and prepared for the wire once, when it is first sent, so that a
// Message that is sent often costs nothing but its octets. From then on its
// fields must not change. It is safe for concurrent use and must not be copied:
// see [Message.WithRecipients].
type Message struct {
	From       string   // reverse-path without angle brackets; "" is the null reverse-path
	To         []string // forward-paths; at least one
	MailParams string   // esmtp parameters of MAIL, such as "BODY=8BITMIME RET=HDRS"; "" for none
	RcptParams string   // esmtp parameters of every RCPT, such as "NOTIFY=NEVER"; "" for none
	// Data is header and body, each line ended by CRLF; not dot-stuffed. A bare
	// CR or LF is an error. A CRLF is added if the last line has none. nil is a
	// message without a line.
	//
	// MAIL gets BODY=8BITMIME if Data has octets above 127, the server offers
	// 8BITMIME and MailParams has no BODY; and SMTPUTF8 if an address has them.
	Data []byte

	once sync.Once
	env  envelope // guarded by once
	err  error    // guarded by once
	data atomic.Pointer[mailData]
}

// WithRecipients returns a message with the same sender, parameters and data,
// which they share, and other recipients.
func (m *Message) WithRecipients(to ...string) *Message {
	w := &Message{From: m.From, To: to, MailParams: m.MailParams, RcptParams: m.RcptParams, Data: m.Data}
	w.data.Store(m.mailData())
	return w
}

// Check returns an error if the message cannot be sent: no recipient, a bad
// address, a bare CR or LF. Sending it would fail with the same error.
func (m *Message) Check() error {
	_, err := m.prepare()
	return err
}

// prepare returns the wire form of m, made in the first call.
func (m *Message) prepare() (*envelope, error) {
	m.once.Do(func() { m.err = m.makeEnvelope() })
	if m.err != nil {
		return nil, m.err
	}
	return &m.env, nil
}

// mailData returns the wire form of m.Data. It is not under once, as messages
// share it.
func (m *Message) mailData() *mailData {
	if d := m.data.Load(); d != nil {
		return d
	}
	m.data.CompareAndSwap(nil, newMailData(m.Data))
	return m.data.Load()
}

// An envelope is a message ready for the wire: all of it is written as it is.
type envelope struct {
	*mailData
	commands []byte // MAIL, RCPT ... and DATA
	rcpts    []int  // where in commands each RCPT begins, and where DATA does
	eightBit []byte // MAIL with BODY=8BITMIME; nil if that is not needed
	utf8     bool   // an address needs SMTPUTF8
}

// mail returns the MAIL command for a server that offers 8BITMIME or not.
func (e *envelope) mail(eightBit bool) []byte {
	if eightBit && e.eightBit != nil {
		return e.eightBit
	}
	return e.commands[:e.rcpts[0]]
}

// rcpt returns the i-th RCPT command.
func (e *envelope) rcpt(i int) []byte { return e.commands[e.rcpts[i]:e.rcpts[i+1]] }

// recipients returns how many RCPT commands there are.
func (e *envelope) recipients() int { return len(e.rcpts) - 1 }

// afterMail returns the RCPT commands, and DATA if withData.
func (e *envelope) afterMail(withData bool) []byte {
	end := len(e.commands)
	if !withData {
		end = e.rcpts[len(e.rcpts)-1]
	}
	return e.commands[e.rcpts[0]:end]
}

func (m *Message) makeEnvelope() error {
	if len(m.To) == 0 {
		return errors.New("smtp: message has no recipient: set To")
	}
	data := m.mailData()
	if data.err != nil {
		return fmt.Errorf("smtp: message: %w", data.err)
	}
	m.env.mailData = data
	if m.From != "" {
		if err := smtpwire.CheckAddress(m.From); err != nil {
			return fmt.Errorf("smtp: message: From %q: %w", m.From, err)
		}
	}
	m.env.utf8 = smtpwire.NeedsUTF8(m.From)
	for _, to := range m.To {
		if err := smtpwire.CheckAddress(to); err != nil {
			return fmt.Errorf("smtp: message: To %q: %w", to, err)
		}
		m.env.utf8 = m.env.utf8 || smtpwire.NeedsUTF8(to)
	}
	for name, params := range map[string]string{"MailParams": m.MailParams, "RcptParams": m.RcptParams} {
		if err := smtpwire.CheckParams([]byte(params)); err != nil {
			return fmt.Errorf("smtp: message: %s %q: %w", name, params, err)
		}
	}

	params := m.MailParams
	if m.env.utf8 && !hasParam(params, "SMTPUTF8") {
		params = joinParams(params, "SMTPUTF8")
	}
	if data.eightBit && !hasParam(params, "BODY") {
		m.env.eightBit = smtpwire.AppendMail(nil, m.From, joinParams(params, "BODY=8BITMIME"))
	}
	b := smtpwire.AppendMail(nil, m.From, params)
	m.env.rcpts = make([]int, 0, len(m.To)+1)
	for _, to := range m.To {
		m.env.rcpts = append(m.env.rcpts, len(b))
		b = smtpwire.AppendRcpt(b, to, m.RcptParams)
	}
	m.env.rcpts = append(m.env.rcpts, len(b))
	m.env.commands = append(b, "DATA\r\n"...)
	return nil
}

func joinParams(params, more string) string {
	if params == "" {
		return more
	}
	return params + " " + more
}

func hasParam(params, key string) bool {
	has := false
	smtpwire.Params([]byte(params), func(k, _ []byte, _ bool) bool {
		has = strings.EqualFold(string(k), key)
		return !has
	})
	return has
}

// mailData is mail data ready for the wire, shared by all messages that have it.
type mailData struct {
	stuffed  []byte // for DATA: dot-stuffed, with the end of data
	chunk    []byte // for BDAT: as it is, the last line complete
	eightBit bool   // has octets above 127
	err      error
}

func newMailData(data []byte) *mailData {
	if err := smtpwire.CheckData(data); err != nil {
		return &mailData{err: err}
	}
	d := &mailData{eightBit: !isASCII(data)}
	d.stuffed = smtpwire.AppendDotStuffed(make([]byte, 0, len(data)+len(data)/64+8), data)
	switch complete := len(data) == 0 || bytes.HasSuffix(data, []byte("\r\n")); {
	case complete && len(d.stuffed) == len(data)+len(smtpwire.EndOfData),
		!complete && len(d.stuffed) == len(data)+len("\r\n")+len(smtpwire.EndOfData):
		// No dot was stuffed: one copy serves both.
		d.chunk = d.stuffed[:len(d.stuffed)-len(smtpwire.EndOfData)]
	case complete:
		d.chunk = data
	default:
		d.chunk = append(append(make([]byte, 0, len(data)+2), data...), "\r\n"...)
	}
	return d
}

// size is that of RFC 1870 §5: line ends counted, stuffed dots not.
func (d *mailData) size() int64 { return int64(len(d.chunk)) }

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
