//go:build !linux

package peertest

import "os/exec"

// Where there is no Linux, program ends each test before it gets here.

func (p *process) run(started chan<- error) {
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait()
	}
}

func (p *process) terminate() { p.killGroup() }
func (p *process) killGroup() { _ = p.cmd.Process.Kill() }
func (p *process) pause()     {}
func (p *process) resume()    {}

func asNobody(*exec.Cmd) error  { return nil }
func giveToNobody(string) error { return nil }
