//go:build !race

package gate_test

// simulated is by how much the simulation is shortened.
const simulated = 1
