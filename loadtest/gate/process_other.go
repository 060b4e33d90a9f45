//go:build !unix

package gate

// isRunning reports whether there may be such a process.
func isRunning(int) bool { return true }
