package peers_test

import (
	"fmt"
	"os"
	"testing"
)

// A processTB is the testing.TB of a role: smtptest's servers want one, and in a
// role there is no test. What is fatal ends the process.
type processTB struct {
	testing.TB // nil: what is not below is not to be called
	cleanups   []func()
}

func (t *processTB) Helper()                      {}
func (t *processTB) Name() string                 { return os.Getenv(envRole) }
func (t *processTB) Cleanup(f func())             { t.cleanups = append(t.cleanups, f) }
func (t *processTB) Log(args ...any)              { fmt.Fprintln(os.Stderr, args...) }
func (t *processTB) Logf(f string, args ...any)   { t.Log(fmt.Sprintf(f, args...)) }
func (t *processTB) Error(args ...any)            { t.Fatal(args...) }
func (t *processTB) Errorf(f string, args ...any) { t.Fatalf(f, args...) }
func (t *processTB) Fatal(args ...any)            { t.Log(args...); os.Exit(1) }
func (t *processTB) Fatalf(f string, args ...any) { t.Fatal(fmt.Sprintf(f, args...)) }

func (t *processTB) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
