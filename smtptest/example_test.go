package smtptest_test

import (
	"context"
	"fmt"
	"net/smtp"
	"testing"
	"time"

	"github.com/benchmail/benchmail/smtptest"
)

// In a test this is the *testing.T or *testing.B.
var t = new(exampleTB)

func ExampleServer() {
	srv := smtptest.NewServer(t)
	defer t.end()

	// The code under test sends a message.
	c, err := smtp.Dial(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StartTLS(srv.ClientTLSConfig()); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("shop@example.org"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("ann@example.org"); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "Subject: Welcome\r\n\r\nHello Ann!\r\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}

	// The test waits until it is there, and looks at it.
	msgs, err := srv.Wait(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(msgs[0].From, "to", msgs[0].To, "with TLS:", msgs[0].TLS != nil)
	fmt.Printf("%q\n", msgs[0].Data)
	// Output:
	// shop@example.org to [ann@example.org] with TLS: true
	// "Subject: Welcome\r\n\r\nHello Ann!\r\n"
}

// The first attempt is greylisted, and every reply to RCPT is slow.
func ExampleHook() {
	srv := smtptest.NewUnstartedServer(t)
	srv.Hook = func(ctx context.Context, c *smtptest.Command) smtptest.Action {
		if c.Verb != "RCPT" {
			return smtptest.Action{}
		}
		act := smtptest.Action{Delay: 10 * time.Millisecond}
		if c.N == 1 {
			act.Reply = "450 4.2.0 Greylisted, try again"
		}
		return act
	}
	srv.Start()
	defer t.end()

	c, err := smtp.Dial(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("shop@example.org"); err != nil {
		t.Fatal(err)
	}
	fmt.Println(c.Rcpt("ann@example.org"))
	fmt.Println(c.Rcpt("ann@example.org"))
	// Output:
	// 450 "4.2.0 Greylisted, try again"
	// <nil>
}

// exampleTB is a testing.TB for examples, which have none.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (tb *exampleTB) Helper()                           {}
func (tb *exampleTB) Context() context.Context          { return context.Background() }
func (tb *exampleTB) Cleanup(f func())                  { tb.cleanups = append(tb.cleanups, f) }
func (tb *exampleTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (tb *exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (tb *exampleTB) Logf(string, ...any)               {}

// end is the end of the test.
func (tb *exampleTB) end() {
	for _, f := range tb.cleanups {
		f()
	}
	tb.cleanups = nil
}
