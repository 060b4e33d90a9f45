package peers_test

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A handshakeSpec is a loop of connect, TLS handshake and close.
type handshakeSpec struct {
	Addr     string
	Sessions int
	Count    int
	Roots    string
}

// runHandshakes is what crypto/tls costs with nobody's engine around it.
func runHandshakes(spec handshakeSpec) error {
	defer profile("handshakes")()
	cfg := trusting(spec.Roots)
	host, _, err := net.SplitHostPort(spec.Addr)
	if err != nil {
		return err
	}
	cfg.ServerName = host
	var (
		next   atomic.Int64
		wg     sync.WaitGroup
		errsMu sync.Mutex // guards errs
		errs   error
	)
	for range spec.Sessions {
		wg.Go(func() {
			for next.Add(1) <= int64(spec.Count) {
				if err := handshake(spec.Addr, cfg); err != nil {
					errsMu.Lock()
					errs = errors.Join(errs, err)
					errsMu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return errs
}

func handshake(addr string, cfg *tls.Config) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // as ResetOnClose
		return err
	}
	t := tls.Client(conn, cfg)
	if err := t.Handshake(); err != nil {
		_ = conn.Close()
		return err
	}
	return t.Close()
}

func handshakes(tb testing.TB, spec handshakeSpec) usage {
	tb.Helper()
	return self(tb, "handshakes", spec).wait(tb)
}
