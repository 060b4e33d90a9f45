package containers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go/wait"
)

// greeting is the wait.Strategy of this package: the server is ready when it
// has sent a 220 greeting (RFC 5321 §3.1). That a port can be connected to says
// nothing: docker-proxy listens before the server does.
type greeting struct {
	port    int // in the container
	tls     bool
	timeout time.Duration

	text string // of the greeting, without the code, when it came
}

// Timeout tells testcontainers' combinations of strategies.
func (g *greeting) Timeout() *time.Duration { return &g.timeout }

func (g *greeting) String() string {
	return fmt.Sprintf("an SMTP greeting on port %d", g.port)
}

// A notReadyError says why a container did not become ready. It is apart from
// what testcontainers wraps around it.
type notReadyError struct{ err error }

func (e *notReadyError) Error() string { return e.err.Error() }
func (e *notReadyError) Unwrap() error { return e.err }

const (
	readyPoll = 25 * time.Millisecond
	// quitTime is for the reply to QUIT. A server that lets one wait for it is
	// ready all the same.
	quitTime = time.Second
)

// WaitUntilReady implements wait.Strategy.
func (g *greeting) WaitUntilReady(ctx context.Context, target wait.StrategyTarget) error {
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	deadline, _ := limited.Deadline()
	var (
		last    error            // what there is to say of the tries
		running *container.State // when it was last seen
	)
	for {
		// The state before the try: a server that has greeted and ended is
		// noticed by whoever uses it.
		began := time.Now()
		state, err := target.State(limited)
		if err == nil && !state.Running {
			return &notReadyError{exitError(state)}
		}
		if err == nil {
			running = state
			if err = g.try(limited, target); err == nil {
				return nil
			}
		}
		// A try that the limit has cut short says less than the one before it. By
		// the clock, as a connection's deadline may come before limited is told.
		cut := limited.Err() != nil || !time.Now().Before(deadline)
		if !cut || last == nil || time.Since(began) > g.timeout/2 {
			last = err
		}
		select {
		case <-time.After(readyPoll):
		case <-limited.Done():
			if ctx.Err() != nil {
				return &notReadyError{fmt.Errorf("waiting for the greeting: %w", context.Cause(ctx))}
			}
			return &notReadyError{fmt.Errorf("no SMTP greeting on port %d of the container within %v: %w%s", g.port, g.timeout, last, listenHint(running, g.port))}
		}
	}
}

// try reads one greeting and says goodbye.
func (g *greeting) try(ctx context.Context, target wait.StrategyTarget) error {
	host, err := target.Host(ctx)
	if err != nil {
		return err
	}
	port, err := target.MappedPort(ctx, strconv.Itoa(g.port)+"/tcp")
	if err != nil {
		return err
	}
	addr := net.JoinHostPort(host, port.Port())
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A server may make clients wait for the greeting, to find out who is
	// impatient: it has all of the time that is left.
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if g.tls {
		// Whether the certificate is good is for the Dialer to find out.
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	text, err := readGreeting(conn)
	if err != nil {
		return err
	}
	g.text = text
	return nil
}

// readGreeting returns the text of a 220 greeting, and ends the session.
func readGreeting(conn net.Conn) (string, error) {
	r := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, 64<<10)))
	_, text, err := r.ReadResponse(220)
	var reply *textproto.Error
	switch {
	case errors.As(err, &reply):
		return "", fmt.Errorf("the server greets with %d %q", reply.Code, reply.Msg)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "", errors.New("connections are closed before the greeting")
	case err != nil:
		return "", fmt.Errorf("reading the greeting: %w", err)
	}
	_ = conn.SetDeadline(time.Now().Add(quitTime))
	if _, err := io.WriteString(conn, "QUIT\r\n"); err == nil {
		_, _ = r.ReadLine()
	}
	return text, nil
}

// exitError says how a container has ended.
func exitError(state *container.State) error {
	var b strings.Builder
	fmt.Fprintf(&b, "the server has ended: exit status %d", state.ExitCode)
	switch {
	case state.OOMKilled:
		b.WriteString(", killed by the kernel as it ran out of memory")
	case state.ExitCode == 137:
		b.WriteString(" (SIGKILL)")
	}
	if state.Error != "" {
		fmt.Fprintf(&b, ": %s", state.Error)
	}
	if state.OOMKilled {
		return fmt.Errorf("%w: %s", ErrOOMKilled, &b)
	}
	return fmt.Errorf("%w: %s", ErrExited, &b)
}
