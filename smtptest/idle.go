package smtptest

import "time"

// sweepTicks is the part of IdleTimeout that it is accurate to.
const sweepTicks = 8

// sweep ends idle sessions. Each session counts its turns and sweep looks for
// those that do not count on: a deadline set before every read would cost a
// reading of the clock and a timer for each, and a message has four.
func (s *Server) sweep() {
	tick := time.NewTicker(max(s.IdleTimeout/sweepTicks, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		for c := range s.sessions {
			c.tick()
		}
		s.mu.Unlock()
	}
}

// tick is called by the server's sweep.
func (c *session) tick() {
	if n := c.turns.Load(); n != c.seen || n%turnStep != 0 {
		c.seen, c.idle = n, 0
		return
	}
	c.idle++
	if c.idle == sweepTicks {
		c.expired.Store(true)
		c.raw.SetDeadline(time.Unix(1, 0))
	}
}
