//go:build !linux

package peers_test

import "testing"

// startFloor has no epoll to build on.
func startFloor(tb testing.TB) func(testing.TB, load) usage { return nil }
