package loadtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// An SMTPError says in which phase a session or a mail transaction came to its
// end, and why: the server's reply, or what happened in place of one.
type SMTPError struct {
	// Phase is the command that was not answered as hoped ("EHLO", "STARTTLS",
	// "AUTH", "MAIL", "RCPT", "DATA", "RSET", "QUIT"), or "connect",
	// "greeting", "TLS" for its handshake, and "message" for mail data, BDAT
	// included.
	Phase string
	// Code is the reply code, 0 if it was not a reply that ended the phase.
	Code int
	// Enhanced is the reply's enhanced status code (RFC 3463), such as "4.7.1",
	// "" if it had none.
	Enhanced string
	// Text is the reply's text with the enhanced status code, its lines joined
	// by "\n".
	Text string
	// Err is the cause if it was not a reply, or more about the reply. It may
	// be os.ErrDeadlineExceeded, io.EOF, an error of crypto/x509 and so on.
	Err error

	hint    string // what to do about it
	kind    string // if it cannot be derived from the others
	refused bool   // the session goes on
	inDoubt bool
}

// Error returns the phase, the reply or the cause, and what to do about it where
// that is known.
func (e *SMTPError) Error() string {
	var sb strings.Builder
	sb.WriteString("smtp: ")
	sb.WriteString(e.Phase)
	sb.WriteString(": ")
	if e.Code != 0 {
		sb.WriteString(strconv.Itoa(e.Code))
		if e.Text != "" {
			sb.WriteByte(' ')
			sb.WriteString(printable(e.Text))
		}
		if e.Err != nil {
			sb.WriteString(": ")
		}
	}
	if e.Err != nil {
		sb.WriteString(e.Err.Error())
	}
	if e.inDoubt {
		sb.WriteString(" (in doubt: the mail data was sent)")
	}
	if e.hint != "" {
		sb.WriteString("; ")
		sb.WriteString(e.hint)
	}
	return sb.String()
}

// printable keeps a server from writing to the terminal of whoever reads an
// error, and an error to one line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return '/'
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd:
			return '?'
		}
		return r
	}, text)
}

// Unwrap returns a *textproto.Error for a reply, and the cause.
func (e *SMTPError) Unwrap() []error {
	var errs []error
	if e.Code != 0 {
		errs = append(errs, &textproto.Error{Code: e.Code, Msg: e.Text})
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// Is reports how e counts: ErrRefused for a 4xx or 5xx in a mail transaction,
// ErrThrottled for a 421 anywhere, ErrInDoubt, ErrGenerator.
func (e *SMTPError) Is(target error) bool {
	switch target {
	case ErrRefused:
		return e.refused
	case ErrThrottled:
		return e.Code == 421
	case ErrInDoubt:
		return e.inDoubt
	case ErrGenerator:
		return generatorErrno(e.Err) != ""
	}
	return false
}

// Kind returns a short name that is the same for all errors of its kind:
// "RCPT 451 4.7.1", "timeout DATA", "lost MAIL", "protocol EHLO",
// "tls certificate", "connect ECONNREFUSED", "generator: EADDRNOTAVAIL".
func (e *SMTPError) Kind() string {
	switch {
	case e.kind != "":
		return e.kind
	case e.Code != 0 && e.Enhanced != "":
		return e.Phase + " " + strconv.Itoa(e.Code) + " " + e.Enhanced
	case e.Code != 0:
		return e.Phase + " " + strconv.Itoa(e.Code)
	}
	if name := generatorErrno(e.Err); name != "" {
		return "generator: " + name
	}
	switch {
	case isTimeout(e.Err):
		return "timeout " + e.Phase
	case errors.Is(e.Err, context.Canceled), errors.Is(e.Err, ErrAborted):
		return "canceled " + e.Phase
	case errors.Is(e.Err, smtpwire.ErrReplySyntax), errors.Is(e.Err, smtpwire.ErrReplyTooLong), errors.Is(e.Err, errProtocol):
		return "protocol " + e.Phase
	case isCertificateError(e.Err):
		return "tls certificate"
	case e.Phase == phaseNameTLS && !isLost(e.Err):
		return "tls handshake"
	case e.Phase == phaseNameConnect:
		if errors.Is(e.Err, syscall.ECONNREFUSED) {
			return "connect ECONNREFUSED"
		}
		return "connect"
	}
	return "lost " + e.Phase
}

// errProtocol is what errors about a server that breaks the protocol wrap.
var errProtocol = errors.New("protocol error")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errProtocol}, args...)...)
}

// newReplyError makes an error of a reply; r need not stay valid.
func newReplyError(st step, r smtpwire.Reply) *SMTPError {
	return &SMTPError{Phase: st.name(), Code: r.Code, Enhanced: r.Enhanced.String(), Text: r.Text()}
}

// generatorErrno names the errno in err that says that this side is out of
// resources, "" if there is none.
func generatorErrno(err error) string {
	errno, _ := errors.AsType[syscall.Errno](err)
	return generatorErrnos[errno]
}

// canceled returns the error for a context that ended. Its cause may be an error
// of another session, which must not make this one count as that.
func canceled(cause error) error {
	if cause == ErrOpTimeout || cause == ErrAborted || cause == context.DeadlineExceeded || cause == context.Canceled {
		return cause
	}
	return fmt.Errorf("%w: %v", context.Canceled, cause)
}

// isTimeout is true for deadlines of connections and contexts.
func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// isLost is true if the peer has closed or reset the connection.
func isLost(err error) bool {
	for _, lost := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

func isCertificateError(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// tlsHint says what to do about a handshake that failed.
func tlsHint(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &host):
		return "set TLSConfig.ServerName to a name that the certificate has"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the server's certificate, or set TLSConfig.Time"
	case errors.As(err, &authority):
		return "set TLSConfig.RootCAs to a pool with the server's certificate or its CA"
	case isCertificateError(err):
		return "see TLSConfig for what is trusted"
	case errors.As(err, &record):
		return "the server does not speak TLS here: is it a port for STARTTLS or Plaintext?"
	}
	return ""
}
