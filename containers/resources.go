package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Resources is what a container has used since it was started.
type Resources struct {
	// CPU is user and system time of all processes.
	CPU time.Duration
	// RSS is the memory that is resident now, in bytes: anonymous memory and
	// mapped files of all processes, what is shared counted once.
	RSS int64
	// Memory is all that is accounted to the container now, in bytes: page cache,
	// tmpfs and the kernel's memory for it included. It is what WithMemory
	// limits.
	Memory int64
	// PeakMemory is the most that Memory ever was, 0 if it is not known: with
	// version 2 of control groups it is read from memory.peak, which Docker
	// does not pass on.
	PeakMemory int64
	// Periods is how many tenths of a second the container had a CPU limit
	// for, ThrottledPeriods in how many of them it was stopped because of it,
	// and Throttled for how long in all, its threads added up.
	Periods, ThrottledPeriods int64
	Throttled                 time.Duration
	// OOMKills is how many processes the kernel has killed as the memory was
	// used up. It is 0 where Docker had to be asked: see the container's State then.
	OOMKills int64
}

// A resourceReader reads what a container has used. A container that is not
// running has none.
type resourceReader interface {
	read(ctx context.Context) (Resources, error)
}

// Resources returns what the container has used until now.
func (srv *Server) Resources(ctx context.Context) (Resources, error) {
	reader, _, err := srv.resourceReader(ctx)
	if err != nil {
		return Resources{}, fmt.Errorf("containers: %s: %w", srv.name, srv.gone(err))
	}
	r, err := reader.read(ctx)
	if err != nil {
		return r, fmt.Errorf("containers: %s: %w", srv.name, srv.gone(err))
	}
	return r, nil
}

// resourceReader returns the best one there is: the files of the container's
// control group, or Docker's API where it runs on another machine.
func (srv *Server) resourceReader(ctx context.Context) (resourceReader, *container.State, error) {
	state, err := srv.State(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !state.Running {
		return nil, state, exitError(state)
	}
	if g, err := findCgroup(hostFS, state.Pid, srv.GetContainerID()); err == nil {
		if _, err := g.read(ctx); err == nil {
			return g, state, nil
		}
	}
	return &stats{srv.docker, srv.GetContainerID()}, state, nil
}

// stats asks Docker.
type stats struct {
	docker *docker
	id     string
}

func (s *stats) read(ctx context.Context) (Resources, error) {
	res, err := s.docker.api.ContainerStats(ctx, s.id, client.ContainerStatsOptions{})
	if err != nil {
		return Resources{}, err
	}
	defer res.Body.Close()
	var v container.StatsResponse
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		return Resources{}, fmt.Errorf("reading Docker's statistics: %w", err)
	}
	return fromStats(&v)
}

func fromStats(v *container.StatsResponse) (Resources, error) {
	// Docker answers for a container that has ended, too: with nothing.
	if v.CPUStats.CPUUsage.TotalUsage == 0 {
		return Resources{}, errors.New("the Docker daemon has no statistics of the container")
	}
	throttling := v.CPUStats.ThrottlingData
	return Resources{
		CPU:              time.Duration(v.CPUStats.CPUUsage.TotalUsage),
		RSS:              rss(v.MemoryStats.Stats),
		Memory:           int64(v.MemoryStats.Usage),
		PeakMemory:       int64(v.MemoryStats.MaxUsage),
		Periods:          int64(throttling.Periods),
		ThrottledPeriods: int64(throttling.ThrottledPeriods),
		Throttled:        time.Duration(throttling.ThrottledTime),
	}, nil
}

// rss adds up what is resident, from the entries of a memory.stat. Version 1 has
// total_… for a group with the groups below it, version 2 has no other.
func rss(stat map[string]uint64) int64 {
	if anon, ok := stat["total_rss"]; ok {
		return int64(anon + stat["total_mapped_file"])
	}
	return int64(stat["anon"] + stat["file_mapped"])
}
