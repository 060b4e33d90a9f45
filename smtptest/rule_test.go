package smtptest_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benchmail/benchmail/smtptest"
	"github.com/stretchr/testify/assert"
)

// command makes a Command of "VERB session reverse-path forward-path"; what is
// missing at the end is session 1 and no addresses.
func command(s string) *smtptest.Command {
	c := &smtptest.Command{Session: 1}
	for i, f := range strings.Fields(s) {
		switch i {
		case 0:
			c.Verb = f
		case 1:
			fmt.Sscan(f, &c.Session)
		case 2:
			c.From, c.Message = strings.Trim(f, "<>"), 1
		case 3:
			c.Recipient = f
		}
	}
	return c
}

// outcomes asks hook for each of the commands and returns a letter for each: the
// first of the reply's code or "x" for hanging up, "d" for a delay, "." for none.
func outcomes(hook smtptest.Hook, commands ...string) string {
	var s strings.Builder
	for _, text := range commands {
		switch a := hook(context.Background(), command(text)); {
		case a.Reply != "":
			s.WriteByte(a.Reply[0])
		case a.Close != smtptest.KeepOpen:
			s.WriteByte('x')
		case a.Delay != 0:
			s.WriteByte('d')
		default:
			s.WriteByte('.')
		}
	}
	return s.String()
}

func times(n int, commands ...string) (all []string) {
	for range n {
		all = append(all, commands...)
	}
	return all
}

func TestRule(t *testing.T) {
	const later = "450 4.2.0 Try later"
	for _, tt := range []struct {
		name     string
		hook     smtptest.Hook
		commands []string
		want     string
		why      string
	}{
		{"verb", smtptest.On("RCPT").Reply(later), []string{"MAIL", "RCPT", "DATA", "."}, ".4..", "only what On names"},
		{"verbs", smtptest.On("rcpt", "Data").Reply(later), []string{"MAIL", "RCPT", "DATA", "."}, ".44.", "RFC 5321 §2.4: verbs are case-insensitive"},
		{"all", smtptest.On().Reply(later), []string{"CONNECT", "TLS", "XFOO"}, "444", "no verb is every verb"},
		{"unknown command", smtptest.On("XFOO").Reply("250 ok"), []string{"XFOO", "XBAR"}, "2.", "private commands begin with X (RFC 5321 §4.1.5)"},
		{"first", smtptest.On("RCPT").First(2).Reply(later), times(2, "RCPT", "MAIL", "RCPT"), "4.4...", "counts RCPT only"},
		{"first 0", smtptest.On("RCPT").First(0).Reply(later), times(2, "RCPT"), "..", "a table's edge case"},
		{"after", smtptest.On("RCPT").After(2).Reply(later), times(4, "RCPT"), "..44", "a server that breaks"},
		{"every", smtptest.On("RCPT").Every(3).Reply(later), times(7, "RCPT"), "..4..4.", "each third"},
		{"window of commands", smtptest.On("RCPT").After(1).First(2).Reply(later), times(5, "RCPT"), ".44..", "a condition sees what the one before let through"},
		{"order of conditions", smtptest.On("RCPT").To("a@*").First(1).Reply(later), []string{"RCPT 1 s b@x", "RCPT 1 s a@x", "RCPT 1 s a@x"}, ".4.", "the first that matches"},
		{"order of conditions, reversed", smtptest.On("RCPT").First(1).To("a@*").Reply(later), []string{"RCPT 1 s b@x", "RCPT 1 s a@x"}, "..", "the first, if it matches"},
		{"server", smtptest.On("MAIL").First(1).Reply(later), []string{"MAIL 1", "MAIL 2", "MAIL 1", "MAIL 2"}, "4...", "counts over all sessions by default"},
		{"per session", smtptest.On("MAIL").PerSession().First(1).Reply(later), []string{"MAIL 1", "MAIL 2", "MAIL 1", "MAIL 2"}, "44..", "counts in each session"},
		{"per session, later", smtptest.On("MAIL").First(3).PerSession().First(1).Reply(later), []string{"MAIL 1", "MAIL 1", "MAIL 2", "MAIL 3"}, "4.4.", "conditions before PerSession count for the server"},
		{"per sender", smtptest.On("MAIL").PerSender().Every(2).Reply(later), []string{"MAIL 1 a@x", "MAIL 1 b@x", "MAIL 2 a@X", "MAIL 1 A@x"}, "..4.", "domains fold, local parts do not"},
		{"greylist", smtptest.On("RCPT").PerRecipient().First(1).Reply(later), []string{"RCPT 1 s a@x", "RCPT 1 s b@x", "RCPT 2 s a@x", "RCPT 2 s c@x"}, "44.4", "each recipient once"},
		{"from", smtptest.On("MAIL").From("*@spam.test", "joe@a.test").Reply("550 5.7.1 no"), []string{"MAIL 1 x@SPAM.test", "MAIL 1 joe@a.test", "MAIL 1 jo@a.test", "MAIL 1 <>"}, "55..", "patterns"},
		{"from null", smtptest.On().From("").Reply("550 5.7.1 no"), []string{"CONNECT", "EHLO", "MAIL 1 <>", "RCPT 1 <> a@x", "RCPT 1 b@x a@x"}, "..55.", "outside of a transaction there is no reverse-path, not even a null one"},
		{"from literal", smtptest.On("MAIL").From("a/b*@[127.0.0.1]").Reply("550 5.7.1 no"), []string{"MAIL 1 a/b/c@[127.0.0.1]", "MAIL 1 a/b@1"}, "5.", "no syntax of path.Match"},
		{"to several stars", smtptest.On("RCPT").To("a*b*c@*.test").Reply(later), []string{"RCPT 1 s abc@x.test", "RCPT 1 s axxbybc@.test", "RCPT 1 s ac@x.test", "RCPT 1 s abc@test"}, "44..", "glob"},
		{"to star overlap", smtptest.On("RCPT").To("aba*aba").Reply(later), []string{"RCPT 1 s aba", "RCPT 1 s abaaba"}, ".4", "prefix and suffix do not share characters"},
		{"hang up", smtptest.On("DATA").Every(2).HangUp(smtptest.Reset), times(3, "DATA"), ".x.", "no reply"},
		{"delay", smtptest.On("DATA").First(1).Delay(time.Second), times(2, "DATA"), "d.", "first ones only"},
		{"chain, first wins", smtptest.Chain(smtptest.On("RCPT").Every(2).Reply("450 x"), nil, smtptest.On("RCPT").Every(2).Reply("550 x")), times(6, "RCPT"), ".454.4", "the second counts only what the first lets pass: the third command is its second"},
		{"chain of none", smtptest.Chain(), []string{"RCPT"}, ".", "nothing decides"},
		{"chance 0", smtptest.On("RCPT").Chance(0, 1).Reply(later), times(5, "RCPT"), ".....", "never"},
		{"chance 1", smtptest.On("RCPT").Chance(1, 1).Reply(later), times(5, "RCPT"), "44444", "always"},
		{"when", smtptest.On("MAIL").When(func(c *smtptest.Command) bool { return c.Session%2 == 0 }).Reply(later), []string{"MAIL 1", "MAIL 2"}, ".4", "whatever else"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, outcomes(tt.hook, tt.commands...), tt.why)
		})
	}
}

func TestRuleChain(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook smtptest.Hook
		want smtptest.Action
		why  string
	}{
		{"delays add up", smtptest.Chain(
			smtptest.On("RCPT").Delay(time.Second),
			smtptest.On("RCPT").Delay(2*time.Second),
		), smtptest.Action{Delay: 3 * time.Second}, "delays do not decide"},
		{"delay and fault", smtptest.Chain(
			smtptest.On("RCPT").Delay(time.Second),
			smtptest.On("RCPT").Do(smtptest.Action{Reply: "450 x", Delay: time.Minute, Close: smtptest.CloseAfterReply}),
			smtptest.On("RCPT").Delay(time.Hour),
		), smtptest.Action{Reply: "450 x", Delay: 61 * time.Second, Close: smtptest.CloseAfterReply}, "smtp-sink ignores -W where -r or -f apply; and nothing behind the decision is asked"},
		{"nested", smtptest.Chain(
			smtptest.On("RCPT").Delay(time.Second),
			smtptest.Chain(smtptest.On("RCPT").Delay(time.Second), smtptest.On("RCPT").HangUp(smtptest.Reset)),
		), smtptest.Action{Delay: 2 * time.Second, Close: smtptest.Reset}, "a chain is a hook"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, tt.hook(t.Context(), command("RCPT")), tt.why)
		})
	}
}

func TestRuleTo(t *testing.T) {
	hook := smtptest.On("DATA", ".").To("slow@x").Delay(time.Second)
	end := &smtptest.Command{Verb: ".", Message: 1, To: []string{"fast@x", "slow@X"}}
	assert.Equal(t, time.Second, hook(t.Context(), end).Delay, "one of the transaction's recipients matches")
	end.Recipient = "fast@x" // LMTP: the reply for this one
	assert.Zero(t, hook(t.Context(), end).Delay, "under LMTP each reply is for one recipient")
}

func TestRulePerClient(t *testing.T) {
	hook := smtptest.On("CONNECT").PerClient().First(1).Reply("421 4.7.0 Too many")
	from := func(a net.Addr) bool {
		return hook(t.Context(), &smtptest.Command{Verb: "CONNECT", RemoteAddr: a}).Reply != ""
	}
	v4, v4in6 := net.IPv4(127, 0, 0, 1).To4(), net.IPv4(127, 0, 0, 1).To16()
	assert.True(t, from(&net.TCPAddr{IP: v4, Port: 1}))
	assert.False(t, from(&net.TCPAddr{IP: v4in6, Port: 2}), "ports and forms of an address do not matter")
	assert.True(t, from(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}))
	assert.True(t, from(&net.UnixAddr{Net: "unix"}))
	assert.False(t, from(&net.UnixAddr{Net: "unix", Name: "@"}), "unix sockets are one client")
	assert.True(t, from(nil), "no address is a client, too")
}

func TestRuleReuse(t *testing.T) {
	rule := smtptest.On("RCPT").First(1)
	a, b := rule.Reply("450 x"), rule.To("*").Reply("450 x")
	other := rule.After(0).Reply("450 x") // must not overwrite To's place
	assert.Equal(t, "4.", outcomes(a, "RCPT 1 s r", "RCPT 1 s r"))
	assert.Equal(t, "4.", outcomes(b, "RCPT 1 s r", "RCPT 1 s r"), "each hook counts for itself")
	assert.Equal(t, "4.", outcomes(other, "RCPT", "RCPT"))
}

func TestRuleMoreThan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := smtptest.On("MAIL").PerSession().MoreThan(2, time.Second).Reply("450 4.7.1 Too much mail")
		time.Sleep(300 * time.Millisecond) // the interval does not begin with the server
		assert.Equal(t, "..44", outcomes(hook, times(4, "MAIL 1")...))
		time.Sleep(999 * time.Millisecond)
		assert.Equal(t, "4", outcomes(hook, "MAIL 1"), "still the first interval")
		assert.Equal(t, "..4", outcomes(hook, times(3, "MAIL 2")...), "another session has its own limit")
		time.Sleep(time.Millisecond)
		assert.Equal(t, "..4", outcomes(hook, times(3, "MAIL 1")...), "a new interval")
		assert.Equal(t, "4", outcomes(hook, "MAIL 2"))
		time.Sleep(time.Hour)
		assert.Equal(t, "..4", outcomes(hook, times(3, "MAIL 1")...), "unused intervals do not add up")
	})
}

// What is random must be the same in every run, and about right.
func TestRuleChance(t *testing.T) {
	const n = 20_000
	all := times(n, "RCPT")
	first := outcomes(smtptest.On("RCPT").Chance(0.1, 7).Reply("450 x"), all...)
	assert.Equal(t, first, outcomes(smtptest.On("RCPT").Chance(0.1, 7).Reply("450 x"), all...), "same seed")
	assert.NotEqual(t, first, outcomes(smtptest.On("RCPT").Chance(0.1, 8).Reply("450 x"), all...), "other seed")
	assert.InDelta(t, 0.1*n, strings.Count(first, "4"), 4*math.Sqrt(n*0.1*0.9), "share")
	assert.InDelta(t, 0.01*n, strings.Count(pairs(first), "44"), 4*math.Sqrt(n*0.01*0.99), "neighbours are independent")
	assert.Equal(t, ".4.444.4........444.4.444..4.444", outcomes(smtptest.On("RCPT").Chance(0.5, 7).Reply("450 x"), all[:32]...), "the sequence must not change between versions: users' tests depend on it")
}

// pairs returns all pairs of neighbours in s, separated.
func pairs(s string) string {
	var b strings.Builder
	for i := range len(s) - 1 {
		b.WriteString(s[i:i+2] + " ")
	}
	return b.String()
}

// The order in which sessions come must not matter with PerSession.
func TestRuleChancePerSession(t *testing.T) {
	hook := func() smtptest.Hook { return smtptest.On("RCPT").PerSession().Chance(0.5, 1).Reply("450 x") }
	const n = 200
	alone := hook()
	one, two := outcomes(alone, times(n, "RCPT 1")...), outcomes(alone, times(n, "RCPT 2")...)
	mixed, both := hook(), [2]string{}
	for i := range 2 * n { // 2 2 1 2 2 1 ... and then what is left
		s := 1
		if i%3 == 2 || len(both[1]) == n {
			s = 0
		}
		both[s] += outcomes(mixed, fmt.Sprintf("RCPT %d", s+1))
	}
	assert.Equal(t, [2]string{one, two}, both)
	assert.NotEqual(t, one, two, "sessions differ")
}

func TestRuleRandomDelays(t *testing.T) {
	const ms, n = time.Millisecond, 20_000
	for _, tt := range []struct {
		name        string
		hook        func() smtptest.Hook
		least, most time.Duration
		mean, sd    float64 // in ms
	}{
		{"even", func() smtptest.Hook { return smtptest.On().DelayBetween(10*ms, 30*ms, 1) }, 10 * ms, 30 * ms, 20, 20 / math.Sqrt(12)},
		{"exponential", func() smtptest.Hook { return smtptest.On().DelayExp(10*ms, 1) }, 0, 370 * ms, 10, 10},
		{"geometric", func() smtptest.Hook { return smtptest.On().DelayGeometric(10*ms, 0.5, 1) }, 10 * ms, 540 * ms, 20, 10 * math.Sqrt2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tt.hook(), tt.hook()
			var sum float64
			for range n {
				d := a(t.Context(), command("RCPT")).Delay
				assert.Equal(t, d, b(t.Context(), command("RCPT")).Delay, "same seed")
				assert.True(t, tt.least <= d && d <= tt.most, d)
				sum += float64(d) / float64(ms)
			}
			assert.InDelta(t, tt.mean, sum/n, 4*tt.sd/math.Sqrt(n))
		})
	}
}

// Whatever the interleaving, the same number of commands must be hit.
func TestRuleConcurrent(t *testing.T) {
	const sessions, each = 16, 500
	for _, tt := range []struct {
		name string
		rule smtptest.Rule
		want int
	}{
		{"first", smtptest.On().First(100), 100},
		{"every", smtptest.On().Every(10), sessions * each / 10},
		{"per session", smtptest.On().PerSession().First(3), 3 * sessions},
		{"rate", smtptest.On().MoreThan(100, time.Hour), sessions*each - 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hook := tt.rule.Reply("450 x")
			var wg sync.WaitGroup
			var hits [sessions]int
			for s := range sessions {
				wg.Go(func() {
					for range each {
						if hook(t.Context(), &smtptest.Command{Verb: "MAIL", Session: int64(s)}).Reply != "" {
							hits[s]++
						}
					}
				})
			}
			wg.Wait()
			sum := 0
			for _, h := range hits {
				sum += h
			}
			assert.Equal(t, tt.want, sum)
		})
	}
}

// A load test has millions of sessions and the hook is never told that one has
// ended: what it remembers must be bounded, and must not forget the busy ones.
func TestRuleForgets(t *testing.T) {
	hook := smtptest.On().PerSession().First(1).Reply("450 x")
	ask := func(session int64) bool {
		return hook(t.Context(), &smtptest.Command{Verb: "MAIL", Session: session}).Reply != ""
	}
	assert.True(t, ask(1))
	assert.True(t, ask(2))
	for s := int64(3); s < 300_000; s++ {
		if !ask(s) {
			t.Fatalf("session %d is not new", s)
		}
		if s%50_000 == 0 && ask(2) {
			t.Fatalf("session 2 is in use and was forgotten at %d", s)
		}
	}
	assert.True(t, ask(1), "not used for long: begins anew")
}

func TestRuleNoAllocations(t *testing.T) {
	hook := smtptest.Chain(
		smtptest.On("MAIL").Chance(0.5, 1).Delay(time.Second),
		smtptest.On("MAIL").PerSession().MoreThan(3, time.Hour).Reply("450 x"),
	)
	ctx, c := t.Context(), command("MAIL 1 a@x")
	if n := testing.AllocsPerRun(100, func() { hook(ctx, c) }); n != 0 {
		t.Errorf("%v allocations per command; load goes through hooks, too", n)
	}
}

func TestRulePanics(t *testing.T) {
	any := smtptest.On("RCPT")
	for name, f := range map[string]func(){
		"On: no such verb":       func() { smtptest.On("RCTP") },
		"From(): no pattern":     func() { any.From() },
		"To(\"<a@x>\")":          func() { any.To("<a@x>") },
		"First(-1)":              func() { any.First(-1) },
		"After(-1)":              func() { any.After(-1) },
		"Every(0)":               func() { any.Every(0) },
		"Chance(NaN)":            func() { any.Chance(math.NaN(), 1) },
		"Chance(10)":             func() { any.Chance(10, 1) },
		"MoreThan(1, 0s)":        func() { any.MoreThan(1, 0) },
		"Reply(\"try later\")":   func() { any.Reply("try later") },
		"Reply(\"650 no\")":      func() { any.Reply("650 no") },
		"Reply(\"450\")":         func() { any.Reply("450") },
		"HangUp(KeepOpen)":       func() { any.HangUp(smtptest.KeepOpen) },
		"Delay(0s)":              func() { any.Delay(0) },
		"DelayBetween(2s, 1s)":   func() { any.DelayBetween(2*time.Second, time.Second, 1) },
		"DelayExp(-1ns)":         func() { any.DelayExp(-1, 1) },
		"DelayGeometric(1s, 1)":  func() { any.DelayGeometric(time.Second, 1, 1) },
		"DelayGeometric(0s, .5)": func() { any.DelayGeometric(0, .5, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			method, _, _ := strings.Cut(strings.TrimSuffix(name, ": no such verb"), "(")
			defer func() {
				v := recover()
				assert.Contains(t, fmt.Sprint(v), method, "the message names the method")
			}()
			f()
		})
	}
}
