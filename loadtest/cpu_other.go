//go:build !unix

package loadtest

import "time"

// cpuTime returns 0: there is no getrusage.
func cpuTime() time.Duration { return 0 }
