package containers

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/wait"
)

// ProcessLabel marks the containers of this process, and its images but for
// those that are kept.
var ProcessLabel = processLabel + "=" + processID

// DialDocker returns the Docker that this package has found, and not whichever
// another search would find.
func DialDocker(ctx context.Context) (client.APIClient, error) {
	d, err := dialDocker(ctx, log.NewNoopLogger())
	if err != nil {
		return nil, err
	}
	return d.api, nil
}

var RequireDocker = requireDocker

// AwaitGreeting waits for the greeting of a server that is ready or not.
func AwaitGreeting(ctx context.Context, target wait.StrategyTarget, timeout time.Duration) error {
	return (&greeting{port: 25, timeout: timeout}).WaitUntilReady(ctx, target)
}

// ImportProgram makes an image of a program with the Docker at host.
func ImportProgram(ctx context.Context, host string, program []byte) (string, error) {
	api, err := client.New(client.WithHost(host), client.WithAPIVersion("1.44"))
	if err != nil {
		return "", err
	}
	defer api.Close()
	return (&docker{api: api}).importProgram(ctx, program)
}

func (c SinkConfig) Flags() ([]string, error) { return c.flags() }

func ReadCgroup(files fs.FS, pid int, id string) (Resources, error) {
	g, err := findCgroup(files, pid, id)
	if err != nil {
		return Resources{}, err
	}
	return g.read(context.Background())
}

var (
	FromStats   = fromStats
	Listening   = listening
	FindProxies = findProxies

	AgainWithoutCache = againWithoutCache
	ProcessCPU        = processCPU
)

type Tail = tail

// WithoutHostFiles has everything done as if Docker were on another machine.
func WithoutHostFiles(tb testing.TB) {
	was := hostFS
	hostFS = fstest.MapFS{}
	tb.Cleanup(func() { hostFS = was })
}

// Reading is one from each source, the files' around the one of Docker.
type Reading struct{ Before, Docker, After Resources }

func (srv *Server) ReadBoth(ctx context.Context) (r Reading, err error) {
	state, err := srv.State(ctx)
	if err != nil {
		return r, err
	}
	g, err := findCgroup(hostFS, state.Pid, srv.GetContainerID())
	if err != nil {
		return r, err
	}
	if r.Before, err = g.read(ctx); err != nil {
		return r, err
	}
	if r.Docker, err = (&stats{srv.docker, srv.GetContainerID()}).read(ctx); err != nil {
		return r, err
	}
	r.After, err = g.read(ctx)
	return r, err
}

// Sampled runs a measurement over made-up readings, one for each sample.
func Sampled(readings []Resources) (cpu time.Duration, peak int64) {
	m := &measurement{srv: &Server{}, before: &container.State{}, first: readings[0], last: readings[0], peak: readings[0].RSS}
	for _, r := range readings[1:] {
		m.add(r)
	}
	return m.lost.CPU + m.last.CPU - m.first.CPU, m.peak
}
