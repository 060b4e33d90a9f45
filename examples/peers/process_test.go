package peers_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds every process. None takes a quarter of it.
const patience = 2 * time.Minute

// A usage is what a process used from its start to its end, its start-up
// included: for a peer there is no other way to measure it.
type usage struct {
	cpu     time.Duration // user and system, all threads
	wall    time.Duration
	peakRSS int64 // bytes; 0 where there is no /proc
}

// A process was started here, and is waited for here.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader // its standard output; nil for a peer
	file  string        // where a peer's standard output went
	errs  bytes.Buffer  // its standard error, to be read when it has ended
	began time.Time
	peak  *peakWatch
	ended bool
}

// self starts this binary in another role. spec is what the role takes.
func self(tb testing.TB, role string, spec any, env ...string) *process {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	js, err := json.Marshal(spec)
	if err != nil {
		tb.Fatal(err)
	}
	p := command(tb, exe)
	p.cmd.Env = append(append(os.Environ(), env...), envRole+"="+role, envSpec+"="+string(js))
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.lines = bufio.NewReader(stdout)
	p.start(tb)
	return p
}

// peer starts a program that is not ours. It writes to a file and not to a pipe:
// smtp-sink writes for each message, and we should be awake as often.
func peer(tb testing.TB, name string, args ...string) *process {
	tb.Helper()
	p := command(tb, name, args...)
	p.file = filepath.Join(tb.TempDir(), filepath.Base(name))
	f, err := os.Create(p.file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close() // the process has its own
	p.cmd.Stdout = f
	p.start(tb)
	return p
}

func command(tb testing.TB, name string, args ...string) *process {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stderr = &p.errs
	p.cmd.SysProcAttr = diesWithParent()
	tb.Cleanup(func() { // what fails before it has waited for the process
		cancel()
		if p.peak != nil && !p.ended {
			_, _ = p.reap()
		}
	})
	return p
}

func (p *process) start(tb testing.TB) {
	tb.Helper()
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("peers: start %s: %v", p.cmd.Path, err)
	}
	p.peak = watchPeak(p.cmd.Process.Pid)
}

// said decodes the next line that one of our own processes wrote.
func (p *process) said(tb testing.TB, v any) {
	tb.Helper()
	line, err := p.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, v)
	}
	if err != nil {
		_, _ = p.reap()
		tb.Fatalf("peers: %s: %v: %s\n%s", p.cmd.Path, err, line, p.errs.String())
	}
}

// say is how one of our own processes is heard by said.
func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// wait waits until the process has ended by itself.
func (p *process) wait(tb testing.TB) usage {
	tb.Helper()
	u, err := p.reap()
	if err != nil {
		tb.Fatalf("peers: %s: %v\n%s", strings.Join(p.cmd.Args, " "), err, p.errs.String())
	}
	return u
}

// kill ends a process that does not end by itself, such as smtp-sink.
func (p *process) kill(tb testing.TB) usage {
	tb.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		_, _ = p.reap()
		tb.Fatalf("peers: %s ended before its time: %v\n%s", p.cmd.Path, err, p.errs.String())
	}
	u, _ := p.reap()
	return u
}

func (p *process) reap() (usage, error) {
	if p.lines != nil {
		_, _ = io.Copy(io.Discard, p.lines) // Wait closes the pipe
	}
	err := p.cmd.Wait()
	u := usage{wall: time.Since(p.began), peakRSS: p.peak.stop()}
	p.ended = true
	if s := p.cmd.ProcessState; s != nil {
		u.cpu = s.UserTime() + s.SystemTime()
	}
	return u, err
}

// output is what a peer has written so far.
func (p *process) output(tb testing.TB) string {
	tb.Helper()
	out, err := os.ReadFile(p.file)
	if err != nil {
		tb.Fatal(err)
	}
	return string(out)
}

// A peakWatch follows the peak of a process's resident memory.
//
// rusage has one too, ru_maxrss, but with vfork, which Go uses, a process begins
// with its parent's: /bin/true, started by a program of 80 MB, "used" 80 MB.
// VmHWM belongs to the program that was executed. It is gone when the process
// has ended, so it is looked at every now and then; as it is a peak itself, no
// more is missed than what is allocated in the last moment.
type peakWatch struct {
	end  chan struct{}
	peak chan int64
}

func watchPeak(pid int) *peakWatch {
	w := &peakWatch{end: make(chan struct{}), peak: make(chan int64)}
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var peak int64
		for {
			peak = max(peak, peakRSS(strconv.Itoa(pid)))
			select {
			case <-w.end:
				w.peak <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

func (w *peakWatch) stop() int64 {
	close(w.end)
	return <-w.peak
}

// peakRSS reads VmHWM of the process pid, or of "self", in bytes. It is 0 where
// there is none.
func peakRSS(pid string) int64 {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(status), "VmHWM:")
	if !ok {
		return 0
	}
	var kB int64
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		return 0
	}
	return kB << 10
}
