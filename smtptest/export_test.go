package smtptest

import "runtime"

// AwaitWaiter returns when somebody is in Wait.
func AwaitWaiter(s *Server) {
	for s.box.wanted.Load() == nobody {
		runtime.Gosched()
	}
}
