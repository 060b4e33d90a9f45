package peertest

import (
	"bytes"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// stopTime is how long a program has to end after it was asked to.
const stopTime = 10 * time.Second

// A process is a program that runs until the test ends. It and its children
// are one process group, so that all of them, and nothing else, can be ended.
type process struct {
	tb   testing.TB
	cmd  *exec.Cmd
	out  output        // what it wrote
	done chan struct{} // closed when it and its group are gone
	stop sync.Once

	mu   sync.Mutex // guards gone, and is held while a signal is sent
	gone bool       // its number may soon be another's
}

// start starts cmd. It is stopped when the test ends, if not before.
func start(tb testing.TB, cmd *exec.Cmd) *process {
	tb.Helper()
	p := &process{tb: tb, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.WaitDelay = stopTime
	cmd.Env = environ()
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		tb.Fatalf("peertest: starting %s: %v", cmd.Path, err)
	}
	tb.Cleanup(p.end)
	return p
}

// startTime is how long a server has until it answers, pollTime how long to
// leave it alone between two looks: no program here says when it is ready.
const (
	startTime = 20 * time.Second
	pollTime  = 5 * time.Millisecond
)

// waits waits for d and says whether the program is still there after it.
func (p *process) waits(d time.Duration) bool {
	select {
	case <-p.done:
		return false
	case <-time.After(d):
		return true
	}
}

// end asks the program to end and waits until it, and its children, have.
func (p *process) end() {
	p.stop.Do(func() {
		p.resume() // a paused one would not see the rest
		p.terminate()
		select {
		case <-p.done:
		case <-time.After(stopTime):
			p.killGroup()
			<-p.done
			p.tb.Errorf("peertest: %s did not end within %v of SIGTERM and was killed; it wrote:\n%s", p.cmd.Path, stopTime, p.out.String())
		}
	})
}

// kill ends the program and its children without notice.
func (p *process) kill() {
	p.stop.Do(func() {
		p.killGroup()
		<-p.done
	})
}

// clientTime is how long a program that runs once has to end by itself.
const clientTime = 60 * time.Second

// run runs a program to its end and returns what it wrote, and why it failed.
func run(tb testing.TB, name, pkg string, args ...string) (string, error) {
	tb.Helper()
	cmd := exec.Command(program(tb, name, pkg), args...)
	p := start(tb, cmd)
	select {
	case <-p.done:
	case <-time.After(clientTime):
		p.kill()
		return p.out.String(), fmt.Errorf("peertest: %s did not end within %v and was killed", name, clientTime)
	}
	if state := cmd.ProcessState; !state.Success() {
		return p.out.String(), fmt.Errorf("peertest: %s: %v", name, state)
	}
	return p.out.String(), nil
}

// output collects what a program writes. It is safe for concurrent use.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
