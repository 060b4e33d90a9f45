package smtptest

import (
	"fmt"
	"slices"
	"strings"
)

// extensions are what a server offers (RFC 5321 §2.2).
type extensions struct {
	starttls, pipelining, eightBit, size, chunking, binary, utf8, dsn, enhanced, auth, limits, xclient, help bool
}

// extensions says which are left of all by the server's fields.
func (s *Server) extensions() extensions {
	shown := func(keyword string) bool {
		return !s.HELOOnly && !slices.ContainsFunc(s.Hide, func(hidden string) bool { return strings.EqualFold(hidden, keyword) })
	}
	e := extensions{
		starttls:   shown("STARTTLS") && !s.NoSTARTTLS && !s.implicit,
		pipelining: shown("PIPELINING"),
		eightBit:   shown("8BITMIME"),
		size:       shown("SIZE"),
		chunking:   shown("CHUNKING"),
		binary:     shown("CHUNKING") && shown("BINARYMIME"), // RFC 3030 §3
		utf8:       shown("8BITMIME") && shown("SMTPUTF8"),   // RFC 6531 §3.1
		dsn:        shown("DSN"),
		enhanced:   shown("ENHANCEDSTATUSCODES"),
		auth:       shown("AUTH") && s.Users != nil,
		limits:     shown("LIMITS") && s.MaxRecipients+s.MaxMessages > 0,
		xclient:    shown("XCLIENT") && s.XClient,
		help:       shown("HELP"),
	}
	if s.HELOOnly {
		// These are in HELO sessions too: there is nothing to announce.
		e.pipelining, e.help = true, true
	}
	return e
}

// ehloReply returns the reply to EHLO, with TLS active or not.
func (s *Server) ehloReply(tlsActive bool) *reply {
	e := s.ext
	lines := []string{s.Hostname}
	add := func(shown bool, line string) {
		if shown {
			lines = append(lines, line)
		}
	}
	add(e.pipelining, "PIPELINING")
	add(e.size, fmt.Sprintf("SIZE %d", s.MaxSize))
	add(e.starttls && !tlsActive, "STARTTLS")
	if e.auth {
		if list := s.offered(tlsActive); len(list) > 0 {
			lines = append(lines, "AUTH "+strings.Join(list, " "))
		}
	}
	add(e.enhanced, "ENHANCEDSTATUSCODES")
	add(e.eightBit, "8BITMIME")
	add(e.dsn, "DSN")
	add(e.utf8, "SMTPUTF8")
	add(e.chunking, "CHUNKING")
	add(e.binary, "BINARYMIME")
	if e.limits {
		line := "LIMITS"
		if s.MaxMessages > 0 {
			line += fmt.Sprintf(" MAILMAX=%d", s.MaxMessages)
		}
		if s.MaxRecipients > 0 {
			line += fmt.Sprintf(" RCPTMAX=%d", s.MaxRecipients)
		}
		lines = append(lines, line)
	}
	add(e.xclient, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
	add(e.help, "HELP")
	lines = append(lines, s.Announce...)
	// No enhanced status code in the reply to EHLO (RFC 2034 §4).
	return newReply(250, enhanced{}, strings.Join(lines, "\n"))
}
