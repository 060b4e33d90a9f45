package smtptest

// This file is the agreed API; the server's author distributes it over files named by nouns.

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/benchmail/benchmail/loadtest"
)

// A Server is an SMTP or LMTP server for tests. Fields are read by Start.
type Server struct {
	// Addr is where to listen: "host:port" or "unix:/path". "" means 127.0.0.1:0, or [::1]:0 where there is no IPv4.
	// After Start it is the address that was bound.
	Addr string
	// Listener replaces Addr. nil means none.
	Listener net.Listener

	Hostname string // in the greeting; "" means "localhost"
	LMTP     bool

	// TLSConfig is the server's; a certificate is added if it has none. nil means a default.
	TLSConfig *tls.Config
	// NoSTARTTLS: not offered, 502 ... ; RequireTLS: 530 5.7.0 for MAIL and AUTH before TLS.
	NoSTARTTLS, RequireTLS bool

	// Extensions to hide: upper-case EHLO keywords, such as "PIPELINING", "CHUNKING". The commands and parameters behind them are refused then.
	Hide []string
	// HELOOnly refuses EHLO with 502 (smtp-sink -E).
	HELOOnly bool
	// Announce: additional EHLO lines, verbatim.
	Announce []string

	// MaxSize is the largest mail data, announced with SIZE. 0 means no limit (SIZE 0).
	MaxSize int64
	// MaxRecipients per transaction, announced with LIMITS RCPTMAX. 0 means no limit.
	MaxRecipients int
	// MaxMessages per session, announced with LIMITS MAILMAX; 421 after. 0 means no limit.
	MaxMessages int
	// MaxSessions at once; more get a 421 greeting. 0 means no limit.
	MaxSessions int

	// Users maps user names to passwords for AUTH PLAIN, LOGIN (CRAM-MD5 optional). nil: AUTH is not offered.
	Users map[string]string
	// RequireAuth: 530 5.7.0 for MAIL before AUTH.
	RequireAuth bool

	// Discard counts messages and keeps nothing: the sink for load.
	Discard bool
	// Hook sees each command. nil means none.
	Hook Hook

	// IdleTimeout: 0 means 5 minutes (RFC 5321 §4.5.3.2.7). 421 4.4.2 then close.
	IdleTimeout time.Duration
	// Log receives a transcript of every session if not nil. Format one line each.
	Log func(format string, args ...any)

	_ sync.Mutex
}

func NewServer(tb testing.TB) *Server          { panic("todo") } // started: plaintext and STARTTLS
func NewUnstartedServer(tb testing.TB) *Server { panic("todo") }

// NewSink returns a started Server with Discard: the sink for load.
func NewSink(tb testing.TB) *Server { panic("todo") }
func (s *Server) Start()                       { panic("todo") }
func (s *Server) StartImplicitTLS()            { panic("todo") }
func (s *Server) Close()                       { panic("todo") }

// Dialer returns a new Dialer that trusts the server's certificate and requires STARTTLS (or ImplicitTLS, or
// Plaintext with NoSTARTTLS; LMTP, unix socket as the server is).
func (s *Server) Dialer() *loadtest.SMTP      { panic("todo") }
func (s *Server) ClientTLSConfig() *tls.Config { panic("todo") }
func (s *Server) CertificatePEM() []byte       { panic("todo") }

// Messages returns the messages accepted so far, oldest first.
func (s *Server) Messages() []*Message { panic("todo") }

// Wait waits until n messages in all were accepted and returns them (nil with Discard) — without polling.
func (s *Server) Wait(ctx context.Context, n int) ([]*Message, error) { panic("todo") }
func (s *Server) Stats() Stats                                        { panic("todo") }

type Message struct {
	From                string // reverse-path
	To                  []string
	MailParams          string // as sent
	RcptParams          []string
	Data                []byte // byte-exact, unstuffed
	Hello, Protocol     string // EHLO argument; "SMTP","ESMTP","ESMTPS","ESMTPA","ESMTPSA","LMTP"... RFC 3848
	User                string // AUTH identity
	TLS                 *tls.ConnectionState
	RemoteAddr          net.Addr
	Session, Sequence   int64 // which session (from 1), which message in it (from 1)
	Received            time.Time
}

type Stats struct {
	Sessions, Open                      int64 // accepted in all, open now
	Messages, Recipients, Bytes         int64 // accepted
	Refused                             int64 // commands answered with 4xx or 5xx
	TLSHandshakes, TLSResumed           int64
	Auths                               int64
	Commands                            map[string]int64
}

// Hook is asked for each command before the server answers it: also for "CONNECT" (the greeting), "." (end of data) and "TLS" (before handshake).
// It may wait (honouring ctx, which ends when the server closes) and returns how to go on.
type Hook func(ctx context.Context, c *Command) Action

type Command struct {
	Verb      string // "CONNECT", "EHLO", "MAIL", ... "." ; upper case
	Arg       string
	Session   int64 // number of the session, from 1
	Message   int64 // number of the transaction in the session, from 1; 0 outside
	N         int64 // how many commands of this verb the server has seen, this one included
	From      string
	To        []string
	Recipient string // of RCPT; of "." under LMTP, the one the reply is for
	RemoteAddr net.Addr
}

// Action is how to go on. The zero value lets the server answer by itself.
type Action struct {
	Reply  string        // "450 4.2.0 Try later"; "" = the server's own. After a 421 the session is closed.
	Delay  time.Duration // before the reply
	Close  CloseMode     // Hang up: KeepOpen (0), CloseAfterReply, CloseWithoutReply (FIN), Reset (RST), ClosePartial (half of the reply, then FIN)
}
type CloseMode uint8
