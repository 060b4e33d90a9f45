// Package peers_test compares benchmail's load engine and its sink with the
// programs that people use today, side by side in one run:
//
//	go test -run '^$' -bench . ./examples/peers
//
// Machines are shared and noisy, so nothing here is a figure but the ratio of
// two processes that ran one after the other. An iteration of a benchmark is
// such a round: benchmail, then the peer, then the floor, each as a process of
// its own, so that getrusage tells what each used. The default is 5 rounds
// (about 6 minutes in all on two idle cores; on a busy machine add -timeout 30m);
// -benchtime=11x makes it 11. -benchtime=1x is a smoke test: one round with a
// tenth of the messages.
//
// Each benchmark's line has the medians. After the last one comes a table of
// the goals with the median, the smallest and the largest ratio. It is Markdown
// and benchstat passes over it.
//
// The peers are Postfix's smtp-source and smtp-sink and a real Postfix smtpd
// (apt-get install postfix), go-smtp-source (go install
// github.com/nabeken/go-smtp-source@latest), and a server built on
// github.com/emersion/go-smtp. The floor is the same bytes in the same round
// trips over as many raw sockets, with no SMTP at all: what the kernel costs.
//
// BENCHMAIL_PEERS_PROFILE=DIR makes each of our own processes write a CPU profile
// to that folder. Ratios are a little too large then.
//
// The words are those of the package loadtest. W1 to W6 are:
//
//	W1  reuse      one connection per session, plaintext, Lockstep, to smtp-sink
//	W2  reconnect  the same with one connection per message
//	W3  STARTTLS   reconnect and reuse, full handshakes
//	W4  exchange   Pipelined and Chunked, which no peer has, against smtp-source
//	W6  sink       what the server uses per message
package peers_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
)

// The test binary is also each of the processes that are compared. It is one of
// roles if envRole names it; its parameters are JSON in envSpec.
const (
	envRole = "BENCHMAIL_PEERS_ROLE"
	envSpec = "BENCHMAIL_PEERS_SPEC"
)

var roles = map[string]func(spec []byte) error{
	"client":     decoded(runClient),
	"server":     decoded(runServer),
	"handshakes": decoded(runHandshakes),
	"recording":  decoded(runRecording),
}

func decoded[T any](run func(T) error) func([]byte) error {
	return func(spec []byte) error {
		var t T
		if err := json.Unmarshal(spec, &t); err != nil {
			return err
		}
		return run(t)
	}
}

// quick is set by -benchtime=1x.
var quick bool

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		run, ok := roles[role]
		if !ok {
			fmt.Fprintf(os.Stderr, "peers: no role %q\n", role)
			os.Exit(2)
		}
		if err := run([]byte(os.Getenv(envSpec))); err != nil {
			fmt.Fprintf(os.Stderr, "peers: %s: %v\n", role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	// A round takes longer than the usual second, so that b.Loop would be
	// content with one.
	benchtime := flag.Lookup("test.benchtime")
	if benchtime.Value.String() == benchtime.DefValue {
		if err := flag.Set("test.benchtime", "5x"); err != nil {
			panic(err)
		}
	}
	quick = benchtime.Value.String() == "1x"
	code := m.Run()
	// Only now: what is written while a benchmark runs lands in the middle of
	// its result line.
	goals.print(os.Stdout)
	os.Exit(code)
}

// scaled returns how many messages to send where a real figure takes n.
func scaled(n int) int {
	if quick {
		return n / 10
	}
	return n
}
