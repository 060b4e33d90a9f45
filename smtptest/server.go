package smtptest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benchmail/benchmail/loadtest"
)

// A Server is an SMTP or LMTP server for tests. Make one with [NewServer],
// [NewSink] or [NewUnstartedServer]. The fields are read by Start and
// StartImplicitTLS and must not change after that; all methods may be called
// from many goroutines.
type Server struct {
	// Addr is where to listen: "host:port" or "unix:/path". "" means
	// 127.0.0.1:0, or [::1]:0 where there is no IPv4. After Start it is the
	// address that was bound, in the same form. A unix socket is removed by
	// Close.
	Addr string
	// Listener replaces Addr. It belongs to the server, which closes it. nil
	// means that Addr is listened on.
	Listener net.Listener

	// Hostname is the server's name in the greeting and in the certificate made
	// for it. "" means "localhost".
	Hostname string
	// LMTP makes it an LMTP server (RFC 2033): LHLO, and a reply for each
	// accepted recipient after the end of data.
	LMTP bool

	// TLSConfig is for STARTTLS and implicit TLS. It is cloned; if it has no
	// certificate, one for Hostname, localhost, 127.0.0.1 and ::1 is added. nil
	// means just that. Sessions can be resumed unless SessionTicketsDisabled.
	TLSConfig *tls.Config
	// NoSTARTTLS makes a server without STARTTLS: not offered, and refused with
	// 502.
	NoSTARTTLS bool
	// RequireTLS refuses, before TLS, every command but NOOP, EHLO (HELO, LHLO),
	// STARTTLS and QUIT with 530 5.7.0 (RFC 3207 §4).
	RequireTLS bool

	// Hide is a list of EHLO keywords, such as "PIPELINING", that the server
	// does not announce. The commands and parameters behind them are refused:
	// BDAT with 502, SIZE= with 555, and so on; commands that come before the
	// reply to the one before them, without PIPELINING, end the session with
	// 554. What cannot be without a hidden one is hidden with it: BINARYMIME
	// with CHUNKING, SMTPUTF8 with 8BITMIME.
	Hide []string
	// HELOOnly makes a server without extensions: EHLO is refused with 502.
	HELOOnly bool
	// Announce adds lines to the EHLO reply, as they are ("XFOO 1 2").
	Announce []string

	// MaxSize is the largest mail data accepted, in octets as RFC 1870 §5
	// counts them. It is announced with SIZE; more is refused with 552, at
	// MAIL when the client declares it and at the end of data in any case. 0
	// means no limit.
	MaxSize int64
	// MaxRecipients is how many RCPT commands a transaction may have, announced
	// with LIMITS RCPTMAX (RFC 9422 §4.2: refused ones count too); more are
	// refused with 452. 0 means no limit.
	MaxRecipients int
	// MaxMessages is how many MAIL commands a session may have, announced with
	// LIMITS MAILMAX (RFC 9422 §4.1: refused ones count too); one more is
	// answered with 421. 0 means no limit.
	MaxMessages int
	// MaxSessions is how many sessions there may be at once; one more is greeted
	// with 421. 0 means no limit.
	MaxSessions int

	// Users maps user names to passwords (tokens, for XOAUTH2 and OAUTHBEARER).
	// nil means that AUTH is not offered.
	Users map[string]string
	// Mechanisms are the SASL mechanisms to offer, of PLAIN, LOGIN, CRAM-MD5,
	// XOAUTH2 and OAUTHBEARER. nil means all of these.
	Mechanisms []string
	// AllowInsecureAuth offers all mechanisms before TLS too. Otherwise those
	// that send the password are not offered then and refused with 538.
	AllowInsecureAuth bool
	// RequireAuth refuses, before AUTH, every command but AUTH, EHLO (HELO,
	// LHLO), NOOP, RSET, STARTTLS and QUIT with 530 5.7.0 (RFC 4954 §6).
	RequireAuth bool

	// XClient offers XCLIENT, Postfix's extension by which a proxy says whom it
	// speaks for. Anybody may use it then.
	XClient bool

	// Discard counts messages and keeps nothing: the sink for load.
	Discard bool
	// Hook is asked for each command before the server answers it. nil means
	// none.
	Hook Hook

	// IdleTimeout is how long a client may send nothing, not read its replies,
	// or take for a TLS handshake, until the session is ended with 421 4.4.2.
	// It is accurate to an eighth, never early. 0 means 5 minutes (RFC 5321
	// §4.5.3.2.7).
	IdleTimeout time.Duration
	// Log receives a transcript of all sessions: a call for each line, from many
	// goroutines. tb.Logf fits. It has passwords in it. nil means none.
	Log func(format string, args ...any)

	tb       testing.TB
	implicit bool // set by StartImplicitTLS

	prepareOnce sync.Once
	prepareErr  error
	ext         extensions
	tlsConfig   *tls.Config
	roots       *x509.CertPool
	rootsPEM    []byte
	greeting    *reply
	helo        *reply
	ehlo        *reply
	ehloTLS     *reply
	keep        bool // envelopes are kept: for capture or the Hook

	ctx    context.Context // ends when the server closes; for Hooks
	cancel context.CancelFunc
	wg     sync.WaitGroup // of the accept loop, the sweep and the sessions

	box      mailbox
	hookSeen [verbCount]atomic.Int64 // for Command.N

	done        chan struct{} // closed when Close has finished
	mu          sync.Mutex    // guards what follows
	started     bool
	closed      bool
	sweeping    bool
	sessions    map[*session]struct{}
	lastSession int64
	open        int64 // sessions that count as open
	past        Stats // of the sessions that ended
}

// NewServer returns a started server that offers STARTTLS, accepts everything
// and keeps each message. It is closed when the test ends. If it cannot listen
// the test fails at once.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	s := NewUnstartedServer(tb)
	s.Start()
	return s
}

// NewSink returns a started server that offers STARTTLS, accepts everything and
// counts messages without keeping them: the server for load.
func NewSink(tb testing.TB) *Server {
	tb.Helper()
	s := NewUnstartedServer(tb)
	s.Discard = true
	s.Start()
	return s
}

// NewUnstartedServer returns a server that does not listen yet, so that its
// fields can be set before Start or StartImplicitTLS. It is closed when the test
// ends.
func NewUnstartedServer(tb testing.TB) *Server {
	s := &Server{tb: tb, sessions: make(map[*session]struct{}), done: make(chan struct{})}
	s.past.Commands = make(map[string]int64)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.box.wanted.Store(nobody)
	tb.Cleanup(s.Close)
	return s
}

// Start listens and serves. STARTTLS is offered unless NoSTARTTLS is set. If
// that fails, the test fails at once.
func (s *Server) Start() {
	s.tb.Helper()
	if err := s.listen(); err != nil {
		s.tb.Fatalf("smtptest: Start: %v", err)
	}
}

// StartImplicitTLS listens and serves with TLS from the first octet (RFC 8314
// §3.3). If that fails, the test fails at once.
func (s *Server) StartImplicitTLS() {
	s.tb.Helper()
	s.implicit = true
	if err := s.listen(); err != nil {
		s.tb.Fatalf("smtptest: StartImplicitTLS: %v", err)
	}
}

// prepare makes of the fields what the sessions need. It is done once, by Start
// or by the first ServeConn.
func (s *Server) prepare() error {
	s.prepareOnce.Do(func() {
		if s.Hostname == "" {
			s.Hostname = "localhost"
		}
		if s.IdleTimeout == 0 {
			s.IdleTimeout = 5 * time.Minute
		}
		s.keep = !s.Discard || s.Hook != nil
		if _, err := s.mechanisms(); err != nil {
			s.prepareErr = err
			return
		}
		s.ext = s.extensions()
		kind := "ESMTP"
		switch {
		case s.LMTP:
			kind = "LMTP"
		case s.HELOOnly:
			kind = "SMTP"
		}
		s.greeting = newReply(220, enhanced{}, s.Hostname+" "+kind+" smtptest")
		s.helo = newReply(250, enhanced{}, s.Hostname)
		s.ehlo, s.ehloTLS = s.ehloReply(false), s.ehloReply(true)
		s.prepareErr = s.prepareTLS()
	})
	return s.prepareErr
}

// Dialer returns a new Dialer for a started server. It requires STARTTLS, or
// what the server has in its place, and trusts the server's certificate. If
// RequireAuth is set it authenticates as the first user in alphabetical order.
func (s *Server) Dialer() *loadtest.SMTP {
	d := &loadtest.SMTP{Addr: s.Addr, LMTP: s.LMTP, TLSConfig: s.ClientTLSConfig()}
	switch {
	case s.implicit:
		d.Security = loadtest.ImplicitTLS
	case !s.ext.starttls:
		d.Security = loadtest.Plaintext
	}
	if s.RequireAuth {
		d.Auth = s.clientAuth
	}
	return d
}
