package smtptest

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Message is an accepted mail transaction: its envelope, its mail data and the
// session that it came over. It must not be changed.
type Message struct {
	From string   // reverse-path without angle brackets; "" is the null one
	To   []string // accepted forward-paths, in order; never empty
	// MailParams are the esmtp parameters of MAIL as they were sent, RcptParams
	// those of RCPT, one for each of To; "" for none.
	MailParams string
	RcptParams []string
	// Data is the mail data, octet by octet as the client meant it: with its
	// line ends and without stuffed dots.
	Data []byte

	Hello string // what the client said it is, in EHLO, HELO or LHLO
	// Protocol is the keyword for Received headers (RFC 3848, RFC 6531 §4.3):
	// "SMTP", "ESMTP", "ESMTPS" with TLS, "ESMTPA" with AUTH, "ESMTPSA" with
	// both, "LMTP", "LMTPS" ..., "UTF8SMTP" ... with SMTPUTF8.
	Protocol   string
	User       string               // AUTH identity; "" without AUTH
	TLS        *tls.ConnectionState // nil in plaintext
	RemoteAddr net.Addr
	// XClient are the attributes of the last XCLIENT by their names in upper
	// case; nil without.
	XClient map[string]string

	Session  int64     // number of the session, from 1
	Sequence int64     // number of the accepted message in the session, from 1
	Received time.Time // when the end of its data came
}

// Messages returns the messages accepted so far in the order they were accepted:
// none if Discard is set. The slice is the caller's.
func (s *Server) Messages() []*Message {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	return slices.Clone(s.box.messages)
}

// Wait waits until n messages in all were accepted, and returns all there are
// then: nil if Discard is set. It fails when ctx ends or the server is closed
// before; the error says how many there were and what was refused meanwhile.
func (s *Server) Wait(ctx context.Context, n int) ([]*Message, error) {
	b := &s.box
	before, _ := b.refusalsSince(0)
	enough := b.await(int64(n))
	var cause error
	select {
	case <-enough:
		return s.Messages(), nil
	default:
	}
	select {
	case <-enough:
		return s.Messages(), nil
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-s.ctx.Done():
		cause = net.ErrClosed
	}
	b.giveUp(enough)
	if got := b.count.Load(); got >= int64(n) {
		return s.Messages(), nil
	}
	text := fmt.Sprintf("%d of %d messages came", b.count.Load(), n)
	if count, last := b.refusalsSince(before); count > before {
		text += fmt.Sprintf("; %d commands were refused meanwhile, the last: %s", count-before, strings.Join(last, ", "))
	}
	return nil, fmt.Errorf("smtptest: Wait: %s: %w", text, cause)
}

// nobody is the number of messages that nobody waits for.
const nobody = math.MaxInt64

// A mailbox holds the messages and those who wait for them.
type mailbox struct {
	_     [64]byte     // these two share a cache line with nothing else
	count atomic.Int64 // of messages accepted, kept or not
	// wanted is the smallest number that somebody waits for. A session looks at
	// it after each message, so that it need not lock mu.
	wanted atomic.Int64
	_      [64]byte

	mu       sync.Mutex // guards what follows
	messages []*Message
	waiters  []waiter
	refusals int64
	last     [4]string // refusals, a ring: number i is at i%4
}

type waiter struct {
	n  int64
	ch chan struct{} // closed when there are n messages
}

// put keeps m, if not nil, and counts a message.
func (b *mailbox) put(m *Message) {
	if m != nil {
		b.mu.Lock()
		b.messages = append(b.messages, m)
		b.mu.Unlock()
	}
	// First count, then look; await first announces itself, then looks at the
	// count: one of the two sees the other.
	if b.count.Add(1) >= b.wanted.Load() {
		b.wake()
	}
}

func (b *mailbox) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.count.Load()
	b.waiters = slices.DeleteFunc(b.waiters, func(w waiter) bool {
		if w.n > n {
			return false
		}
		close(w.ch)
		return true
	})
	b.setWanted()
}

func (b *mailbox) setWanted() {
	wanted := int64(nobody)
	for _, w := range b.waiters {
		wanted = min(wanted, w.n)
	}
	b.wanted.Store(wanted)
}

// await returns a channel that is closed when there are n messages.
func (b *mailbox) await(n int64) chan struct{} {
	ch := make(chan struct{})
	b.mu.Lock()
	b.waiters = append(b.waiters, waiter{n, ch})
	b.setWanted()
	b.mu.Unlock()
	b.wake()
	return ch
}

func (b *mailbox) giveUp(ch chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters = slices.DeleteFunc(b.waiters, func(w waiter) bool { return w.ch == ch })
	b.setWanted()
}

func (b *mailbox) noteRefusal(verb, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[b.refusals%int64(len(b.last))] = verb + " " + line
	b.refusals++
}

// refusalsSince returns how many refusals there were, and the last few after the
// first n.
func (b *mailbox) refusalsSince(n int64) (count int64, last []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := int64(len(b.last))
	for i := max(n, b.refusals-k); i < b.refusals; i++ {
		last = append(last, b.last[i%k])
	}
	return b.refusals, last
}
