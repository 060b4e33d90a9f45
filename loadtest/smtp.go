package loadtest

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
)

// Security is how a session is protected.
type Security uint8

const (
	// STARTTLS requires the server to offer STARTTLS (RFC 3207) and to have a
	// certificate that verifies. It is the default.
	STARTTLS Security = iota
	// STARTTLSIfOffered goes on in plaintext with a server that does not offer
	// STARTTLS. One that offers it must have a certificate that verifies.
	STARTTLSIfOffered
	// ImplicitTLS begins with the TLS handshake (RFC 8314 §3.3, port 465).
	ImplicitTLS
	// Plaintext never uses TLS, whatever the server offers.
	Plaintext
)

// Exchange is how commands and replies take turns in a mail transaction.
type Exchange uint8

const (
	// Lockstep waits for each reply before it sends the next command, as
	// smtp-source does: 4 round trips for a message with one recipient.
	Lockstep Exchange = iota
	// Pipelined sends MAIL, RCPT ... and DATA in one write (RFC 2920): 2 round
	// trips. With Depth 2 the end of data and the next message's MAIL, RCPT ...
	// and DATA share a write: 1 round trip.
	Pipelined
	// Chunked sends MAIL, RCPT ..., BDAT LAST and the message in one write
	// (RFC 3030 and RFC 2920): 1 round trip, and with Depth n, 1/n.
	Chunked
)

// SMTP opens sessions with an SMTP (RFC 5321) or LMTP (RFC 2033) server: it is
// the [Dialer] for mail. Its zero value needs Addr. Fields must not change once
// it was used. An SMTP is safe for concurrent use and must not be copied.
//
// Errors of Dial and of the sessions are of type [*SMTPError], but for those
// that say that a field or a [Message] is wrong.
//
// What the server answered decides how a mail transaction counts: any 4xx or
// 5xx is a refusal (ErrRefused) and leaves the session in use; 421, in whatever
// place, is ErrThrottled and ends it. A transaction with several recipients is
// accepted if its data was accepted for at least one of them. One whose last
// octet of mail data was written when the session was lost, or timed out, is in
// doubt (ErrInDoubt), as is one of LMTP that lacks some of its final replies;
// before that octet it has failed.
type SMTP struct {
	// Addr is the server: "host:port", "[::1]:port" or "unix:/path".
	// smtp-source's "inet:host:port" is understood too. A name is looked up for
	// each session, and its addresses are tried in turn.
	Addr string
	// Network is "tcp" (also for ""), "tcp4" or "tcp6". It is ignored for a
	// unix socket.
	Network string
	// LMTP makes it LMTP: LHLO, and a reply for each accepted recipient.
	LMTP bool

	// Security is how sessions are protected. The zero value is STARTTLS.
	Security Security
	// TLSConfig is for STARTTLS and ImplicitTLS. nil means the system's roots;
	// an empty ServerName is set to the host in Addr, to "localhost" for a unix
	// socket. It is cloned. Its ClientSessionCache is used with ResumeTLS only.
	TLSConfig *tls.Config
	// ResumeTLS makes sessions resume earlier TLS sessions where the server
	// allows it. Otherwise every handshake is a full one.
	ResumeTLS bool

	// Hello is the domain or address literal of EHLO, HELO or LHLO. "" means
	// "localhost".
	Hello string
	// Auth returns the SASL client of a new session. nil means no AUTH.
	Auth func() sasl.Client

	// Exchange is how commands and replies take turns. Pipelined fails if the
	// server does not offer PIPELINING, Chunked if it does not offer PIPELINING
	// and CHUNKING.
	Exchange Exchange
	// Depth is how many mail transactions a session has in flight. 0 means 1.
	// At most 1 with Lockstep, 2 with Pipelined, 128 with Chunked.
	//
	// With more than 1, commands are under way before it is known that the
	// transaction ahead of them was not refused, and some servers do not take
	// them then. Chunked sends again what was refused for that alone (RFC 3030
	// §2 wants a RSET). Pipelined has to give up the session if such a server
	// asks for data, so that an operation fails, and from then on waits for the
	// reply to the data. Postfix is such a server if
	// smtpd_end_of_data_restrictions refuses; with Chunked, version 3.7 has
	// been seen to crash.
	Depth int

	// Message returns the message of operation n. It is called from many
	// goroutines. A *Message may be returned again and again, and should be: it
	// is prepared for the wire once. nil means a short text from and to
	// loadtest@localhost.
	Message func(n int64) *Message

	// Timeouts bound each phase.
	Timeouts Timeouts
	// MaxConnects is how many connects may be under way at once. 0 means 1: a
	// burst of SYNs makes the server's kernel drop some, and their
	// retransmission spoils the benchmark. Negative means no limit. Greetings
	// and handshakes of different sessions overlap in any case.
	MaxConnects int
	// LocalAddr is the address to connect from, such as "127.0.0.2". "" lets
	// the kernel choose.
	LocalAddr string
	// AllowPublic allows an address that is not loopback, private (RFC 1918,
	// RFC 4193) or link-local. It is checked for the address that is dialled.
	AllowPublic bool
	// ResetOnClose closes connections with a RST (SO_LINGER 0), after QUIT was
	// answered, so that no local port waits in TIME_WAIT. smtp-source does so
	// always.
	ResetOnClose bool
	// DelayedACK leaves TCP_QUICKACK alone. Otherwise it is set once after
	// STARTTLS, on Linux: a Postfix that sends its session ticket and then the
	// EHLO reply is held by Nagle's algorithm until our ACK, some 40 ms.
	DelayedACK bool
	// NetDial replaces net.Dialer: for proxies and tests. AllowPublic is
	// checked on the RemoteAddr of what it returns, if that is an IP address.
	// nil means none.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	once  sync.Once
	setup setup // what once derives from the fields
}

// Timeouts bound the phases of a session, each from its command to its reply.
// They are accurate to about an eighth, never early. RFC 5321 §4.5.3.2 asks
// real mail clients for minutes. 0 means the default given.
type Timeouts struct {
	Connect  time.Duration // 10 s
	Greeting time.Duration // 30 s
	TLS      time.Duration // the handshake: 30 s
	Command  time.Duration // EHLO, AUTH, MAIL, RCPT, DATA, RSET: 30 s
	Message  time.Duration // from the first octet of mail data to the reply: 60 s
	Quit     time.Duration // 1 s
}

// The phases that SMTP times. A phase begins with its command's write, or with
// the reply before it if that came later, as it does when pipelining.
var (
	PhaseConnect  = NewPhase("connect")
	PhaseGreeting = NewPhase("greeting")
	PhaseEHLO     = NewPhase("ehlo")     // EHLO, HELO or LHLO; twice with STARTTLS
	PhaseSTARTTLS = NewPhase("starttls") // command, reply and handshake; the handshake alone for ImplicitTLS
	PhaseAuth     = NewPhase("auth")
	PhaseMail     = NewPhase("mail")
	PhaseRcpt     = NewPhase("rcpt")
	PhaseData     = NewPhase("data")
	PhaseMessage  = NewPhase("message") // the mail data, to its last reply; BDAT included
	PhaseQuit     = NewPhase("quit")
)
