package containers

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// proxies are the processes docker-proxy that serve a container's published
// ports, by their numbers.
type proxies []int

// findProxies finds them, if Docker runs on this machine and its processes can
// be seen.
func (srv *Server) findProxies() proxies {
	if srv.hostNetwork || !srv.docker.loopback {
		return nil
	}
	var ports []string
	srv.mu.Lock()
	for _, addr := range srv.addrs {
		if _, port, err := net.SplitHostPort(addr); err == nil {
			ports = append(ports, port)
		}
	}
	srv.mu.Unlock()
	return findProxies(hostFS, ports)
}

func findProxies(files fs.FS, ports []string) proxies {
	list, err := fs.Glob(files, "proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	var found proxies
	for _, name := range list {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			continue // the process has ended
		}
		args := strings.Split(string(bytes.TrimRight(text, "\x00")), "\x00")
		if path.Base(args[0]) != "docker-proxy" {
			continue
		}
		i := slices.Index(args, "-host-port")
		if i < 0 || i+1 == len(args) || !slices.Contains(ports, args[i+1]) {
			continue
		}
		if pid, err := strconv.Atoi(path.Base(path.Dir(name))); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// cpu returns the CPU time that they have used. One that has ended has used
// none that could be known.
func (p proxies) cpu() time.Duration {
	var sum time.Duration
	for _, pid := range p {
		sum += processCPU(hostFS, pid)
	}
	return sum
}

// processCPU returns the user and system time of a process, in steps of 10 ms,
// 0 if there is none.
func processCPU(files fs.FS, pid int) time.Duration {
	text, err := fs.ReadFile(files, "proc/"+strconv.Itoa(pid)+"/stat")
	if err != nil {
		return 0
	}
	// "123 (a name) S 1 ...": the name may have spaces and parentheses in it.
	// utime and stime are fields 14 and 15 of proc_pid_stat(5).
	i := bytes.LastIndexByte(text, ')')
	if i < 0 {
		return 0
	}
	fields := bytes.Fields(text[i+1:])
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0
	}
	var ticks int64
	for _, f := range [][]byte{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ, which Linux has promised to userland
	return time.Duration(ticks) * time.Second / perSecond
}

// proxyWarning says what docker-proxy's part in a measurement was, "" if it had
// none.
func (srv *Server) proxyWarning(p proxies, used, server time.Duration) string {
	const advice = "WithHostNetwork avoids it"
	switch {
	case srv.hostNetwork:
		return ""
	case len(p) == 0:
		if srv.docker.loopback && canSeeProxies() {
			return "" // Docker was started with --userland-proxy=false
		}
		return "the port is published, and whatever Docker publishes it with copies every octet; its share cannot be measured from here; " + advice
	case used < 0:
		return "its share is not known, as it was started again meanwhile; " + advice
	case used == 0:
		return "its CPU time was less than could be measured (10 ms); " + advice
	}
	if server <= 0 {
		return fmt.Sprintf("it used %v of CPU time; %s", used, advice)
	}
	return fmt.Sprintf("it copies every octet, and used %v of CPU time, %.0f %% of the server's %v, which belongs to neither side; %s",
		used, 100*float64(used)/float64(server), server.Round(time.Millisecond), advice)
}

// canSeeProxies reports whether processes of Docker are to be seen: the daemon
// itself is.
func canSeeProxies() bool {
	list, _ := fs.Glob(hostFS, "proc/[0-9]*/comm")
	for _, name := range list {
		if text, err := fs.ReadFile(hostFS, name); err == nil && string(bytes.TrimSpace(text)) == "dockerd" {
			return true
		}
	}
	return false
}
