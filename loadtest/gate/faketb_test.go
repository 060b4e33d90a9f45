package gate_test

import (
	"fmt"
	"runtime"
	"testing"
)

// fakeTB is a test that may fail without failing this one.
type fakeTB struct {
	testing.TB
	name   string
	logged []string
	errors []string
	fatal  string
}

func (f *fakeTB) Helper()           {}
func (f *fakeTB) Name() string      { return f.name }
func (f *fakeTB) Log(args ...any)   { f.logged = append(f.logged, fmt.Sprint(args...)) }
func (f *fakeTB) Error(args ...any) { f.errors = append(f.errors, fmt.Sprint(args...)) }
func (f *fakeTB) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *fakeTB) Logf(format string, args ...any) {
	f.logged = append(f.logged, fmt.Sprintf(format, args...))
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// run calls fn as a test, and returns when it has ended.
func (f *fakeTB) run(fn func(testing.TB)) *fakeTB {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(f)
	}()
	<-done
	return f
}
