package peers_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// A goal is something to be reached, and what was measured of it.
type goal struct {
	id, what string
	atMost   float64 // what is to be reached; 0 if atLeast says it
	atLeast  float64
	zero     bool // nothing at all, but for rounding
	unit     string
	measured samples
}

func (g *goal) target() string {
	switch {
	case g.zero:
		return "0" + g.unit
	case g.atLeast > 0:
		return fmt.Sprintf("≥ %g%s", g.atLeast, g.unit)
	}
	return fmt.Sprintf("≤ %g%s", g.atMost, g.unit)
}

func (g *goal) reached() string {
	m, ok := g.measured.median(), false
	switch {
	case g.zero:
		ok = m < 0.005
	case g.atLeast > 0:
		ok = m >= g.atLeast
	default:
		ok = m <= g.atMost
	}
	if ok {
		return "yes"
	}
	return "no"
}

// A goalTable collects what benchmarks measured until it is safe to print.
type goalTable struct {
	mu      sync.Mutex // guards what follows
	list    []*goal
	missing []string // why something was not measured
}

// goals are G1 to G10 of this project's issue 2; its closing note quotes the
// table.
var goals = &goalTable{list: []*goal{
	{id: "G1", what: "reuse, s=100, Lockstep: client CPU, of smtp-source", atMost: 0.85},
	{id: "G1 floor", what: "the same, of the floor", atMost: 1.30},
	{id: "G2", what: "reconnect, s=100: client CPU, of smtp-source", atMost: 0.90},
	{id: "G3 reuse s=1", what: "messages/s, of smtp-source", atLeast: 1},
	{id: "G3 reuse s=100", what: "messages/s, of smtp-source", atLeast: 1},
	{id: "G3 reuse s=1000", what: "messages/s, of smtp-source", atLeast: 1},
	{id: "G3 reuse", what: "messages/s, s=1000 of s=100", atLeast: 0.8},
	{id: "G3 reconnect s=1", what: "messages/s, of smtp-source", atLeast: 1},
	{id: "G3 reconnect s=100", what: "messages/s, of smtp-source", atLeast: 1},
	{id: "G3 reconnect s=1000", what: "messages/s, of smtp-source", atLeast: 1},
	{id: "G3 reconnect", what: "messages/s, s=1000 of s=100", atLeast: 0.8},
	{id: "G4 reuse", what: "client peak RSS, s=1000, of smtp-source", atMost: 0.20},
	{id: "G4 reuse RSS", what: "client peak RSS, s=1000", atMost: 16, unit: " MB"},
	{id: "G4 reconnect", what: "client peak RSS, s=1000, of smtp-source", atMost: 0.20},
	{id: "G4 reconnect RSS", what: "client peak RSS, s=1000", atMost: 16, unit: " MB"},
	{id: "G5 exchange=Pipelined/depth=1", what: "reuse, s=100: client CPU, of smtp-source", atMost: 0.45},
	{id: "G5 exchange=Pipelined/depth=2", what: "reuse, s=100: client CPU, of smtp-source", atMost: 0.30},
	{id: "G5 exchange=Chunked/depth=1", what: "reuse, s=100: client CPU, of smtp-source", atMost: 0.25},
	{id: "G5 exchange=Chunked/depth=10", what: "reuse, s=100: client CPU, of smtp-source", atMost: 0.06},
	{id: "G6", what: "STARTTLS reconnect, s=100: client CPU, of a bare handshake plus a plaintext reconnect message", atMost: 1.15},
	{id: "G6b", what: "STARTTLS reconnect to a real Postfix, s=1: sessions/s, TCP_QUICKACK of delayed ACK", atLeast: 10},
	{id: "G8 client=smtp-source of smtp-sink", what: "server CPU of smtptest.Server{Discard}, of smtp-sink", atMost: 0.90},
	{id: "G8 client=smtp-source of go-smtp", what: "the same, of a go-smtp server", atMost: 0.80},
	{id: "G8 client=benchmail of smtp-sink", what: "server CPU of smtptest.Server{Discard}, of smtp-sink", atMost: 0.90},
	{id: "G8 client=benchmail of go-smtp", what: "the same, of a go-smtp server", atMost: 0.80},
	{id: "G9 engine", what: "allocations per message, reuse, Lockstep, plaintext", zero: true},
	{id: "G9 server", what: "allocations per message, smtptest.Server{Discard}", zero: true},
	{id: "G10", what: "engine CPU per operation with all phases recorded, of a Chunked message", atMost: 0.03},
}}

// record adds what was measured to the goal with that id. Other ids are for
// nobody's goal: benchmarks need not know which of their figures are one.
func (t *goalTable) record(id string, s samples) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.list {
		if g.id == id {
			g.measured = append(g.measured, s...)
		}
	}
}

// absent notes why something will not be measured.
func (t *goalTable) absent(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.missing, why) {
		t.missing = append(t.missing, why)
	}
}

func (t *goalTable) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s strings.Builder
	if slices.ContainsFunc(t.list, func(g *goal) bool { return len(g.measured) > 0 }) {
		t.format(&s)
	}
	for _, why := range t.missing {
		fmt.Fprintf(&s, "\nNOT MEASURED, as %s\n", why)
	}
	_, _ = io.WriteString(w, s.String())
}

func (t *goalTable) format(s *strings.Builder) {
	if quick {
		s.WriteString("\nOne round with a tenth of the messages: these are no figures.\n")
	}
	s.WriteString("\n| goal | what | median [min … max] of n rounds | to reach | reached |\n|---|---|---|---|---|\n")
	for _, g := range t.list {
		measured, reached := "not measured", "–"
		if n := len(g.measured); n > 0 {
			measured = fmt.Sprintf("%.3f [%.3f … %.3f]%s of %d", g.measured.median(), slices.Min(g.measured), slices.Max(g.measured), g.unit, n)
			if reached = g.reached(); quick {
				reached = "(1 round)"
			}
		}
		fmt.Fprintf(s, "| %s | %s | %s | %s | %s |\n", g.id, g.what, measured, g.target(), reached)
	}
}
