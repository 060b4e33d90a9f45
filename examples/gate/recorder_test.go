package gate_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// A recorder is a test of a test that has to fail: it takes note of that in
// place of failing.
type recorder struct {
	testing.TB
	failed bool
	text   strings.Builder
}

// newRecorder also keeps what the gate finds out of the summary of the CI job
// that runs these examples.
func newRecorder(t *testing.T) *recorder {
	t.Setenv("GITHUB_STEP_SUMMARY", "")
	t.Setenv("BENCHMAIL_GATE_DIR", "")
	return &recorder{TB: t}
}

func (r *recorder) Log(args ...any)                 { fmt.Fprintln(&r.text, args...) }
func (r *recorder) Logf(format string, args ...any) { fmt.Fprintf(&r.text, format+"\n", args...) }
func (r *recorder) Failed() bool                    { return r.failed }
func (r *recorder) Fail()                           { r.failed = true }

func (r *recorder) Error(args ...any) {
	r.Log(args...)
	r.Fail()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.Fail()
}

// Fatal ends the test that uses the recorder, too: it has nothing to go on with.
func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	r.TB.Log(r.text.String())
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }
