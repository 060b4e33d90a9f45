package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// hostFS is where /proc and the control groups are.
var hostFS = os.DirFS("/")

// cgroup reads the files of a container's control group. Paths are relative to
// files.
type cgroup struct {
	files fs.FS
	v2    string // the folder of version 2, "" for version 1, which has one for each controller:

	cpuacct, cpu, memory string
}

// findCgroup finds the control group of a container by its first process. The
// group's name has to have the container's id in it: otherwise Docker runs on
// another machine and pid is some other process here, or process namespaces hide
// the name.
func findCgroup(files fs.FS, pid int, id string) (*cgroup, error) {
	if pid <= 0 || id == "" {
		return nil, errors.New("no process")
	}
	text, err := fs.ReadFile(files, "proc/"+strconv.Itoa(pid)+"/cgroup")
	if err != nil {
		return nil, err
	}
	g := &cgroup{files: files}
	for line := range strings.Lines(string(text)) {
		// "4:cpu,cpuacct:/docker/1234" or, version 2, "0::/system.slice/docker-1234.scope"
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || !strings.Contains(fields[2], id) {
			continue
		}
		if fields[1] == "" {
			if dir := path.Join("sys/fs/cgroup", fields[2]); g.has(dir, "cpu.stat") && g.has(dir, "memory.stat") {
				g.v2 = dir
			}
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			var dir *string
			switch controller {
			case "cpu":
				dir = &g.cpu
			case "cpuacct":
				dir = &g.cpuacct
			case "memory":
				dir = &g.memory
			default:
				continue
			}
			// Mounted by the name of one controller, or of all that share it.
			for _, mount := range []string{controller, fields[1]} {
				if d := path.Join("sys/fs/cgroup", mount, fields[2]); g.has(d, "cgroup.procs") {
					*dir = d
				}
			}
		}
	}
	if g.cpuacct != "" && g.memory != "" {
		g.v2 = "" // with both there, version 1 has the controllers
		return g, nil
	}
	if g.v2 == "" {
		return nil, fmt.Errorf("no control group of container %s", id)
	}
	return g, nil
}

func (g *cgroup) has(dir, name string) bool {
	_, err := fs.Stat(g.files, path.Join(dir, name))
	return err == nil
}

func (g *cgroup) read(context.Context) (Resources, error) {
	if g.v2 != "" {
		return g.readV2()
	}
	return g.readV1()
}

func (g *cgroup) readV1() (Resources, error) {
	var r Resources
	cpu, err := g.number(g.cpuacct, "cpuacct.usage") // ns
	if err != nil {
		return r, err
	}
	r.CPU = time.Duration(cpu)
	stat, err := g.table(g.memory, "memory.stat")
	if err != nil {
		return r, err
	}
	r.RSS = rss(stat)
	if r.Memory, err = g.number(g.memory, "memory.usage_in_bytes"); err != nil {
		return r, err
	}
	if r.PeakMemory, err = g.number(g.memory, "memory.max_usage_in_bytes"); err != nil {
		return r, err
	}
	// What kernels do not all have is 0.
	if oom, err := g.table(g.memory, "memory.oom_control"); err == nil {
		r.OOMKills = int64(oom["oom_kill"])
	}
	if g.cpu != "" {
		if stat, err := g.table(g.cpu, "cpu.stat"); err == nil {
			r.Periods = int64(stat["nr_periods"])
			r.ThrottledPeriods = int64(stat["nr_throttled"])
			r.Throttled = time.Duration(stat["throttled_time"])
		}
	}
	return r, nil
}

func (g *cgroup) readV2() (Resources, error) {
	var r Resources
	cpu, err := g.table(g.v2, "cpu.stat")
	if err != nil {
		return r, err
	}
	r.CPU = time.Duration(cpu["usage_usec"]) * time.Microsecond
	r.Periods = int64(cpu["nr_periods"])
	r.ThrottledPeriods = int64(cpu["nr_throttled"])
	r.Throttled = time.Duration(cpu["throttled_usec"]) * time.Microsecond
	stat, err := g.table(g.v2, "memory.stat")
	if err != nil {
		return r, err
	}
	r.RSS = rss(stat)
	if r.Memory, err = g.number(g.v2, "memory.current"); err != nil {
		return r, err
	}
	if peak, err := g.number(g.v2, "memory.peak"); err == nil { // since Linux 5.19
		r.PeakMemory = peak
	}
	if events, err := g.table(g.v2, "memory.events"); err == nil {
		r.OOMKills = int64(events["oom_kill"])
	}
	return r, nil
}

// number reads a file with one number.
func (g *cgroup) number(dir, name string) (int64, error) {
	text, err := fs.ReadFile(g.files, path.Join(dir, name))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

// table reads a file with lines of a name and a number. Others are passed over.
func (g *cgroup) table(dir, name string) (map[string]uint64, error) {
	text, err := fs.ReadFile(g.files, path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	t := make(map[string]uint64)
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			t[key] = n
		}
	}
	return t, nil
}
