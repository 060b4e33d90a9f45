package containers

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/loadtest"
)

// RunSMTPSink starts smtp-sink, Postfix's test server, as [Run] does: one
// thread that accepts all and keeps nothing. It has no TLS, so the Dialer's
// Security is loadtest.Plaintext. [WithSink] sets its flags.
//
// The image is built from debian:bookworm-slim once, and kept.
func RunSMTPSink(ctx context.Context, opts ...testcontainers.ContainerCustomizer) (*Server, error) {
	s := defaults()
	s.port = sinkPort
	s.security = loadtest.Plaintext
	s.sink = &SinkConfig{}
	s.listen = func(l Listen) testcontainers.ContainerCustomizer { return testcontainers.WithCmdArgs(l.Addr) }
	return run(ctx, recipe{
		name:     "smtp-sink",
		settings: s,
		build:    embedded("smtp-sink"),
		options: func(s *settings) ([]testcontainers.ContainerCustomizer, error) {
			flags, err := s.sink.flags()
			if err != nil {
				return nil, err
			}
			backlog := strconv.Itoa(s.sink.backlog())
			s.listen = func(l Listen) testcontainers.ContainerCustomizer {
				return testcontainers.WithCmd(append(slices.Clone(flags), l.Addr, backlog)...)
			}
			return []testcontainers.ContainerCustomizer{testcontainers.WithHostConfigModifier(boundLog)}, nil
		},
		version: []string{"postconf", "-d", "-h", "mail_version"},
	}, opts)
}

const sinkPort = 2525

// boundLog bounds the log of a server that writes several lines for a message.
func boundLog(c *container.HostConfig) {
	c.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "16m", "max-file": "2"}}
}

// SinkConfig has the flags of smtp-sink (see smtp-sink(1)). The zero value
// accepts everything. Commands are named CONNECT (the greeting), HELO, EHLO,
// LHLO, MAIL, RCPT, VRFY, DATA, "." (the end of the data), RSET, NOOP, QUIT,
// and AUTH, XCLIENT, XFORWARD.
type SinkConfig struct {
	Backlog     int // connections that wait to be accepted; 0 means 1024
	MaxSessions int // -m: at once, more wait to be accepted; 0 means 32768 (smtp-sink's own default is 256)

	HardReject      []string // -f: answer these commands 500; PIPELINING is not offered then
	HardRejectReply string   // -B: the reply, such as "550 5.7.1 No"; "" means smtp-sink's
	SoftReject      []string // -r: answer these commands 450; PIPELINING is not offered then
	SoftRejectReply string   // -b: the reply; "" means smtp-sink's
	Drop            []string // -q: close the connection at these commands without a reply
	Disconnect      []string // -Q: answer these commands 421 and close the connection
	Delays          []SinkDelay
	// ReadDelay is -H: for how long nothing is read after the 354, in whole
	// seconds. 0 means none.
	ReadDelay time.Duration
	// AbortData is -A: how long after the 354 the message is refused with a 550
	// and the connection closed, in whole seconds, without reading it. nil means never.
	AbortData *time.Duration

	DumpFiles    string // -d: a template of strftime(3) for one file each message, relative to /mail
	DumpFile     string // -D: the same for one file with all messages
	DumpPrefix   string // -S: the start of what is dumped
	Count        bool   // -c: print running counts of sessions, QUITs and messages, with CR after each
	ExitMessages int    // -M: end after so many messages, without a reply to the last; 0 means never
	ExitSessions int    // -n: end after so many QUITs; it needs Count, and that the first is the readiness check's; 0 means never

	Hostname     string        // -h: the name in the greeting; "" means the container's
	LMTP         bool          // -L: LMTP in place of SMTP
	Timeout      time.Duration // -t: of reads and writes, in whole seconds; 0 means 100 s
	Window       int           // -T: the TCP window in octets; 0 means the system's
	PIX          bool          // -P: a greeting as of a Cisco PIX firewall: no ESMTP
	No8BITMIME   bool          // -8
	NoAUTH       bool          // -a
	NoXCLIENT    bool          // -C
	NoESMTP      bool          // -e
	NoEnhanced   bool          // -E: no ENHANCEDSTATUSCODES
	NoXFORWARD   bool          // -F
	NoDSN        bool          // -N
	NoPIPELINING bool          // -p
	Verbose      bool          // -v: a transcript in the log
}

// A SinkDelay delays the reply to one command (-W). smtp-sink does not delay
// a reply that one of its other flags makes a refusal.
type SinkDelay struct {
	Command string
	Delay   time.Duration // in whole seconds, at least 1
	// Odds is the probability, from 0 to 0.99, of each further Delay after the
	// last. 0 means that there is one.
	Odds float64
}

func (c *SinkConfig) backlog() int {
	if c.Backlog == 0 {
		return 1024
	}
	return c.Backlog
}

// flags returns the command line up to the address.
func (c *SinkConfig) flags() ([]string, error) {
	var f sinkFlags
	f.switches(c)
	f.number("-m", c.MaxSessions, 32768)
	f.number("-M", c.ExitMessages, 0)
	f.number("-n", c.ExitSessions, 0)
	f.number("-T", c.Window, 0)
	if c.Backlog < 0 {
		f.fail("Backlog is negative (%d)", c.Backlog)
	}
	if c.ExitSessions > 0 && !c.Count {
		f.fail("ExitSessions needs Count: smtp-sink does not count sessions otherwise")
	}
	f.commands("-f", c.HardReject)
	f.commands("-r", c.SoftReject)
	f.commands("-q", c.Drop)
	f.commands("-Q", c.Disconnect)
	f.text("-B", c.HardRejectReply)
	f.text("-b", c.SoftRejectReply)
	f.text("-d", c.DumpFiles)
	f.text("-D", c.DumpFile)
	f.text("-S", c.DumpPrefix)
	f.text("-h", c.Hostname)
	if c.DumpFiles != "" && c.DumpFile != "" {
		f.fail("DumpFiles and DumpFile exclude each other")
	}
	f.seconds("-t", c.Timeout)
	f.seconds("-H", c.ReadDelay)
	if c.AbortData != nil {
		if *c.AbortData == 0 {
			f.args = append(f.args, "-A", "0")
		}
		f.seconds("-A", *c.AbortData)
	}
	for _, d := range c.Delays {
		f.delay(d)
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.args, nil
}

// sinkFlags collects a command line and the first thing that is wrong with it.
type sinkFlags struct {
	args []string
	err  error
}

func (f *sinkFlags) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("WithSink: "+format, args...)
	}
}

func (f *sinkFlags) switches(c *SinkConfig) {
	for _, s := range []struct {
		flag string
		on   bool
	}{
		{"-c", c.Count}, {"-L", c.LMTP}, {"-P", c.PIX}, {"-8", c.No8BITMIME}, {"-a", c.NoAUTH}, {"-C", c.NoXCLIENT}, {"-e", c.NoESMTP},
		{"-E", c.NoEnhanced}, {"-F", c.NoXFORWARD}, {"-N", c.NoDSN}, {"-p", c.NoPIPELINING}, {"-v", c.Verbose},
	} {
		if s.on {
			f.args = append(f.args, s.flag)
		}
	}
}

func (f *sinkFlags) number(flag string, n, byDefault int) {
	if n < 0 {
		f.fail("the number for %s is negative (%d)", flag, n)
	}
	if n == 0 {
		n = byDefault
	}
	if n > 0 {
		f.args = append(f.args, flag, strconv.Itoa(n))
	}
}

func (f *sinkFlags) text(flag, text string) {
	if strings.ContainsAny(text, "\r\n\x00") {
		f.fail("the text for %s has a line break: %q", flag, text)
	}
	if text != "" {
		f.args = append(f.args, flag, text)
	}
}

func (f *sinkFlags) commands(flag string, names []string) {
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, ", \t\r\n:") {
			f.fail("%q for %s is not the name of a command", name, flag)
		}
	}
	f.text(flag, strings.Join(names, ","))
}

// seconds adds a time. smtp-sink knows whole seconds only.
func (f *sinkFlags) seconds(flag string, d time.Duration) {
	if d < 0 || d%time.Second != 0 {
		f.fail("the time for %s has to be whole seconds (%v)", flag, d)
	}
	if d > 0 {
		f.args = append(f.args, flag, strconv.Itoa(int(d/time.Second)))
	}
}

func (f *sinkFlags) delay(d SinkDelay) {
	if d.Command == "" || strings.ContainsAny(d.Command, ", \t\r\n:") {
		f.fail("%q of a SinkDelay is not the name of a command", d.Command)
	}
	if d.Delay < time.Second || d.Delay%time.Second != 0 {
		f.fail("the Delay of %s has to be whole seconds, at least one (%v)", d.Command, d.Delay)
	}
	if !(d.Odds >= 0 && d.Odds <= 0.99) {
		f.fail("the Odds of %s are %v, not from 0 to 0.99", d.Command, d.Odds)
		return
	}
	arg := fmt.Sprintf("%s:%d", d.Command, d.Delay/time.Second)
	if percent := int(math.Round(d.Odds * 100)); percent > 0 {
		arg += fmt.Sprintf(":%d", percent)
	}
	f.args = append(f.args, "-W", arg)
}
