package containers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/benchmail/benchmail/loadtest"
)

// Reasons to doubt the figures of a run, or what became of the server in it:
// the warnings in a Usage match these.
var (
	// ErrThrottled: the CPU limit (WithCPUs) has stopped the server at times.
	ErrThrottled = errors.New("the server's CPU limit was reached")
	// ErrOOMKilled: the kernel has killed a process of the server, as the memory
	// of the container or of the machine was used up.
	ErrOOMKilled = errors.New("the server ran out of memory")
	// ErrExited: the server has ended.
	ErrExited = errors.New("the server is not running")
	// ErrRestarted: the server was started again; what it had used before its
	// end is in the figures as far as it was sampled.
	ErrRestarted = errors.New("the server was restarted")
	// ErrProxied: docker-proxy was part of what was measured.
	ErrProxied = errors.New("docker-proxy is part of what was measured")
)

const (
	sampleFiles  = 50 * time.Millisecond
	sampleDocker = time.Second // a sample costs Docker some milliseconds of CPU time
)

// Begin implements [loadtest.Meter]. It fails if the container is not running.
// Several measurements may be under way at once.
func (srv *Server) Begin(ctx context.Context) (end func(context.Context) (loadtest.Usage, error), err error) {
	reader, state, err := srv.resourceReader(ctx)
	if err != nil {
		return nil, fmt.Errorf("containers: %s: %w", srv.name, srv.gone(err))
	}
	m := &measurement{srv: srv, reader: reader, before: state, done: make(chan struct{})}
	m.proxy = srv.findProxies()
	m.proxyCPU = m.proxy.cpu()
	every := sampleDocker
	if _, ok := reader.(*cgroup); ok {
		every = sampleFiles
	}
	// Last, so that what Begin itself costs is not in it.
	first, err := reader.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("containers: %s: %w", srv.name, srv.gone(err))
	}
	m.first, m.last, m.peak = first, first, first.RSS
	var sampling context.Context // not ctx, which may end before the run does
	sampling, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	go m.sample(sampling, every)
	return m.end, nil
}

// A measurement is what goes on between Begin and its end.
type measurement struct {
	srv      *Server
	reader   resourceReader
	before   *container.State
	proxy    proxies
	proxyCPU time.Duration

	stop context.CancelFunc
	done chan struct{} // closed when sample has ended, which owns the rest until then

	first, last Resources
	lost        Resources // what was used before the last restart
	peak        int64
}

// sample looks at the container until ctx ends. Errors are no news: they come
// while it is being restarted.
func (m *measurement) sample(ctx context.Context, every time.Duration) {
	defer close(m.done)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if r, err := m.reader.read(ctx); err == nil {
				m.add(r)
			}
		}
	}
}

// add takes note of a sample. Counters that have gone down are those of a new
// control group.
func (m *measurement) add(r Resources) {
	if r.CPU < m.last.CPU {
		m.lost.CPU += m.last.CPU
		m.lost.Periods += m.last.Periods
		m.lost.ThrottledPeriods += m.last.ThrottledPeriods
		m.lost.Throttled += m.last.Throttled
		m.lost.OOMKills += m.last.OOMKills
	}
	m.last = r
	m.peak = max(m.peak, r.RSS)
}

// end is what Begin returned. It returns no error: what there is to say is a
// warning, and the figures are worth having without it.
func (m *measurement) end(ctx context.Context) (loadtest.Usage, error) {
	// Before anything else, as what comes after the last operation is none of
	// the run's; but after the last sample, which must not be younger.
	m.stop()
	<-m.done
	r, readErr := m.reader.read(ctx)
	proxyCPU := m.proxy.cpu() - m.proxyCPU
	if readErr == nil {
		m.add(r)
	}
	u := loadtest.Usage{CPU: m.lost.CPU + m.last.CPU - m.first.CPU, PeakRSS: m.peak}
	warn := func(err error, format string, args ...any) {
		u.Warnings = append(u.Warnings, fmt.Errorf("containers: %s: %w: %s", m.srv.name, err, fmt.Sprintf(format, args...)))
	}

	state, err := m.srv.State(ctx)
	switch {
	case err != nil:
		u.Warnings = append(u.Warnings, fmt.Errorf("containers: %s: what became of the server? %w", m.srv.name, m.srv.gone(err)))
	case !state.Running:
		u.Warnings = append(u.Warnings, fmt.Errorf("containers: %s: %w", m.srv.name, exitError(state)))
	case state.StartedAt != m.before.StartedAt:
		warn(ErrRestarted, "at %s, and the CPU time of its last moments before that is not in the figures", state.StartedAt)
	case readErr != nil:
		u.Warnings = append(u.Warnings, fmt.Errorf("containers: %s: the figures end before the run did: %w", m.srv.name, readErr))
	}
	if kills := m.lost.OOMKills + m.last.OOMKills - m.first.OOMKills; kills > 0 {
		warn(ErrOOMKilled, "the kernel has killed %d of its processes", kills)
	} else if state != nil && state.Running && state.OOMKilled && !m.before.OOMKilled {
		warn(ErrOOMKilled, "the kernel has killed one of its processes")
	}
	if n := m.lost.ThrottledPeriods + m.last.ThrottledPeriods - m.first.ThrottledPeriods; n > 0 {
		warn(ErrThrottled, "it was stopped in %d of %d periods, for %v in all; latencies are those of the limit",
			n, m.lost.Periods+m.last.Periods-m.first.Periods, m.lost.Throttled+m.last.Throttled-m.first.Throttled)
	}
	if text := m.srv.proxyWarning(m.proxy, proxyCPU, u.CPU); text != "" {
		warn(ErrProxied, "%s", text)
	}
	return u, nil
}
