package loadtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A setup is what an SMTP derives from its fields, once.
type setup struct {
	network string         // "tcp", "tcp4", "tcp6" or "unix"
	host    string         // without brackets; "" for a unix socket
	port    string         // or the path of a unix socket
	literal netip.AddrPort // if host is an address: no look-up needed

	portNumber uint16
	local      netip.Addr // the zero value lets the kernel choose
	hello      string
	tls        *tls.Config
	depth      int
	timeouts   Timeouts
	connects   chan struct{} // holds a token for each connect under way; nil: no limit
	buffers    sync.Pool     // of *buffers
	err        error         // a field is wrong

	// oneByOne means that the server has shown that it does not end a
	// transaction whose mail data it refuses, so that the next one's commands
	// must not go with the data (Pipelined with Depth 2).
	oneByOne atomic.Bool
}

// address returns what NetDial is given.
func (s *setup) address() string {
	if s.network == "unix" {
		return s.port
	}
	return net.JoinHostPort(s.host, s.port)
}

// maxDepth is the largest Depth.
const maxDepth = 128

// prepare fills d.setup in the first call.
func (d *SMTP) prepare() (*setup, error) {
	d.once.Do(func() {
		if err := d.makeSetup(); err != nil {
			d.setup.err = fmt.Errorf("smtp: %w", err)
		}
	})
	return &d.setup, d.setup.err
}

func (d *SMTP) makeSetup() error {
	s := &d.setup
	if err := s.parseAddr(d.Addr, d.Network); err != nil {
		return err
	}
	if d.LocalAddr != "" && s.network != "unix" {
		ip, err := netip.ParseAddr(d.LocalAddr)
		if err != nil {
			return fmt.Errorf("field LocalAddr: %w", err)
		}
		s.local = ip
	}
	if d.Security > Plaintext {
		return fmt.Errorf("field Security: %d is not one of the constants", d.Security)
	}
	s.hello = d.Hello
	if s.hello == "" {
		s.hello = "localhost"
	}
	if strings.ContainsFunc(s.hello, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("field Hello: %q is not a domain", s.hello)
	}

	most := 1
	switch d.Exchange {
	case Lockstep:
	case Pipelined:
		most = 2
	case Chunked:
		most = maxDepth
	default:
		return fmt.Errorf("field Exchange: %d is not one of the constants", d.Exchange)
	}
	if d.Depth < 0 || d.Depth > most {
		return fmt.Errorf("field Depth: %d: must be from 1 to 1 with Lockstep, 2 with Pipelined, 128 with Chunked; 0 means 1", d.Depth)
	}
	s.depth = max(1, d.Depth)

	if d.Security != Plaintext {
		if s.tls = d.TLSConfig.Clone(); s.tls == nil {
			s.tls = new(tls.Config)
		}
		if s.tls.ServerName == "" {
			if s.tls.ServerName = s.host; s.host == "" {
				s.tls.ServerName = "localhost"
			}
		}
		switch {
		case !d.ResumeTLS:
			s.tls.ClientSessionCache = nil
		case s.tls.ClientSessionCache == nil:
			// All sessions are with one server, so they share one entry; a
			// TLS 1.3 ticket is used once, and who comes too late does a
			// full handshake.
			s.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
	}

	s.timeouts = d.Timeouts.withDefaults()
	if d.MaxConnects >= 0 {
		s.connects = make(chan struct{}, max(1, d.MaxConnects))
	}
	return nil
}

const addrForm = `want "host:port", "[::1]:port" or "unix:/path"`

func (s *setup) parseAddr(addr, network string) error {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if path == "" {
			return fmt.Errorf("field Addr %q: no path: %s", addr, addrForm)
		}
		s.network, s.port = "unix", path
		return nil
	}
	switch network {
	case "":
		network = "tcp"
	case "tcp", "tcp4", "tcp6":
	default:
		return fmt.Errorf(`field Network %q: want "tcp", "tcp4" or "tcp6"`, network)
	}
	s.network = network
	var err error
	s.host, s.port, err = net.SplitHostPort(strings.TrimPrefix(addr, "inet:"))
	if err == nil && s.host == "" {
		err = errors.New("no host")
	}
	if err == nil && s.port == "" {
		err = errors.New("no port")
	}
	if err != nil {
		var form *net.AddrError
		if errors.As(err, &form) {
			err = errors.New(form.Err)
		}
		return fmt.Errorf("field Addr %q: %w: %s", addr, err, addrForm)
	}
	port, err := net.LookupPort("tcp", s.port) // "smtp" is a port
	if err != nil {
		return fmt.Errorf("field Addr %q: %w", addr, err)
	}
	s.port, s.portNumber = strconv.Itoa(port), uint16(port)
	if ip, err := netip.ParseAddr(s.host); err == nil {
		s.literal = netip.AddrPortFrom(ip, uint16(port))
	}
	return nil
}
