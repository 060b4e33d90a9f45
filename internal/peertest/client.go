package peertest

import "testing"

// Source runs Postfix's smtp-source and returns what it wrote. The test ends
// if it fails, as it does at the first reply that it did not want; "-A" makes
// it go on.
func Source(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := run(tb, "smtp-source", "postfix", args...)
	if err != nil {
		tb.Fatalf("%v; it wrote:\n%s", err, out)
	}
	return out
}

// Swaks runs swaks and returns its transcript. The test ends if it fails, as it
// does when the server refuses the message.
func Swaks(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := run(tb, "swaks", "swaks", args...)
	if err != nil {
		tb.Fatalf("%v; it wrote:\n%s", err, out)
	}
	return out
}
