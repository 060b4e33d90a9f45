package loadtest

import "context"

// Run: the engine author's.
func Run(ctx context.Context, d Dialer, cfg Config) (*Result, error) { panic("todo") }
