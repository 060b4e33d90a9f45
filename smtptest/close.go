package smtptest

import (
	"fmt"
	"strings"
	"time"
)

// Close stops listening, ends all sessions at once and waits until everything
// that the server began has ended. If that takes long, it says what it waits for
// in the test's log. Close may be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.done
		return
	}
	s.closed = true
	defer close(s.done)
	s.cancel()
	if s.Listener != nil {
		s.Listener.Close()
	}
	for c := range s.sessions {
		c.raw.Close()
	}
	s.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	late := time.NewTimer(5 * time.Second)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		s.tb.Logf("smtptest: Close waits for %s", s.waitsFor())
		<-ended
	}
}

func (s *Server) waitsFor() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) == 0 {
		return "the listener's Accept"
	}
	var list []string
	for c := range s.sessions {
		if len(list) == 8 {
			list = append(list, fmt.Sprintf("%d more", len(s.sessions)-len(list)))
			break
		}
		what := fmt.Sprintf("session %d from %v", c.id, c.raw.RemoteAddr())
		if verb := c.inHook.Load(); verb != nil {
			what += ", which is in the Hook for " + *verb
		}
		list = append(list, what)
	}
	return strings.Join(list, "; ")
}

// sleep waits for d; false means that the server closes.
func (s *Server) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}
