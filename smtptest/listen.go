package smtptest

import (
	"errors"
	"net"
	"strings"
	"time"
)

func (s *Server) listen() error {
	s.mu.Lock()
	started, closed := s.started, s.closed
	s.started = true
	s.mu.Unlock()
	if started {
		return errors.New("already started")
	}
	if closed {
		return errors.New("already closed")
	}
	if err := s.prepare(); err != nil {
		return err
	}
	l := s.Listener
	if l == nil {
		var err error
		if path, ok := strings.CutPrefix(s.Addr, "unix:"); ok {
			l, err = net.Listen("unix", path)
		} else if s.Addr != "" {
			l, err = net.Listen("tcp", s.Addr)
		} else if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			l, err = net.Listen("tcp", "[::1]:0")
		}
		if err != nil {
			return err
		}
	}
	s.Addr = l.Addr().String()
	if l.Addr().Network() == "unix" {
		s.Addr = "unix:" + s.Addr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.Close()
		return errors.New("closed while starting")
	}
	s.Listener = l
	s.wg.Go(func() { s.accept(l) })
	return nil
}

func (s *Server) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, or a connection that was gone before it
			// was accepted: the next one may do.
			if s.Log != nil {
				s.Log("accept: %v", err)
			}
			if !s.sleep(5 * time.Millisecond) {
				return
			}
			continue
		}
		if c := s.newSession(conn); c != nil {
			go func() {
				defer s.wg.Done()
				c.serve()
			}()
		}
	}
}

// ServeConn serves one session on conn and returns when it ends and conn is
// closed. The server need not listen: with net.Pipe a session can be tested in a
// testing/synctest bubble. It is the caller's goroutine; Close waits for it.
func (s *Server) ServeConn(conn net.Conn) {
	if err := s.prepare(); err != nil {
		conn.Close()
		s.tb.Errorf("smtptest: ServeConn: %v", err)
		return
	}
	if c := s.newSession(conn); c != nil {
		defer s.wg.Done()
		c.serve()
	}
}

// newSession registers a session, or closes conn and returns nil after Close.
func (s *Server) newSession(conn net.Conn) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil
	}
	s.lastSession++
	c := &session{srv: s, raw: conn, id: s.lastSession, out: make([]byte, 0, 512)}
	if s.MaxSessions > 0 && s.open >= int64(s.MaxSessions) {
		c.crowded = true
	} else {
		c.open = true
		s.open++
	}
	if !s.sweeping {
		s.sweeping = true
		s.wg.Go(s.sweep)
	}
	s.sessions[c] = struct{}{}
	s.wg.Add(1)
	return c
}

// leave makes room for another session; this one only has to be closed.
func (s *Server) leave(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.open {
		c.open = false
		s.open--
	}
}

func (s *Server) removeSession(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	c.counts.addTo(&s.past)
}
