package peertest

import "testing"

// Missing looks for a program that no machine has.
func Missing(tb testing.TB) { program(tb, "benchmail-no-such-program", "postfix") }
