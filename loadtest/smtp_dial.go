package loadtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/benchmail/benchmail/internal/loopback"
)

// Dial connects, reads the greeting, does EHLO, STARTTLS or implicit TLS, and
// AUTH as the fields of d say. The session outlives ctx. An error is a
// *SMTPError unless a field is wrong.
func (d *SMTP) Dial(ctx context.Context) (Session, error) {
	set, err := d.prepare()
	if err != nil {
		return nil, err
	}
	s := &session{dialer: d, setup: set}
	if s.socket, s.base, err = d.connect(ctx); err != nil {
		return nil, connectError(ctx, err, set)
	}
	s.now = time.Since(s.base)
	s.phases.Add(PhaseConnect, s.now)
	s.mark = s.now
	if err := s.handshake(ctx); err != nil {
		s.unwatch()
		s.abandon()
		return nil, err
	}
	return s, nil
}

// connect opens the connection, to one address or to each that a name has until
// one answers, and returns when that connect began.
func (d *SMTP) connect(ctx context.Context) (net.Conn, time.Time, error) {
	set := &d.setup
	if d.NetDial != nil || set.network == "unix" {
		return d.connectTo(ctx, netip.AddrPort{})
	}
	if set.literal.IsValid() {
		if err := d.checkPublic(set.literal.Addr()); err != nil {
			return nil, time.Time{}, err
		}
		return d.connectTo(ctx, set.literal)
	}
	network := "ip" + set.network[len("tcp"):] // ip, ip4, ip6
	lookup, cancel := context.WithTimeout(ctx, set.timeouts.Connect)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(lookup, network, set.host)
	if err != nil {
		return nil, time.Time{}, err
	}
	// Each address is checked before a packet goes to it. One that is public
	// does not keep another from being used.
	var errs []error
	for _, ip := range ips {
		ip = ip.Unmap()
		err := d.checkPublic(ip)
		if err == nil {
			var conn net.Conn
			var began time.Time
			if conn, began, err = d.connectTo(ctx, netip.AddrPortFrom(ip, set.portNumber)); err == nil {
				return conn, began, nil
			}
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, time.Time{}, inOneLine(errs)
}

// inOneLine joins errors, one for each address of a name, so that the text is
// one line: errors.Join makes a line of each.
type inOneLine []error

func (e inOneLine) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, ", ")
}

func (e inOneLine) Unwrap() []error { return e }

// connectTo makes one connect and returns when it began. That is after the wait
// for a token, which is about this side and not about the server. to is not
// valid for a unix socket and for NetDial, which have an address of their own.
func (d *SMTP) connectTo(ctx context.Context, to netip.AddrPort) (net.Conn, time.Time, error) {
	set := &d.setup
	if set.connects != nil {
		select {
		case set.connects <- struct{}{}:
			defer func() { <-set.connects }()
		case <-ctx.Done():
			return nil, time.Time{}, fmt.Errorf("waiting for one of %d connects (MaxConnects): %w", cap(set.connects), context.Cause(ctx))
		}
	}
	began := time.Now()
	if to.Addr().Unmap().IsLoopback() {
		conn, err := loopback.Dial(ctx, to, set.local, set.timeouts.Connect)
		return conn, began, err
	}
	addr := set.address()
	if to.IsValid() {
		addr = to.String()
	}
	ctx, cancel := context.WithDeadline(ctx, began.Add(set.timeouts.Connect))
	defer cancel()
	if d.NetDial != nil {
		conn, err := d.NetDial(ctx, set.network, addr)
		if err != nil {
			return nil, began, err
		}
		if err := d.checkRemote(conn); err != nil {
			conn.Close()
			return nil, began, err
		}
		return conn, began, nil
	}
	// Keep-alive is of no use here and costs three system calls.
	dialer := net.Dialer{KeepAlive: -1}
	if set.local.IsValid() && set.network != "unix" {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(set.local, 0))
	}
	conn, err := dialer.DialContext(ctx, set.network, addr)
	return conn, began, err
}

func (d *SMTP) checkRemote(conn net.Conn) error {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return d.checkPublic(tcp.AddrPort().Addr())
	}
	if addr, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		return d.checkPublic(addr.Addr())
	}
	return nil
}

// errPublic says that an address was not dialled.
var errPublic = errors.New("a public address: this is a load generator; set AllowPublic if you may put load on it")

func (d *SMTP) checkPublic(ip netip.Addr) error {
	ip = ip.Unmap()
	// The unspecified address is the local host.
	if d.AllowPublic || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() {
		return nil
	}
	return fmt.Errorf("%s: %w", ip, errPublic)
}

// connectError wraps why there is no connection.
func connectError(ctx context.Context, err error, set *setup) error {
	e := &SMTPError{Phase: phaseNameConnect, Err: err}
	switch {
	case errors.Is(err, errPublic):
		e.kind = "connect public address"
	case errors.Is(err, syscall.ECONNREFUSED), set.network == "unix" && errors.Is(err, syscall.ENOENT):
		e.hint = "is the server listening on " + strconv.Quote(set.address()) + "?"
	case generatorErrno(err) == "EADDRNOTAVAIL":
		e.hint = "no local port is free: set ResetOnClose, LocalAddr or a higher OpsPerSession"
	case generatorErrno(err) == "EMFILE":
		e.hint = "raise the limit of open files (ulimit -n)"
	case ctx.Err() != nil:
		// What net makes of it says less.
		e.Err = canceled(context.Cause(ctx))
	case isTimeout(err):
		e.Err = fmt.Errorf("no connection within %v: %w: %w", set.timeouts.Connect, os.ErrDeadlineExceeded, err)
		e.hint = "is Addr right, and is there a firewall on the way? Or raise Timeouts.Connect"
	case isNotFound(err):
		e.hint = "is the host in Addr " + strconv.Quote(set.address()) + " right?"
	}
	return e
}

func isNotFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}
