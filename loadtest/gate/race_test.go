//go:build race

package gate_test

// The race detector makes the simulation ten times slower, and there is nothing for
// it to see in it.
const simulated = 10
