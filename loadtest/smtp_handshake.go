package loadtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/benchmail/benchmail/internal/smtpwire"
	"github.com/benchmail/benchmail/internal/turn"
)

// extensions is what the server offers in its reply to EHLO (RFC 5321 §2.2).
type extensions struct {
	startTLS, pipelining, chunking, eightBit, smtpUTF8 bool

	mailMax int    // LIMITS MAILMAX (RFC 9422): transactions in a session; 0: no limit
	auth    string // SASL mechanisms, upper case, a space before each
}

func parseExtensions(r smtpwire.Reply) extensions {
	var ext extensions
	for keyword, args := range r.Keywords {
		switch params := strings.ToUpper(string(args)); strings.ToUpper(string(keyword)) {
		case "STARTTLS":
			ext.startTLS = true
		case "PIPELINING":
			ext.pipelining = true
		case "CHUNKING":
			ext.chunking = true
		case "8BITMIME":
			ext.eightBit = true
		case "SMTPUTF8":
			ext.smtpUTF8 = true
		case "AUTH":
			ext.auth += " " + params // there may be an "AUTH=" for old clients too
		case "LIMITS":
			for limit := range strings.FieldsSeq(params) {
				if n, ok := strings.CutPrefix(limit, "MAILMAX="); ok {
					ext.mailMax, _ = strconv.Atoi(n)
				}
			}
		}
	}
	return ext
}

// handshake brings a new connection to where the first MAIL can be sent.
func (s *session) handshake(ctx context.Context) error {
	s.watch(ctx)
	defer s.unwatch()
	if s.dialer.Security == ImplicitTLS {
		if err := s.startTLS(); err != nil {
			return err
		}
	} else {
		s.conn = turn.New(s.socket)
	}
	s.acquire()
	if err := s.greeting(); err != nil {
		return err
	}
	if err := s.hello(); err != nil {
		return err
	}
	if err := s.secure(); err != nil {
		return err
	}
	if err := s.authenticate(); err != nil {
		return err
	}
	if err := s.checkExchange(); err != nil {
		return err
	}
	if s.r < s.w {
		_, err := s.stray(stepEHLO)
		return err
	}
	if s.aborted.Load() {
		return s.fail(s.helloStep(), context.Cause(ctx))
	}
	s.release()
	return nil
}

func (s *session) greeting() error {
	r, err := s.reply(stepGreeting, 0)
	if err != nil {
		var e *SMTPError
		if errors.As(err, &e) && s.dialer.Security != ImplicitTLS {
			switch {
			case s.w > 1 && s.buf.in[0] == 0x15 && s.buf.in[1] == 3: // a TLS alert
				e.hint = "the server speaks TLS: is it a port for ImplicitTLS?"
			case e.Kind() == "timeout greeting":
				e.hint = "is it a port for ImplicitTLS, where the client speaks first?"
			case e.Kind() == "protocol greeting":
				e.hint = "is it an SMTP server?"
			}
		}
		return err
	}
	s.lap(PhaseGreeting, &s.phases)
	if r.Code/100 != 2 {
		return s.failSetup(stepGreeting, r)
	}
	return nil
}

// failSetup makes the error of a handshake that the server refuses.
func (s *session) failSetup(st step, r smtpwire.Reply) *SMTPError {
	e := newReplyError(st, r)
	switch {
	case r.Code == 421:
		e.hint = "the server may have had too many sessions, or too many in a short time: use fewer Sessions, or raise its limits"
	case st == stepAuth:
		e.hint = "see what the function in SMTP.Auth returns"
	}
	s.lost = e
	return e
}

// command sends a command of the handshake and returns its reply.
func (s *session) command(st step, line string) (smtpwire.Reply, error) {
	s.send([]byte(line + "\r\n"))
	return s.reply(st, s.queued)
}

// hello says EHLO, or LHLO, or HELO to a server that does not know EHLO if
// nothing is wanted that needs it.
func (s *session) hello() error {
	s.ext = extensions{}
	st := stepEHLO
	if s.dialer.LMTP {
		st = stepLHLO
	}
	r, err := s.command(st, st.name()+" "+s.setup.hello)
	if err != nil {
		return err
	}
	s.lap(PhaseEHLO, &s.phases)
	if r.Code/100 == 2 {
		s.ext = parseExtensions(r)
		return nil
	}
	refusal := s.failSetup(st, r)
	if s.dialer.LMTP && r.Code/100 == 5 {
		refusal.hint = "is it a server for SMTP and not LMTP?"
	}
	if s.dialer.LMTP || r.Code/100 != 5 {
		return refusal
	}
	if need := s.needsEHLO(); need != "" {
		refusal.hint = need + " needs EHLO"
		return refusal
	}
	s.lost = nil
	if r, err = s.command(stepHELO, "HELO "+s.setup.hello); err != nil {
		return err
	}
	s.lap(PhaseEHLO, &s.phases)
	if r.Code/100 != 2 {
		return s.failSetup(stepHELO, r)
	}
	return nil
}

// needsEHLO names the field that makes HELO too little.
func (s *session) needsEHLO() string {
	d := s.dialer
	switch {
	case d.Security == STARTTLS:
		return "Security STARTTLS (set it to loadtest.Plaintext to do without)"
	case d.Auth != nil:
		return "Auth"
	case d.Exchange == Pipelined:
		return "Exchange Pipelined"
	case d.Exchange == Chunked:
		return "Exchange Chunked"
	}
	return ""
}

// secure does STARTTLS (RFC 3207), if it is wanted.
func (s *session) secure() error {
	switch s.dialer.Security {
	case STARTTLS:
	case STARTTLSIfOffered:
		if !s.ext.startTLS {
			return nil
		}
	default:
		return nil
	}
	if !s.ext.startTLS {
		return s.failOffer(stepSTARTTLS, "STARTTLS", "set Security to loadtest.Plaintext to do without")
	}
	r, err := s.command(stepSTARTTLS, "STARTTLS")
	if err != nil {
		return err
	}
	if r.Code/100 != 2 {
		return s.failSetup(stepSTARTTLS, r)
	}
	// What came in plaintext behind the 220 would be taken for the answer to
	// the first command under TLS: somebody on the way may have put it there
	// (NO STARTTLS, USENIX Security 2021).
	if s.r < s.w {
		e := s.fail(stepSTARTTLS, protocolError("the server sent %q in plaintext behind its reply to STARTTLS: response injection", clip(s.buf.in[s.r:s.w])))
		e.kind = "STARTTLS injection"
		return e
	}
	if err := s.startTLS(); err != nil {
		return err
	}
	// All that the server said before is forgotten (§4.2).
	return s.hello()
}

// startTLS does the TLS handshake on the connection.
func (s *session) startTLS() error {
	conn := tls.Client(s.socket, s.setup.tls)
	s.tick()
	s.arm(stepTLS)
	// Not HandshakeContext: it costs a goroutine, and the deadline serves.
	if err := conn.Handshake(); err != nil {
		e := s.fail(stepTLS, err)
		if hint := tlsHint(err); hint != "" {
			e.hint = hint
		}
		return e
	}
	s.tick()
	s.lap(PhaseSTARTTLS, &s.phases)
	s.tls = conn
	s.conn = turn.New(conn)
	s.quickACK = !s.dialer.DelayedACK
	return nil
}

// failOffer makes the error for an extension that is needed and not offered.
func (s *session) failOffer(st step, keyword, hint string) *SMTPError {
	e := s.fail(st, fmt.Errorf("the server does not offer %s", keyword))
	e.hint = hint
	e.kind = keyword + " not offered"
	return e
}

// checkExchange says whether the server can do what the exchange needs.
func (s *session) checkExchange() error {
	x := s.dialer.Exchange
	switch {
	case x != Lockstep && !s.ext.pipelining:
		return s.failOffer(s.helloStep(), "PIPELINING", "set Exchange to loadtest.Lockstep")
	case x == Chunked && !s.ext.chunking:
		return s.failOffer(s.helloStep(), "CHUNKING", "set Exchange to loadtest.Pipelined")
	}
	return nil
}

func (s *session) helloStep() step {
	if s.dialer.LMTP {
		return stepLHLO
	}
	return stepEHLO
}

// maxChallenges is more than any SASL mechanism has.
const maxChallenges = 32

// authenticate does AUTH (RFC 4954), if it is wanted.
func (s *session) authenticate() error {
	if s.dialer.Auth == nil {
		return nil
	}
	client := s.dialer.Auth()
	if client == nil {
		return s.fail(stepAuth, errors.New("the function in SMTP.Auth returned nil"))
	}
	mechanism, initial, err := client.Start()
	if err != nil {
		return s.fail(stepAuth, err)
	}
	if !offers(s.ext.auth, mechanism) {
		hint := "it offers no AUTH"
		if strings.TrimSpace(s.ext.auth) != "" {
			hint = "it offers" + s.ext.auth
		} else if s.tls == nil {
			hint += " without TLS: set Security to loadtest.STARTTLS"
		}
		return s.failOffer(stepAuth, "AUTH "+mechanism, hint)
	}
	line := "AUTH " + mechanism
	if initial != nil {
		line += " " + encodeInitial(initial)
	}
	for range maxChallenges {
		r, err := s.command(stepAuth, line)
		if err != nil {
			return err
		}
		switch r.Code / 100 {
		case 2:
			s.lap(PhaseAuth, &s.phases)
			return nil
		case 3:
		default:
			return s.failSetup(stepAuth, r)
		}
		response, err := answerChallenge(client, r)
		if err != nil {
			// "*" cancels; the reply to it, a 501, says nothing new.
			if _, lost := s.command(stepAuth, "*"); lost != nil {
				return lost
			}
			return s.fail(stepAuth, err)
		}
		line = base64.StdEncoding.EncodeToString(response)
	}
	return s.fail(stepAuth, protocolError("more than %d challenges", maxChallenges))
}

func offers(mechanisms, mechanism string) bool {
	for m := range strings.FieldsSeq(mechanisms) {
		if strings.EqualFold(m, mechanism) {
			return true
		}
	}
	return false
}

// encodeInitial encodes an initial response: "=" is an empty one (RFC 4954 §4).
func encodeInitial(initial []byte) string {
	if len(initial) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(initial)
}

// nextStep is what answerChallenge needs of a sasl.Client.
type nextStep interface {
	Next(challenge []byte) (response []byte, err error)
}

func answerChallenge(client nextStep, r smtpwire.Reply) ([]byte, error) {
	var text []byte
	for line := range r.Lines {
		text = line
	}
	challenge, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(text))
	if err != nil {
		return nil, protocolError("challenge: %w", err)
	}
	return client.Next(challenge)
}
