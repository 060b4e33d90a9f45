package smtptest

import (
	"maps"
	"sync/atomic"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// Stats are the counts of a server since it was made.
type Stats struct {
	Sessions int64 // accepted in all
	Open     int64 // open now

	// Messages, Recipients and Bytes count what was accepted: Recipients those
	// of accepted messages, Bytes the octets of their mail data (RFC 1870 §5).
	// A message is counted when the positive reply to the end of its data is
	// about to be written, so these are never less than what a client was told,
	// and more by those at most whose reply got lost.
	Messages, Recipients, Bytes int64

	Refused int64 // replies with 4xx and 5xx

	TLSHandshakes int64 // completed
	TLSResumed    int64 // those of them that resumed an earlier session
	Auths         int64 // successful

	// Commands counts commands by their verb, as Command.Verb has it: accepted
	// or not; those not known under "unknown".
	Commands map[string]int64
}

// counters are what a session counts, without sharing a cache line with any
// other: with some ten counts a message that is what two cores would fight for.
type counters struct {
	recipients, bytes, refused, handshakes, resumed, auths atomic.Int64

	commands [verbCount]atomic.Int64
}

// addTo adds n to st.
func (n *counters) addTo(st *Stats) {
	st.Recipients += n.recipients.Load()
	st.Bytes += n.bytes.Load()
	st.Refused += n.refused.Load()
	st.TLSHandshakes += n.handshakes.Load()
	st.TLSResumed += n.resumed.Load()
	st.Auths += n.auths.Load()
	for v := range n.commands {
		if k := n.commands[v].Load(); k > 0 {
			st.Commands[verbName(smtpwire.Verb(v))] += k
		}
	}
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.past
	st.Commands = make(map[string]int64)
	maps.Copy(st.Commands, s.past.Commands)
	st.Sessions, st.Open = s.lastSession, s.open
	for c := range s.sessions {
		c.counts.addTo(&st)
	}
	st.Messages = s.box.count.Load()
	return st
}
