package containers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// docker is the Docker that testcontainers-go found.
type docker struct {
	provider *testcontainers.DockerProvider
	api      client.APIClient
	// host is where published ports are. Where it is a loopback address Docker
	// may still run in a virtual machine.
	host     string
	loopback bool
}

// dialDocker finds Docker and asks it whether it answers.
func dialDocker(ctx context.Context, logger log.Logger) (d *docker, err error) {
	// testcontainers panics in places where there is no Docker.
	defer func() {
		if r := recover(); r != nil {
			d, err = nil, fmt.Errorf("no Docker: %v", r)
		}
	}()
	if err := pingEnv(ctx); err != nil {
		return nil, err
	}
	// Not NewDockerProvider: that one knows no default network, and makes one
	// when it is asked for the host.
	generic, err := testcontainers.ProviderDefault.GetProvider(testcontainers.WithLogger(logger))
	if err != nil {
		return nil, fmt.Errorf("no Docker: %w", err)
	}
	provider, ok := generic.(*testcontainers.DockerProvider)
	if !ok {
		return nil, fmt.Errorf("testcontainers has found a %T and no Docker", generic)
	}
	d = &docker{provider: provider, api: provider.Client()}
	if _, err := d.api.Ping(ctx, client.PingOptions{}); err != nil {
		d.close()
		return nil, fmt.Errorf("the Docker daemon refuses: %w", err)
	}
	if d.host, err = provider.DaemonHost(ctx); err != nil {
		d.close()
		return nil, fmt.Errorf("where does Docker publish ports? Set TESTCONTAINERS_HOST_OVERRIDE: %w", err)
	}
	ip, err := netip.ParseAddr(d.host)
	if d.host == "localhost" || err == nil && ip.IsLoopback() {
		// "localhost" may be ::1 first, where somebody else listens.
		d.loopback, d.host = true, "127.0.0.1"
	}
	return d, nil
}

// pingEnv checks the Docker that DOCKER_HOST names. testcontainers passes over
// one that does not answer, and takes whichever other it finds: not what
// somebody means who sets DOCKER_HOST.
func pingEnv(ctx context.Context) error {
	host := os.Getenv(client.EnvOverrideHost)
	if host == "" {
		return nil
	}
	api, err := client.New(client.FromEnv)
	if err != nil {
		return fmt.Errorf("DOCKER_HOST=%s: %w", host, err)
	}
	defer api.Close()
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return fmt.Errorf("no Docker at DOCKER_HOST=%s: %w", host, err)
	}
	return nil
}

func (d *docker) close() { _ = d.api.Close() } // idle connections; there is nothing to lose

// portIsFree reports whether a server could listen at 127.0.0.1:port.
func portIsFree(port int) bool {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return false
	}
	l.Close()
	return true
}
