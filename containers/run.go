package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"

	"github.com/benchmail/benchmail/loadtest"
)

// Run starts a container of an image that speaks SMTP and returns when the
// server has sent its greeting. The image is pulled if Docker does not have it.
//
// An error is a [*StartError] that names the image, the cause and the last
// lines of the server's log, and nothing is left behind: the Server is nil,
// unless its container could not be removed.
//
// testcontainers' own log is dropped; pass testcontainers.WithLogger to see it,
// though never with a logger that writes to standard output or standard error
// while a benchmark runs.
func Run(ctx context.Context, img string, opts ...testcontainers.ContainerCustomizer) (*Server, error) {
	return run(ctx, recipe{name: img, settings: defaults()}, opts)
}

// A StartError is why a server could not be started.
type StartError struct {
	Image string // the image, or what it was to be built from
	Err   error
	Log   string // the end of the server's log, "" if it was not started
}

func (e *StartError) Error() string {
	s := fmt.Sprintf("containers: %s: %v", e.Image, e.Err)
	if e.Log != "" {
		s += "\nthe end of the server's log:\n" + e.Log
	}
	return s
}

func (e *StartError) Unwrap() error { return e.Err }

// A recipe is what the functions Run… differ in.
type recipe struct {
	name     string
	settings settings
	// build returns the image, and whether it is to be removed along with the
	// container. nil means that name is an image.
	build func(context.Context, *docker, *settings) (img string, temporary bool, err error)
	// options are asked for after the user's Options and applied before the
	// user's options.
	options func(*settings) ([]testcontainers.ContainerCustomizer, error)
	// version has the server's version printed by a command in the container.
	version []string
}

// startTries bounds how often another port is tried when one was taken between
// its choice and its use.
const startTries = 5

// runLabel marks a container, so that it is found even if Docker's answer to
// its creation never came; processLabel, all containers of one process and the
// images that go with them.
const (
	runLabel     = "benchmail.run"
	processLabel = "benchmail.process"
)

var processID = uuid.NewString()

// cleanupTime bounds the removal of a container whose start failed.
const cleanupTime = 30 * time.Second

func run(ctx context.Context, r recipe, opts []testcontainers.ContainerCustomizer) (*Server, error) {
	fail := func(err error) (*Server, error) { return nil, &StartError{Image: r.name, Err: err} }
	s := r.settings
	if err := s.apply(opts); err != nil {
		return fail(err)
	}
	d, err := dialDocker(ctx, loggerOf(opts))
	if err != nil {
		return fail(err)
	}
	img, temporary := r.name, false
	if s.label != "" {
		r.name = s.label
	}
	if s.built != "" {
		img = s.built
	} else if r.build != nil {
		if img, temporary, err = r.build(ctx, d, &s); err != nil {
			d.close()
			return fail(err)
		}
	}
	srv := &Server{docker: d, settings: s, image: img, name: r.name}
	if temporary {
		srv.removeImage = img
	}
	if err := srv.start(ctx, r, opts); err != nil {
		// What the user's ctx says must not keep anything from being removed.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		if left := srv.Terminate(cleanup, testcontainers.StopTimeout(0)); left != nil {
			return srv, errors.Join(err, left)
		}
		return nil, err
	}
	return srv, nil
}

// start makes the container. What it has made is there for Terminate also after
// an error.
func (srv *Server) start(ctx context.Context, r recipe, opts []testcontainers.ContainerCustomizer) error {
	if srv.certFile != "" {
		if err := srv.makeCertificate(); err != nil {
			return &StartError{Image: r.name, Err: err}
		}
	}
	opts = append(slices.Clip(opts), keepFiles(make(map[string][]byte)))
	for try := 1; ; try++ {
		err := srv.startOnce(ctx, r, opts)
		if err == nil {
			break
		}
		if try == startTries || !isPortTaken(err) {
			return err
		}
		if err := srv.removeContainer(ctx, 0); err != nil {
			return &StartError{Image: r.name, Err: err}
		}
	}
	return srv.finish(ctx, r)
}

func (srv *Server) startOnce(ctx context.Context, r recipe, opts []testcontainers.ContainerCustomizer) error {
	var own []testcontainers.ContainerCustomizer
	if r.options != nil {
		var err error
		if own, err = r.options(&srv.settings); err != nil {
			return &StartError{Image: r.name, Err: err}
		}
	}
	ports, err := srv.choosePorts()
	if err != nil {
		return &StartError{Image: r.name, Err: err}
	}
	srv.hostPorts = ports
	srv.runID = uuid.NewString()
	srv.greeting = &greeting{port: srv.dialPort(), tls: srv.security == loadtest.ImplicitTLS, timeout: srv.startTimeout}
	if srv.hostNetwork {
		srv.greeting.port = ports[srv.dialPort()]
	}
	all := []testcontainers.ContainerCustomizer{
		testcontainers.WithLogger(log.NewNoopLogger()),
		testcontainers.WithLabels(map[string]string{runLabel: srv.runID, processLabel: processID}),
		// The limit is greeting's own, which has more to say about it.
		testcontainers.WithWaitStrategyAndDeadline(2*srv.startTimeout, srv.greeting),
		testcontainers.WithHostConfigModifier(srv.hostConfig(ports)),
		testcontainers.WithFiles(srv.files()...),
	}
	if !srv.hostNetwork {
		for _, port := range srv.ports() {
			all = append(all, testcontainers.WithExposedPorts(strconv.Itoa(port)+"/tcp"))
		}
	}
	all = append(all, own...)
	if srv.listen != nil {
		if opt := srv.listen(srv.listenAt(ports)); opt != nil {
			all = append(all, opt)
		}
	}
	all = append(all, opts...)

	ctr, err := testcontainers.Run(ctx, srv.image, all...)
	if ctr != nil {
		srv.Container = ctr
	}
	if err == nil {
		return nil
	}
	var notReady *notReadyError
	if errors.As(err, &notReady) {
		err = notReady.err
	}
	failure := &StartError{Image: r.name, Err: err}
	if ctr != nil {
		logCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		failure.Log = srv.docker.logTail(logCtx, ctr.GetContainerID(), logLines)
	}
	return failure
}

// keepFiles is an option that comes last and has files that are read from an
// io.Reader copied again on the next try.
func keepFiles(content map[string][]byte) testcontainers.CustomizeRequestOption {
	return func(req *testcontainers.GenericContainerRequest) error {
		for i := range req.Files {
			f := &req.Files[i]
			if f.Reader == nil {
				continue
			}
			if _, ok := content[f.ContainerFilePath]; !ok {
				b, err := io.ReadAll(f.Reader)
				if err != nil {
					return fmt.Errorf("reading what is to be %s: %w", f.ContainerFilePath, err)
				}
				content[f.ContainerFilePath] = b
			}
			f.Reader = bytes.NewReader(content[f.ContainerFilePath])
		}
		return nil
	}
}

// choosePorts returns the host's port for each of the container's. The choice
// is ours and not Docker's: one that Docker chooses is another one after the
// container was restarted or reconnected, and the Dialers of a run have the old
// one. nil means that Docker chooses, as it is on another machine.
func (srv *Server) choosePorts() (map[int]int, error) {
	if !srv.docker.loopback {
		if srv.hostNetwork {
			return nil, fmt.Errorf("WithHostNetwork needs Docker on this machine; it is on %s", srv.docker.host)
		}
		return nil, nil
	}
	ports := make(map[int]int)
	for _, port := range srv.ports() {
		free, err := freePort()
		if err != nil {
			return nil, err
		}
		ports[port] = free
	}
	return ports, nil
}

// freePort returns a port of 127.0.0.1 that nobody listens on. It is from below
// the range that the kernel takes for outgoing connections (32768 and up on
// Linux), of which a load generator next to us may have thousands.
func freePort() (int, error) {
	const low, high = 15000, 32000
	for range 1000 {
		if port := low + rand.IntN(high-low); portIsFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("none of a thousand ports of 127.0.0.1 from %d to %d is free", low, high)
}

func isPortTaken(err error) bool {
	var failure *StartError
	if !errors.As(err, &failure) {
		return false
	}
	text := strings.ToLower(failure.Err.Error() + failure.Log)
	return strings.Contains(text, "address already in use") || strings.Contains(text, "port is already allocated")
}

// hostConfig sets what testcontainers has no options for.
func (srv *Server) hostConfig(ports map[int]int) func(*container.HostConfig) {
	s := srv.settings
	return func(c *container.HostConfig) {
		if s.cpus > 0 {
			c.NanoCPUs = int64(s.cpus * 1e9)
		}
		if s.memory > 0 {
			c.Memory = s.memory
			c.MemorySwap = s.memory // memory and swap together
		}
		if s.hostNetwork {
			c.NetworkMode = "host"
			return
		}
		for inner, outer := range ports {
			if c.PortBindings == nil {
				c.PortBindings = make(network.PortMap)
			}
			port, _ := network.PortFrom(uint16(inner), network.TCP)
			// Docker's default are all addresses of the machine, and a test's
			// server is no business of the network's.
			c.PortBindings[port] = []network.PortBinding{{
				HostIP:   netip.AddrFrom4([4]byte{127, 0, 0, 1}),
				HostPort: strconv.Itoa(outer),
			}}
		}
	}
}

func (srv *Server) listenAt(ports map[int]int) Listen {
	at := func(port int) string {
		switch {
		case port == 0:
			return ""
		case srv.hostNetwork:
			return "127.0.0.1:" + strconv.Itoa(ports[port])
		}
		return "0.0.0.0:" + strconv.Itoa(port)
	}
	return Listen{Addr: at(srv.port), ImplicitTLSAddr: at(srv.tlsPort)}
}

// sweep removes every container of this run that is left: one whose creation
// testcontainers has lost sight of.
func (srv *Server) sweep(ctx context.Context) error {
	if srv.runID == "" {
		return nil
	}
	list, err := srv.docker.api.ContainerList(ctx, client.ContainerListOptions{
		All:     true,
		Filters: make(client.Filters).Add("label", runLabel+"="+srv.runID),
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range list.Items {
		_, err := srv.docker.api.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !isGone(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// loggerOf returns the logger among opts.
func loggerOf(opts []testcontainers.ContainerCustomizer) log.Logger {
	for _, opt := range slices.Backward(opts) {
		if _, ok := opt.(testcontainers.LoggerOption); ok {
			req := testcontainers.GenericContainerRequest{}
			if opt.Customize(&req) == nil && req.Logger != nil {
				return req.Logger
			}
		}
	}
	return log.NewNoopLogger()
}
