package containers

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// listenHint says where a container listens that did not answer at a port, if
// it can be seen from here: a wrong port is the most frequent reason.
func listenHint(state *container.State, port int) string {
	if state == nil || state.Pid <= 0 {
		return ""
	}
	ports := listening(hostFS, state.Pid)
	switch {
	case ports == nil:
		return ""
	case len(ports) == 0:
		return "; it listens on no port yet"
	case slices.Contains(ports, port):
		return ""
	}
	return fmt.Sprintf("; it listens on %s: is that what WithPort should say?", strings.Trim(fmt.Sprint(ports), "[]"))
}

// listening returns the TCP ports that the network namespace of a process
// listens on, nil if that cannot be known.
func listening(files fs.FS, pid int) []int {
	var ports []int
	known := false
	for _, name := range []string{"tcp", "tcp6"} {
		text, err := fs.ReadFile(files, "proc/"+strconv.Itoa(pid)+"/net/"+name)
		if err != nil {
			continue
		}
		known = true
		for line := range strings.Lines(string(text)) {
			// "  0: 00000000:0019 00000000:0000 0A ..."
			fields := strings.Fields(line)
			const listen = "0A" // TCP_LISTEN
			if len(fields) < 4 || fields[3] != listen {
				continue
			}
			_, hex, ok := strings.Cut(fields[1], ":")
			if n, err := strconv.ParseUint(hex, 16, 16); ok && err == nil {
				ports = append(ports, int(n))
			}
		}
	}
	if !known {
		return nil
	}
	slices.Sort(ports)
	return append([]int{}, slices.Compact(ports)...)
}
