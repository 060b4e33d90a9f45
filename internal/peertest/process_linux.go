package peertest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// run starts the program, says how that went, and ends when its whole group
// has.
func (p *process) run(started chan<- error) {
	defer close(p.done)
	// PDEATHSIG is sent when the *thread* that started the program ends, so this
	// goroutine keeps its thread. It takes effect where no Cleanup does: a test
	// binary that panicked, or was killed by go test at its -timeout.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	p.cmd.SysProcAttr.Setpgid = true
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	// WNOWAIT leaves the leader a zombie. While it is one, its number can belong
	// to no other group, and it is safe to end what is left of this one.
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	p.mu.Lock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.gone = true
	p.mu.Unlock()
	_ = p.cmd.Wait() // the result is in ProcessState
}

// signal sends s to pid, the program or (negative) its group, if it is there.
func (p *process) signal(pid int, s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = syscall.Kill(pid, s)
	}
}

// terminate asks the program alone: its children are its to end.
func (p *process) terminate() { p.signal(p.cmd.Process.Pid, syscall.SIGTERM) }

func (p *process) killGroup() { p.signal(-p.cmd.Process.Pid, syscall.SIGKILL) }
func (p *process) pause()     { p.signal(-p.cmd.Process.Pid, syscall.SIGSTOP) }
func (p *process) resume()    { p.signal(-p.cmd.Process.Pid, syscall.SIGCONT) }

// nobody returns who runs the programs that need no rights, nil to run them
// as the tests run.
func nobody() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	return credential("nobody")
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// asNobody makes cmd run without root's rights.
func asNobody(cmd *exec.Cmd) error {
	id, err := nobody()
	if id != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id}
	}
	return err
}

// giveToNobody makes dir one that such a program may write to.
func giveToNobody(dir string) error {
	id, err := nobody()
	if id == nil {
		return err
	}
	return os.Chown(dir, int(id.Uid), int(id.Gid))
}
