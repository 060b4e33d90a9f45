package loadtest

import (
	"math"
	"time"
)

// A step is what a session is waiting for: what its errors are named after, how
// long it may take, and as which phase it is timed.
type step uint8

const (
	stepConnect step = iota
	stepGreeting
	stepEHLO
	stepHELO
	stepLHLO
	stepSTARTTLS
	stepTLS
	stepAuth
	stepMail
	stepRcpt
	stepData
	stepMessage
	stepReset
	stepQuit
)

const (
	phaseNameConnect = "connect"
	phaseNameTLS     = "TLS"
)

var stepNames = [...]string{
	phaseNameConnect, "greeting", "EHLO", "HELO", "LHLO", "STARTTLS", phaseNameTLS, "AUTH",
	"MAIL", "RCPT", "DATA", "message", "RSET", "QUIT",
}

func (st step) name() string { return stepNames[st] }

// limit returns how long st may take.
func (t *Timeouts) limit(st step) time.Duration {
	switch st {
	case stepConnect:
		return t.Connect
	case stepGreeting:
		return t.Greeting
	case stepTLS:
		return t.TLS
	case stepMessage:
		return t.Message
	case stepQuit:
		return t.Quit
	}
	return t.Command
}

// limitName is the field of Timeouts that limit returns.
func (st step) limitName() string {
	switch st {
	case stepConnect:
		return "Connect"
	case stepGreeting:
		return "Greeting"
	case stepTLS:
		return "TLS"
	case stepMessage:
		return "Message"
	case stepQuit:
		return "Quit"
	}
	return "Command"
}

// withDefaults returns t with what is 0 or less replaced.
func (t Timeouts) withDefaults() Timeouts {
	for _, f := range []struct {
		limit *time.Duration
		def   time.Duration
	}{
		{&t.Connect, 10 * time.Second},
		{&t.Greeting, 30 * time.Second},
		{&t.TLS, 30 * time.Second},
		{&t.Command, 30 * time.Second},
		{&t.Message, 60 * time.Second},
		{&t.Quit, time.Second},
	} {
		if *f.limit <= 0 {
			*f.limit = f.def
		}
		*f.limit = min(*f.limit, math.MaxInt64/2) // for arm, which adds to it
	}
	return t
}
