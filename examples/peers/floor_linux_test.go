package peers_test

import (
	"fmt"
	"net"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	roles["floor client"] = decoded(runFloorClient)
	roles["floor server"] = decoded(runFloorServer)
}

// startFloor starts the floor's server and returns its client: it does l, but
// for l.addr.
//
// Both are one thread, one epoll loop and the least system calls that there can
// be: one read and one write for a turn. They are made raw, without telling Go's
// scheduler, which has nothing else to run.
func startFloor(tb testing.TB) func(testing.TB, load) usage {
	tb.Helper()
	server := self(tb, "floor server", struct{}{}, floorEnv...)
	var port int
	server.said(tb, &port)
	return func(tb testing.TB, l load) usage {
		tb.Helper()
		spec := floorSpec{Port: port, Sessions: l.sessions, Messages: l.messages, Reconnect: l.reconnect}
		return self(tb, "floor client", spec, floorEnv...).wait(tb)
	}
}

// Go's runtime would interrupt a thread that runs for 10 ms, to be fair to
// others.
var floorEnv = []string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}

// A floorLoop is what both sides have in common.
type floorLoop struct {
	epoll  int
	conns  []floorConn // by file descriptor
	events [256]unix.EpollEvent
	buf    [4096]byte
}

type floorConn struct {
	say, hear string // what was said, what is to come
	heard     int    // how much of it came
	step      int
}

func newFloorLoop() (*floorLoop, error) {
	debug.SetGCPercent(-1)
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &floorLoop{epoll: epoll, conns: make([]floorConn, 4096)}, nil
}

func (l *floorLoop) add(fd int) error {
	if fd >= len(l.conns) {
		return fmt.Errorf("file descriptor %d is beyond the floor's table", fd)
	}
	l.conns[fd] = floorConn{}
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (l *floorLoop) wait() ([]unix.EpollEvent, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), ^uintptr(0), 0, 0)
		if errno == 0 {
			return l.events[:n], nil
		}
		if errno != unix.EINTR {
			return nil, errno
		}
	}
}

// read returns how much came from fd: 0 at the end of the connection, and -1 if
// there was nothing.
func (l *floorLoop) read(fd int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&l.buf[0])), uintptr(len(l.buf)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return -1, nil
	case unix.ECONNRESET:
		return 0, nil
	}
	return 0, errno
}

func (l *floorLoop) write(fd int, s string) error {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.StringData(s))), uintptr(len(s)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 && errno != unix.ECONNRESET && errno != unix.EPIPE {
		return errno
	}
	if errno == 0 && int(n) != len(s) {
		return fmt.Errorf("write took %d of %d octets", n, len(s))
	}
	return nil
}

func runFloorClient(spec floorSpec) error {
	l, err := newFloorLoop()
	if err != nil {
		return err
	}
	opened, started, sent := 0, 0, 0
	open := func() error {
		opened++
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		// As smtp-source does, so that no port is left in TIME_WAIT.
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: spec.Port}); err != nil {
			return err
		}
		if err := l.add(fd); err != nil {
			return err
		}
		l.conns[fd].hear = dialog.greeting.server
		return nil
	}
	running := min(spec.Sessions, spec.Messages)
	for range running {
		if err := open(); err != nil {
			return err
		}
	}
	// Steps: 0 greeting, 1 hello, 2 to 5 a message, 6 quit.
	next := func(c *floorConn) (turn, bool) {
		c.step++
		switch {
		case c.step == 1:
			return dialog.hello, true
		case c.step == 2 || c.step == 6:
			if c.step == 6 {
				sent++
			}
			if started < spec.Messages && (c.step == 2 || !spec.Reconnect) {
				started++
				c.step = 2
				return dialog.message[0], true
			}
			c.step = 6
			return dialog.quit, true
		case c.step < 6:
			return dialog.message[c.step-2], true
		}
		return turn{}, false
	}
	for running > 0 {
		events, err := l.wait()
		if err != nil {
			return err
		}
		for i := range events {
			fd := int(events[i].Fd)
			c := &l.conns[fd]
			n, err := l.read(fd)
			if err != nil || n == 0 {
				return fmt.Errorf("step %d: connection lost: %w", c.step, err)
			}
			if n < 0 {
				continue
			}
			if c.heard += n; c.heard < len(c.hear) {
				continue
			}
			t, more := next(c)
			if more {
				c.hear, c.heard = t.server, 0
				if err := l.write(fd, t.client); err != nil {
					return err
				}
				continue
			}
			if err := unix.Close(fd); err != nil {
				return err
			}
			running--
			if spec.Reconnect && opened < spec.Messages {
				if err := open(); err != nil {
					return err
				}
				running++
			}
		}
	}
	if sent != spec.Messages {
		return fmt.Errorf("%d of %d messages were sent", sent, spec.Messages)
	}
	return nil
}

// runFloorServer runs until it is killed.
func runFloorServer(struct{}) error {
	l, err := newFloorLoop()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer f.Close()
	listening := int(f.Fd()) // makes it blocking
	if err := syscall.SetNonblock(listening, true); err != nil {
		return err
	}
	if err := l.add(listening); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	if err := say(number); err != nil {
		return err
	}
	// Steps: 0 hello, 1 to 4 a message or quit.
	for {
		events, err := l.wait()
		if err != nil {
			return err
		}
		for i := range events {
			fd := int(events[i].Fd)
			if fd == listening {
				if err := l.accept(fd); err != nil {
					return err
				}
				continue
			}
			c := &l.conns[fd]
			n, err := l.read(fd)
			if err != nil {
				return err
			}
			if n < 0 {
				continue
			}
			if n == 0 {
				if err := unix.Close(fd); err != nil {
					return err
				}
				continue
			}
			if c.heard == 0 {
				t := dialog.hello
				switch {
				case l.buf[0] == 'Q':
					t = dialog.quit
				case c.step > 0:
					t = dialog.message[c.step-1]
				}
				c.say, c.hear = t.server, t.client
			}
			if c.heard += n; c.heard < len(c.hear) {
				continue
			}
			c.heard = 0
			if c.step++; c.step == 5 {
				c.step = 1
			}
			if err := l.write(fd, c.say); err != nil {
				return err
			}
		}
	}
}

func (l *floorLoop) accept(listening int) error {
	for {
		fd, _, err := unix.Accept4(listening, unix.SOCK_CLOEXEC)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.add(fd); err != nil {
			return err
		}
		if err := l.write(fd, dialog.greeting.server); err != nil {
			return err
		}
	}
}
