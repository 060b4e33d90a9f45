package smtptest

import (
	"context"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"
)

// A Rule says on which commands something goes wrong or takes long, and its
// last method what:
//
//	smtptest.On("RCPT").First(3).Reply("450 4.2.0 Try later")
//	smtptest.On("MAIL").PerClient().MoreThan(100, time.Minute).Reply("450 4.7.1 Too much mail")
//	smtptest.On("RCPT").To("*@slow.test").DelayExp(50*time.Millisecond, seed)
//	smtptest.On("DATA", ".").Chance(0.01, seed).HangUp(smtptest.Reset)
//
// [On] selects commands. Conditions narrow the selection, each one of what the
// one before it let through: On("RCPT").To("a@*").First(3) is the first three
// recipients that match, On("RCPT").First(3).To("a@*") those of the first three
// recipients that match. The last method, such as Reply, Delay or HangUp, makes
// a [Hook] of the rule for [Server.Hook]. [Chain] joins several.
//
// Conditions that count do so over all sessions of the server. PerSession,
// PerClient, PerSender, PerRecipient and Per make the conditions after them
// count separately; the last of these holds.
//
// A Rule is a value and may be used for any number of Hooks: each Hook counts
// for itself. Hooks are safe for concurrent use. What is random depends on
// nothing but the seed and the count: the kth command that comes to a Chance or
// a random delay always has the same fate (with PerSession, the kth of the
// session), whatever other sessions do.
//
// Methods panic if an argument makes no sense, as a rule that never applies
// makes a test that cannot fail.
//
// Options of Postfix smtp-sink are these rules:
//
//	-f cmds             On(cmds...).Reply("500 5.3.0 Error: command failed")
//	-r cmds             On(cmds...).Reply("450 4.3.0 Error: command failed")
//	-q cmds             On(cmds...).HangUp(CloseWithoutReply)
//	-Q cmds             On(cmds...).Reply("421 4.0.0 Server closing connection")
//	-w s                On("DATA").Delay(s * time.Second)
//	-W cmd:s:odds       On(cmd).DelayGeometric(s*time.Second, odds/100, seed)
//	-A 0                On("DATA").Do(Action{Reply: "354 Go ahead\n550 This violates SMTP", Close: CloseAfterReply})
type Rule struct {
	verbs []string
	// conds make the conditions, so that each Hook gets its own counters.
	conds []func() condition
}

// A condition decides whether a command stays selected, given whose counters
// apply, and whose counters apply to the conditions after it.
type condition func(c *Command, by scope) (next scope, keep bool)

// On selects the commands with one of these verbs, in any case of letters. What
// is not a command but asks a [Hook] can be named too: "CONNECT" (the greeting),
// "TLS" (the handshake), "." (end of mail data, BDAT LAST included). No verb at
// all selects everything.
//
// On panics if a verb is neither known nor begins with X.
func On(verbs ...string) Rule {
	r := Rule{verbs: make([]string, len(verbs))}
	for i, v := range verbs {
		v = strings.ToUpper(v)
		if !slices.Contains(knownVerbs, v) && !strings.HasPrefix(v, "X") {
			panic(fmt.Sprintf("smtptest: On(%q): no such verb; there are %s, and X...", verbs[i], strings.Join(knownVerbs, ", ")))
		}
		r.verbs[i] = v
	}
	return r
}

var knownVerbs = []string{
	"CONNECT", "TLS", ".", "HELO", "EHLO", "LHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT",
	"RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "ETRN", "TURN", "ATRN", "BURL", "SEND", "SOML", "SAML",
}

// with returns r with one more condition.
func (r Rule) with(newCond func() condition) Rule {
	r.conds = append(slices.Clip(r.conds), newCond) // Clip: another Rule may share the array
	return r
}

// When keeps the commands for which f returns true. f is called from many
// goroutines and must not keep c.
func (r Rule) When(f func(c *Command) bool) Rule {
	return r.with(func() condition {
		return func(c *Command, by scope) (scope, bool) { return by, f(c) }
	})
}

// From keeps the commands of transactions whose reverse-path matches one of the
// patterns, MAIL included. In a pattern, * stands for any characters: "*@a.test",
// "bounce-*@*". Domains are compared without regard to case. The pattern "" is
// the null reverse-path.
func (r Rule) From(patterns ...string) Rule {
	match := matcher("From", patterns)
	return r.When(func(c *Command) bool {
		// Outside of transactions From is empty, which is not the null
		// reverse-path.
		return c.Message > 0 && match(c.From)
	})
}

// To keeps RCPT commands whose forward-path matches one of the patterns, and the
// other commands of transactions that have such a recipient. Patterns are as in
// From.
func (r Rule) To(patterns ...string) Rule {
	match := matcher("To", patterns)
	return r.When(func(c *Command) bool {
		if c.Recipient != "" {
			return match(c.Recipient)
		}
		return slices.ContainsFunc(c.To, match)
	})
}

// First keeps the first n commands.
func (r Rule) First(n int64) Rule {
	return r.counting("First", n, 0, func(k int64) bool { return k <= n })
}

// After keeps all but the first n commands.
func (r Rule) After(n int64) Rule {
	return r.counting("After", n, 0, func(k int64) bool { return k > n })
}

// Every keeps each nth command: the nth, the 2nth and so on.
func (r Rule) Every(n int64) Rule {
	return r.counting("Every", n, 1, func(k int64) bool { return k%n == 0 })
}

func (r Rule) counting(name string, n, least int64, keep func(k int64) bool) Rule {
	if n < least {
		panic(fmt.Sprintf("smtptest: Rule.%s(%d): less than %d", name, n, least))
	}
	return r.with(func() condition {
		var seen counter
		return func(_ *Command, by scope) (scope, bool) { return by, keep(seen.next(by)) }
	})
}

// Chance keeps a command with probability p, from 0 to 1.
func (r Rule) Chance(p float64, seed uint64) Rule {
	if !(p >= 0 && p <= 1) { // also NaN
		panic(fmt.Sprintf("smtptest: Rule.Chance(%v): not a probability from 0 to 1", p))
	}
	return r.with(func() condition {
		draw := dice{seed: seed}
		return func(_ *Command, by scope) (scope, bool) { return by, draw.next(by) < p }
	})
}

// MoreThan keeps what exceeds a rate limit of n commands per interval. As in
// Postfix (smtpd_client_message_rate_limit), an interval begins with the first
// command after the interval before has ended, and its first n commands are
// within the limit.
func (r Rule) MoreThan(n int64, interval time.Duration) Rule {
	if n < 0 || interval <= 0 {
		panic(fmt.Sprintf("smtptest: Rule.MoreThan(%d, %v): want at least 0 commands and a positive interval", n, interval))
	}
	return r.with(func() condition {
		var seen windows
		return func(_ *Command, by scope) (scope, bool) { return by, seen.next(by, interval) > n }
	})
}

// PerSession makes the conditions after it count for each session.
func (r Rule) PerSession() Rule {
	return r.per(func(c *Command) scope { return scope{number: c.Session} })
}

// PerClient makes the conditions after it count for each IP address of clients.
// All clients of a unix socket are one.
func (r Rule) PerClient() Rule {
	return r.per(func(c *Command) scope {
		if c.RemoteAddr == nil {
			return scope{}
		}
		if a, ok := c.RemoteAddr.(*net.TCPAddr); ok {
			return scope{text: string(a.IP.To16())}
		}
		return scope{text: c.RemoteAddr.Network()}
	})
}

// PerSender makes the conditions after it count for each reverse-path.
func (r Rule) PerSender() Rule {
	return r.Per(func(c *Command) string { return fold(c.From) })
}

// PerRecipient makes the conditions after it count for each forward-path of
// RCPT, and for all other commands together. Greylisting is
//
//	smtptest.On("RCPT").PerRecipient().First(1).Reply("450 4.2.0 Greylisted")
func (r Rule) PerRecipient() Rule {
	return r.Per(func(c *Command) string { return fold(c.Recipient) })
}

// Per makes the conditions after it count separately for each value of key,
// which is called from many goroutines and must not keep c.
//
// At least the 65,536 values used last have their counts kept; those of others
// begin anew.
func (r Rule) Per(key func(c *Command) string) Rule {
	return r.per(func(c *Command) scope { return scope{text: key(c)} })
}

func (r Rule) per(key func(*Command) scope) Rule {
	return r.with(func() condition {
		return func(c *Command, _ scope) (scope, bool) { return key(c), true }
	})
}

// Reply answers the selected commands with reply, as [Action].Reply: with
// "450 4.2.0 Try later" they are not carried out, and after a "421 4.7.0 Busy"
// the session ends.
//
// It panics if reply does not begin with a reply code (RFC 5321 §4.2.1) and a
// space or a hyphen. To send such, use Do.
func (r Rule) Reply(reply string) Hook {
	if len(reply) < 4 || reply[0] < '2' || reply[0] > '5' || !digit(reply[1]) || !digit(reply[2]) || reply[3] != ' ' && reply[3] != '-' {
		panic(fmt.Sprintf("smtptest: Rule.Reply(%q): want a reply code and a text, as in %q", reply, "450 4.2.0 Try later"))
	}
	return r.Do(Action{Reply: reply})
}

// HangUp closes the session at the selected commands in one of the ways of
// [CloseMode]. With CloseAfterReply and ClosePartial the reply is the server's
// own; use Do for another.
func (r Rule) HangUp(mode CloseMode) Hook {
	if mode == KeepOpen {
		panic("smtptest: Rule.HangUp(KeepOpen): that is not hanging up")
	}
	return r.Do(Action{Close: mode})
}

// Delay makes the server wait before it answers the selected commands.
func (r Rule) Delay(d time.Duration) Hook {
	if d <= 0 {
		panic(fmt.Sprintf("smtptest: Rule.Delay(%v): not positive", d))
	}
	return r.Do(Action{Delay: d})
}

// DelayBetween makes the server wait before it answers the selected commands, for
// a time that is distributed evenly from least to most.
func (r Rule) DelayBetween(least, most time.Duration, seed uint64) Hook {
	if least < 0 || most <= least {
		panic(fmt.Sprintf("smtptest: Rule.DelayBetween(%v, %v): want 0 <= least < most", least, most))
	}
	return r.delay(seed, func(u float64) time.Duration {
		return least + time.Duration(u*float64(most-least))
	})
}

// DelayExp makes the server wait before it answers the selected commands, for a
// time that is distributed exponentially around mean: mostly short, now and then
// several times the mean, up to 37 times.
func (r Rule) DelayExp(mean time.Duration, seed uint64) Hook {
	if mean <= 0 {
		panic(fmt.Sprintf("smtptest: Rule.DelayExp(%v): not positive", mean))
	}
	return r.delay(seed, func(u float64) time.Duration {
		return time.Duration(-math.Log1p(-u) * float64(mean))
	})
}

// DelayGeometric makes the server wait d before it answers the selected commands,
// and with probability odds another d, and so on, as smtp-sink -W does. The mean
// is d × odds / (1-odds) more than d.
func (r Rule) DelayGeometric(d time.Duration, odds float64, seed uint64) Hook {
	if d <= 0 || !(odds > 0 && odds < 1) {
		panic(fmt.Sprintf("smtptest: Rule.DelayGeometric(%v, %v): want a positive time and odds between 0 and 1", d, odds))
	}
	return r.delay(seed, func(u float64) time.Duration {
		// One draw by inversion: more than k extra waits have probability
		// odds^(k+1).
		return d * time.Duration(1+math.Floor(math.Log1p(-u)/math.Log(odds)))
	})
}

func (r Rule) delay(seed uint64, wait func(u float64) time.Duration) Hook {
	draw := dice{seed: seed}
	return r.hook(func(by scope) Action { return Action{Delay: wait(draw.next(by))} })
}

// Do has a do to the selected commands.
func (r Rule) Do(a Action) Hook {
	return r.hook(func(scope) Action { return a })
}

func (r Rule) hook(do func(by scope) Action) Hook {
	verbs := slices.Clone(r.verbs)
	conds := make([]condition, len(r.conds))
	for i, newCond := range r.conds {
		conds[i] = newCond()
	}
	return func(_ context.Context, c *Command) Action {
		if len(verbs) > 0 && !slices.Contains(verbs, c.Verb) {
			return Action{}
		}
		var by scope
		for _, cond := range conds {
			next, keep := cond(c, by)
			if !keep {
				return Action{}
			}
			by = next
		}
		return do(by)
	}
}

// Chain asks hooks one after the other until one of them decides, which is to
// reply or to hang up: the first one wins, and those behind it neither see nor
// count the command. Delays are no decision, and add up. So a delay before a
// fault holds for both,
//
//	smtptest.Chain(
//		smtptest.On("RCPT").Delay(20*time.Millisecond),
//		smtptest.On("RCPT").Every(10).Reply("450 4.2.0 Try later"),
//	)
//
// and a delay behind it only for commands that got past it. nil hooks are left
// out.
func Chain(hooks ...Hook) Hook {
	hooks = slices.DeleteFunc(slices.Clone(hooks), func(h Hook) bool { return h == nil })
	return func(ctx context.Context, c *Command) Action {
		var sum time.Duration
		for _, h := range hooks {
			a := h(ctx, c)
			sum += a.Delay
			a.Delay = 0
			if a != (Action{}) {
				a.Delay = sum
				return a
			}
		}
		return Action{Delay: sum}
	}
}

func digit(b byte) bool { return '0' <= b && b <= '9' }
