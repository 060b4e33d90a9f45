package loadtest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// kindOf returns the kind under which err is counted.
func kindOf(err error) string {
	if k, ok := errors.AsType[Kinder](err); ok {
		return k.Kind()
	}
	if kind, _ := errnoKind(err); kind != "" {
		return kind
	}
	// An error of a Session that knows no kinds. Its text is all there is; if
	// it differs each time, maxKinds bounds what that costs.
	const maxText = 80
	text, _, _ := strings.Cut(err.Error(), "\n")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// errnoKind classifies errors of the operating system, the net package and
// contexts: "connect: connection refused", "timeout", "EOF". It returns "" for
// an error it does not know. generator says that this side ran out of
// something, so that the error is no finding about the server; the kind then
// is "generator: " and the errno's name.
func errnoKind(err error) (kind string, generator bool) {
	errno, isErrno := errors.AsType[syscall.Errno](err)
	if isErrno {
		if name, ok := generatorErrnos[errno]; ok {
			return "generator: " + name, true
		}
	}
	generator = errors.Is(err, ErrGenerator)

	// Connecting is the one system call that is worth naming: a connection
	// that could not be made and one that was lost are different findings.
	prefix := ""
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		prefix = "connect: "
	}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	timeouter, isTimeout := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	switch {
	case isDNS && dns.IsNotFound:
		kind = "lookup: no such host"
	case isDNS && dns.IsTimeout:
		kind = "lookup: timeout"
	case isDNS:
		kind = "lookup"
	case errors.Is(err, ErrOpTimeout):
		kind = "timeout"
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, os.ErrDeadlineExceeded),
		isTimeout && timeouter.Timeout():
		kind = prefix + "timeout"
	case errors.Is(err, context.Canceled):
		kind = "canceled"
	case isErrno && errno == syscall.ECONNRESET:
		kind = prefix + "connection reset"
	case isErrno && errno == syscall.EPIPE:
		kind = "broken pipe"
	case isErrno:
		kind = prefix + errno.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		kind = "unexpected EOF"
	case errors.Is(err, io.EOF):
		kind = "EOF"
	case errors.Is(err, net.ErrClosed):
		kind = "connection closed"
	case generator:
		kind = "generator"
	}
	return kind, generator
}

// generatorErrnos are the resources that a load generator runs out of.
var generatorErrnos = map[syscall.Errno]string{
	syscall.EMFILE:        "EMFILE",
	syscall.ENFILE:        "ENFILE",
	syscall.EADDRNOTAVAIL: "EADDRNOTAVAIL",
	syscall.ENOBUFS:       "ENOBUFS",
	syscall.ENOMEM:        "ENOMEM",
}

const (
	maxKinds  = 64
	kindOther = "other" // errors of a kind that came when there were maxKinds already
)

// An errorTable counts errors by kind.
type errorTable struct {
	mu    sync.Mutex // guards kinds
	kinds map[string]*ErrorCount
}

func (t *errorTable) add(kind string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.kinds[kind]
	if c == nil && len(t.kinds) >= maxKinds {
		kind = kindOther
		c = t.kinds[kind]
	}
	if c == nil {
		if t.kinds == nil {
			t.kinds = make(map[string]*ErrorCount)
		}
		c = &ErrorCount{Kind: kind, Example: err}
		t.kinds[kind] = c
	}
	c.Count++
}

// list returns the counts, the most frequent first.
func (t *errorTable) list() []ErrorCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []ErrorCount
	for _, c := range t.kinds {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b ErrorCount) int {
		if a.Count != b.Count {
			if a.Count > b.Count {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Kind, b.Kind)
	})
	return all
}
