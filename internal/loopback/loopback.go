// Package loopback connects to TCP addresses of this host with as few system
// calls as there can be.
//
// A load generator that opens a connection for each message spends a third of
// its time in net.Dialer: a connect that does not block always ends in
// EINPROGRESS, then there is a turn of the poller, and SO_ERROR, getsockname and
// getpeername are asked. On the loopback interface a connect that may block does
// not: the handshake is over before the system call returns.
package loopback

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Dial connects to the loopback address to. from is the address to connect from;
// the zero value lets the kernel choose. It gives up after timeout, or when ctx
// ends; ctx means nothing to the connection once it is there. TCP_NODELAY is
// set, keep-alive is not. Off Linux it is net.Dialer.
func Dial(ctx context.Context, to netip.AddrPort, from netip.Addr, timeout time.Duration) (net.Conn, error) {
	return dial(ctx, to, from, timeout)
}

// dialNet connects as everybody does.
func dialNet(ctx context.Context, to netip.AddrPort, from netip.Addr, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, Timeout: timeout}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return d.DialContext(ctx, "tcp", to.String())
}
