//go:build !linux

package loopback

import (
	"context"
	"net"
	"net/netip"
	"time"
)

func dial(ctx context.Context, to netip.AddrPort, from netip.Addr, timeout time.Duration) (net.Conn, error) {
	return dialNet(ctx, to, from, timeout)
}
