package smtptest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/benchmail/benchmail/smtptest"
)

// A server that is slow to answer RCPT, has a full mailbox, and greylists all
// other recipients.
func ExampleOn() {
	hook := smtptest.Chain(
		smtptest.On("RCPT").Delay(20*time.Millisecond),
		smtptest.On("RCPT").To("*@full.test").Reply("452 4.2.2 Mailbox full"),
		smtptest.On("RCPT").PerRecipient().First(1).Reply("450 4.2.0 Greylisted"),
	)
	// In a test: srv.Hook = hook before srv.Start. Here we ask it ourselves.
	for _, to := range []string{"ann@a.test", "bob@full.test", "ann@a.test"} {
		a := hook(context.Background(), &smtptest.Command{Verb: "RCPT", Recipient: to})
		fmt.Printf("RCPT TO:<%s>  after %v: %q\n", to, a.Delay, a.Reply)
	}
	// Output:
	// RCPT TO:<ann@a.test>  after 20ms: "450 4.2.0 Greylisted"
	// RCPT TO:<bob@full.test>  after 20ms: "452 4.2.2 Mailbox full"
	// RCPT TO:<ann@a.test>  after 20ms: ""
}

// A rate limit as Postfix has it, for each client: 3 messages per minute here.
func ExampleRule_MoreThan() {
	hook := smtptest.On("MAIL").PerClient().MoreThan(3, time.Minute).Reply("450 4.7.1 Error: too much mail")
	for range 5 {
		fmt.Printf("%q\n", hook(context.Background(), &smtptest.Command{Verb: "MAIL"}).Reply)
	}
	// Output:
	// ""
	// ""
	// ""
	// "450 4.7.1 Error: too much mail"
	// "450 4.7.1 Error: too much mail"
}
