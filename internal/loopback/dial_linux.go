package loopback

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// patience is how long connect(2) may block a thread. Only a listener whose
// queue is full needs that long, and then the poller waits in its place.
const patience = 20 * time.Millisecond

const (
	ipBindAddressNoPort = 24     // IP_BIND_ADDRESS_NO_PORT
	fionbio             = 0x5421 // FIONBIO
)

func dial(ctx context.Context, to netip.AddrPort, from netip.Addr, timeout time.Duration) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if timeout < patience || to.Addr().Zone() != "" {
		return dialNet(ctx, to, from, timeout)
	}
	began := time.Now()
	fd, err := open(to, from)
	if err != nil {
		return nil, opError("dial", to, err)
	}
	for {
		err = syscall.Connect(fd, sockaddr(to))
		if err != syscall.EINTR {
			break
		}
		// The connect goes on; asking again waits for it (connect(2)).
	}
	switch err {
	case nil, syscall.EISCONN:
	case syscall.EINPROGRESS, syscall.EALREADY:
		syscall.Close(fd)
		return dialNet(ctx, to, from, timeout-time.Since(began))
	default:
		syscall.Close(fd)
		return nil, opError("dial", to, os.NewSyscallError("connect", err))
	}
	// One system call where SetNonblock makes two.
	on := int32(1)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), fionbio, uintptr(unsafe.Pointer(&on))); errno != 0 {
		syscall.Close(fd)
		return nil, opError("dial", to, os.NewSyscallError("ioctl", errno))
	}
	// Not net.FileConn: it makes a duplicate and asks for both addresses.
	return newConn(os.NewFile(uintptr(fd), "tcp"), to)
}

// open makes a socket whose connect blocks for patience at the most.
func open(to netip.AddrPort, from netip.Addr) (fd int, err error) {
	family := syscall.AF_INET
	if to.Addr().Is6() && !to.Addr().Is4In6() {
		family = syscall.AF_INET6
	}
	if fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, syscall.IPPROTO_TCP); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			syscall.Close(fd)
		}
	}()
	limit := syscall.NsecToTimeval(int64(patience))
	if err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit); err != nil {
		return -1, os.NewSyscallError("setsockopt", err)
	}
	if err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return -1, os.NewSyscallError("setsockopt", err)
	}
	if from.IsValid() {
		// The port is chosen at connect, when the other end is known: else
		// there are only 28,000 connections from one address. Old kernels do
		// without.
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
		if err = syscall.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			return -1, os.NewSyscallError("bind", err)
		}
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) syscall.Sockaddr {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &syscall.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return &syscall.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func opError(op string, to netip.AddrPort, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
}
