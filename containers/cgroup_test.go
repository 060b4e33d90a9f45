package containers_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/containers"
)

const id = "4c01db0b339c"

func files(all map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range all {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

var want = containers.Resources{
	CPU: 1500 * time.Millisecond, RSS: 3000, Memory: 9000, PeakMemory: 9500,
	Periods: 100, ThrottledPeriods: 7, Throttled: 200 * time.Millisecond, OOMKills: 2,
}

func v1(prefix string) map[string]string {
	return map[string]string{
		prefix + "cpuacct/docker/" + id + "/cgroup.procs":             "",
		prefix + "cpuacct/docker/" + id + "/cpuacct.usage":            "1500000000\n",
		prefix + "cpu/docker/" + id + "/cgroup.procs":                 "",
		prefix + "cpu/docker/" + id + "/cpu.stat":                     "nr_periods 100\nnr_throttled 7\nthrottled_time 200000000\n",
		prefix + "memory/docker/" + id + "/cgroup.procs":              "",
		prefix + "memory/docker/" + id + "/memory.stat":               "rss 1\nmapped_file 2\ntotal_rss 2000\ntotal_mapped_file 1000\n",
		prefix + "memory/docker/" + id + "/memory.usage_in_bytes":     "9000\n",
		prefix + "memory/docker/" + id + "/memory.max_usage_in_bytes": "9500\n",
		prefix + "memory/docker/" + id + "/memory.oom_control":        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
		"proc/77/cgroup": "4:memory:/docker/" + id + "\n3:cpuacct:/docker/" + id + "\n2:cpu:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n0::/docker/" + id + "\n",
	}
}

func v2(dir string) map[string]string {
	return map[string]string{
		"sys/fs/cgroup/" + dir + "/cpu.stat":       "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\nnr_periods 100\nnr_throttled 7\nthrottled_usec 200000\n",
		"sys/fs/cgroup/" + dir + "/memory.stat":    "anon 2000\nfile 5\nfile_mapped 1000\n",
		"sys/fs/cgroup/" + dir + "/memory.current": "9000\n",
		"sys/fs/cgroup/" + dir + "/memory.peak":    "9500\n",
		"sys/fs/cgroup/" + dir + "/memory.events":  "low 0\noom 3\noom_kill 2\n",
		"proc/77/cgroup":                           "0::/" + dir + "\n",
	}
}

func TestCgroup(t *testing.T) {
	const scope = "system.slice/docker-" + id + ".scope"
	without := func(m map[string]string, names ...string) map[string]string {
		for name := range m {
			for _, n := range names {
				if strings.HasSuffix(name, n) {
					delete(m, name)
				}
			}
		}
		return m
	}
	change := func(r containers.Resources, fn func(*containers.Resources)) containers.Resources {
		fn(&r)
		return r
	}
	shared := map[string]string{}
	for name, text := range v1("sys/fs/cgroup/") {
		name = strings.NewReplacer("cgroup/cpuacct/", "cgroup/cpu,cpuacct/", "cgroup/cpu/", "cgroup/cpu,cpuacct/").Replace(name)
		shared[name] = strings.Replace(text, "3:cpuacct:/docker/"+id+"\n2:cpu:", "2:cpu,cpuacct:", 1)
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  containers.Resources
		fails string
		why   string
	}{
		{"version 1", v1("sys/fs/cgroup/"), want, "", "also where version 2 is mounted besides, without controllers"},
		{"version 1, cpu and cpuacct mounted together", shared, want, "", "as systemd does"},
		{"version 2", v2(scope), want, "", "with systemd"},
		{"version 2 of cgroupfs", v2("docker/" + id), want, "", "without systemd"},
		{"version 2 before Linux 5.19", without(v2(scope), "memory.peak"), change(want, func(r *containers.Resources) { r.PeakMemory = 0 }), "", "not known is 0"},
		{"version 1 without oom_kill", without(v1("sys/fs/cgroup/"), "memory.oom_control"), change(want, func(r *containers.Resources) { r.OOMKills = 0 }), "", "not known is 0"},
		{"no CPU controller", without(v2(scope), "cpu.stat"), want, "no control group", "Docker is asked instead"},
		{"another process", map[string]string{"proc/77/cgroup": "0::/user.slice\n"}, want, "no control group", "Docker is on another machine, and 77 is somebody else"},
		{"hidden by a namespace", map[string]string{"proc/77/cgroup": "0::/\n"}, want, "no control group", "the name is not to be seen"},
		{"no such process", nil, want, "not exist", "Docker is on another machine"},
		{"no number", func() map[string]string {
			m := v1("sys/fs/cgroup/")
			m["sys/fs/cgroup/cpuacct/docker/"+id+"/cpuacct.usage"] = "many\n"
			return m
		}(), want, "cpuacct.usage", "the file is named"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := containers.ReadCgroup(files(tt.files), 77, id)
			if tt.fails != "" {
				require.ErrorContains(t, err, tt.fails, tt.why)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, got, tt.why)
		})
	}
	_, err := containers.ReadCgroup(files(v2(scope)), 0, id)
	require.Error(t, err, "a container that is not running has process 0")
}

func TestDockerStats(t *testing.T) {
	v := &container.StatsResponse{
		CPUStats: container.CPUStats{
			CPUUsage:       container.CPUUsage{TotalUsage: 1_500_000_000},
			ThrottlingData: container.ThrottlingData{Periods: 100, ThrottledPeriods: 7, ThrottledTime: 200_000_000},
		},
		MemoryStats: container.MemoryStats{Usage: 9000, MaxUsage: 9500, Stats: map[string]uint64{"total_rss": 2000, "total_mapped_file": 1000, "rss": 5}},
	}
	w := want
	w.OOMKills = 0
	got, err := containers.FromStats(v)
	require.NoError(t, err)
	assert.Equal(t, w, got, "version 1")
	v.MemoryStats.Stats = map[string]uint64{"anon": 2000, "file_mapped": 1000}
	got, err = containers.FromStats(v)
	require.NoError(t, err)
	assert.Equal(t, w, got, "version 2")
	_, err = containers.FromStats(&container.StatsResponse{})
	require.Error(t, err, "what Docker answers for a container that has ended")
}

// TestRestartedCounters: counters begin again at 0 when a container is
// restarted; what was sampled before is not lost.
func TestRestartedCounters(t *testing.T) {
	r := func(cpu time.Duration, rss int64) containers.Resources {
		return containers.Resources{CPU: cpu, RSS: rss}
	}
	for _, tt := range []struct {
		name     string
		readings []containers.Resources
		cpu      time.Duration
		peak     int64
	}{
		{"none", []containers.Resources{r(5, 1)}, 0, 1},
		{"steady", []containers.Resources{r(5, 1), r(7, 4), r(9, 2)}, 4, 4},
		{"restarted", []containers.Resources{r(5, 1), r(9, 2), r(3, 8), r(6, 1)}, 4 + 6, 8},
		{"restarted twice", []containers.Resources{r(5, 1), r(9, 2), r(3, 1), r(2, 1)}, 4 + 3 + 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cpu, peak := containers.Sampled(tt.readings)
			assert.Equal(t, tt.cpu, cpu)
			assert.Equal(t, tt.peak, peak)
		})
	}
}

func TestProc(t *testing.T) {
	fsys := files(map[string]string{
		"proc/10/cmdline": "/usr/sbin/docker-proxy\x00-proto\x00tcp\x00-host-ip\x00127.0.0.1\x00-host-port\x0030123\x00-container-ip\x00172.17.0.2\x00",
		"proc/11/cmdline": "/usr/sbin/docker-proxy\x00-proto\x00tcp\x00-host-port\x0030124\x00",
		"proc/12/cmdline": "less\x00docker-proxy -host-port 30123\x00",
		"proc/13/cmdline": "",
		"proc/14/cmdline": "docker-proxy\x00-host-port\x00",
		"proc/10/stat":    "10 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 8 0",
		"proc/11/stat":    "11 (x",
		"proc/12/stat":    "12 (x) S 1 2",
		"proc/10/net/tcp": "  sl  local_address rem_address   st\n   0: 00000000:09DD 00000000:0000 0A 00000000\n   1: 0100007F:0019 00000000:0000 01 0\n",
		"proc/10/net/tcp6": "  sl  local_address\n   0: 00000000000000000000000000000000:09DD 00000000000000000000000000000000:0000 0A 0\n" +
			"   1: 00000000000000000000000000000000:01D1 00000000000000000000000000000000:0000 0A 0\n",
		"proc/11/net/tcp": "  sl  local_address rem_address   st\n",
	})
	assert.EqualValues(t, []int{10}, containers.FindProxies(fsys, []string{"30123", "1"}))
	assert.Empty(t, containers.FindProxies(fsys, nil))
	assert.Equal(t, 1750*time.Millisecond, containers.ProcessCPU(fsys, 10), "a name may have parentheses")
	assert.Zero(t, containers.ProcessCPU(fsys, 11))
	assert.Zero(t, containers.ProcessCPU(fsys, 12))
	assert.Zero(t, containers.ProcessCPU(fsys, 99))
	assert.Equal(t, []int{465, 2525}, containers.Listening(fsys, 10), "those that listen, once each")
	assert.Equal(t, []int{}, containers.Listening(fsys, 11), "none")
	assert.Nil(t, containers.Listening(fsys, 99), "not known")
}

func TestTail(t *testing.T) {
	var tl containers.Tail
	assert.Equal(t, "", tl.String())
	tl.Write([]byte("one\ntwo\r\n"))
	assert.Equal(t, "one\ntwo", tl.String())
	line := strings.Repeat("x", 99) + "\n"
	for range 5000 {
		tl.Write([]byte(line))
	}
	tl.Write([]byte("the end\n"))
	got := tl.String()
	assert.Less(t, len(got), 40<<10, "bounded")
	assert.Greater(t, len(got), 20<<10)
	assert.True(t, strings.HasPrefix(got, line), "whole lines")
	assert.True(t, strings.HasSuffix(got, "the end"))
}
