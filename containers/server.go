package containers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"

	"github.com/benchmail/benchmail/loadtest"
)

// A Server is a mail server in a container. It is a testcontainers.Container
// with what a benchmark needs besides; and a [loadtest.Meter]. Its methods may
// be called from many goroutines.
type Server struct {
	testcontainers.Container

	settings
	docker      *docker
	name, image string
	runID       string
	removeImage string      // "" if the image stays
	hostPorts   map[int]int // by the container's; nil if Docker has chosen
	greeting    *greeting
	version     string
	cert        certificate
	roots       *x509.CertPool // nil: the system's

	mu         sync.Mutex // guards the rest
	addrs      map[int]string
	networks   []attachment // that Disconnect has taken it from
	terminated bool
}

var _ loadtest.Meter = (*Server)(nil)

// versions are those of images, which have a hash in their name: one command in
// a container is enough for a process.
var versions sync.Map

// finish finds out what can only be known of a server that is ready.
func (srv *Server) finish(ctx context.Context, r recipe) error {
	fail := func(err error) error { return &StartError{Image: r.name, Err: err} }
	if err := srv.findAddrs(ctx); err != nil {
		return fail(err)
	}
	if srv.certFile != "" {
		srv.roots = srv.cert.roots
	}
	if srv.rootFile != "" {
		if err := srv.readRoots(ctx); err != nil {
			return fail(err)
		}
	}
	if len(r.version) > 0 {
		if version, ok := versions.Load(srv.image); ok {
			srv.version = version.(string)
			return nil
		}
		out, err := srv.output(ctx, r.version)
		if err != nil {
			return fail(fmt.Errorf("asking for the version: %w", err))
		}
		srv.version = out
		versions.Store(srv.image, out)
	}
	return nil
}

// findAddrs finds out where the container's ports are on the host.
func (srv *Server) findAddrs(ctx context.Context) error {
	addrs := make(map[int]string)
	for _, port := range srv.ports() {
		if srv.hostNetwork {
			addrs[port] = net.JoinHostPort(srv.docker.host, strconv.Itoa(srv.hostPorts[port]))
			continue
		}
		mapped, err := srv.MappedPort(ctx, strconv.Itoa(port)+"/tcp")
		if err != nil {
			return fmt.Errorf("where is port %d published? %w", port, err)
		}
		addrs[port] = net.JoinHostPort(srv.docker.host, mapped.Port())
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.addrs = addrs
	return nil
}

// Addr returns the address of the server's SMTP port, "127.0.0.1:30123".
func (srv *Server) Addr() string { return srv.addr(srv.port) }

// ImplicitTLSAddr returns the address of the port where TLS begins with the
// first octet, "" if there is none.
func (srv *Server) ImplicitTLSAddr() string { return srv.addr(srv.tlsPort) }

func (srv *Server) addr(port int) string {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.addrs[port]
}

// Image returns the image that the container was made from.
func (srv *Server) Image() string { return srv.image }

// Greeting returns the text of the greeting that the server sent when it was
// started, without its code.
func (srv *Server) Greeting() string { return srv.greeting.text }

// Version returns the version of Postfix for [RunPostfix] and [RunSMTPSink],
// "3.7.11", otherwise "".
func (srv *Server) Version() string { return srv.version }

// RootCAs returns the roots that sign the server's certificate: those of
// WithCertificate or of WithRootFile. nil means the system's.
func (srv *Server) RootCAs() *x509.CertPool {
	if srv.roots == nil {
		return nil
	}
	return srv.roots.Clone()
}

// Dialer returns a new Dialer for the server. It trusts the server's
// certificate, and its fields may be changed before it is used. An error says
// that the container is not running any more, and why. After [Server.Restart] of
// a container on another machine a new Dialer is needed, as its port may have
// changed.
func (srv *Server) Dialer(ctx context.Context) (*loadtest.SMTP, error) {
	state, err := srv.State(ctx)
	if err != nil {
		return nil, fmt.Errorf("containers: %s: %w", srv.name, srv.gone(err))
	}
	if !state.Running {
		return nil, fmt.Errorf("containers: %s: %w\nthe end of the server's log:\n%s", srv.name, exitError(state), srv.docker.logTail(ctx, srv.GetContainerID(), logLines))
	}
	d := &loadtest.SMTP{Addr: srv.addr(srv.dialPort()), Security: srv.security}
	if srv.roots != nil {
		// The certificate is for "localhost" whatever the address is.
		d.TLSConfig = &tls.Config{RootCAs: srv.RootCAs()}
		if srv.certFile != "" {
			d.TLSConfig.ServerName = "localhost"
		}
	}
	return d, nil
}

// MustDialer is Dialer for tests: an error ends the test.
func (srv *Server) MustDialer(tb testing.TB) *loadtest.SMTP {
	tb.Helper()
	d, err := srv.Dialer(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// stopTime is for a server to end after SIGTERM. It has nothing to save but
// perhaps coverage data, and one that runs as process 1 without a handler
// ignores the signal.
const stopTime = 2 * time.Second

// Terminate stops the container and removes it, and the image if it was made
// for it. It may be called again; options are testcontainers'. The server has
// two seconds to stop, unless testcontainers.StopTimeout says otherwise.
func (srv *Server) Terminate(ctx context.Context, opts ...testcontainers.TerminateOption) error {
	if srv == nil {
		return nil
	}
	srv.mu.Lock()
	over := srv.terminated
	srv.mu.Unlock()
	if over {
		return nil
	}
	err := srv.removeContainer(ctx, stopTime, opts...)
	if srv.removeImage != "" {
		_, imageErr := srv.docker.api.ImageRemove(ctx, srv.removeImage, client.ImageRemoveOptions{Force: true, PruneChildren: true})
		if imageErr != nil && !errdefs.IsNotFound(imageErr) {
			err = errors.Join(err, imageErr)
		}
	}
	srv.docker.close()
	if err != nil {
		return fmt.Errorf("containers: %s: removing it: %w", srv.name, err)
	}
	srv.mu.Lock()
	srv.terminated = true
	srv.mu.Unlock()
	return nil
}

// removeContainer removes the container, if there is one.
func (srv *Server) removeContainer(ctx context.Context, stop time.Duration, opts ...testcontainers.TerminateOption) error {
	var err error
	if srv.Container != nil {
		// Some versions of Docker do not remove a container that is paused.
		if state, err := srv.State(ctx); err == nil && state.Paused {
			_, _ = srv.docker.api.ContainerUnpause(ctx, srv.GetContainerID(), client.ContainerUnpauseOptions{})
		}
		opts = append([]testcontainers.TerminateOption{testcontainers.StopTimeout(stop)}, opts...)
		if err = srv.Container.Terminate(ctx, opts...); isGone(err) {
			err = nil
		}
	}
	return errors.Join(err, srv.sweep(ctx))
}

// isGone reports whether err says that there is no such container (any more).
func isGone(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsConflict(err) && strings.Contains(err.Error(), "already in progress")
}

func (srv *Server) gone(err error) error {
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: the container has been removed", ErrExited)
	}
	return err
}

// output returns what a command prints in the container.
func (srv *Server) output(ctx context.Context, command []string) (string, error) {
	code, r, err := srv.Exec(ctx, command, tcexec.Multiplexed())
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(out))
	if code != 0 {
		return "", fmt.Errorf("%s: exit status %d: %s", strings.Join(command, " "), code, text)
	}
	return text, nil
}
