package containers_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/containers"
)

// TestMain checks that no test has left anything behind: "docker ps -a" and
// "docker network ls" are as they were.
func TestMain(m *testing.M) {
	// Load goes to loopback addresses only. Where testcontainers believes to be
	// in a container itself, it would take the gateway for Docker's host.
	if os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" && os.Getenv("DOCKER_HOST") == "" {
		os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
	before := networks()
	code := m.Run()
	if left := leftBehind(); len(left) > 0 {
		fmt.Printf("containers left behind: %q\n", left)
		code = 1
	}
	if after := networks(); !slices.Equal(before, after) {
		fmt.Printf("networks before: %q\nafter: %q\n", before, after)
		code = 1
	}
	os.Exit(code)
}

var api = sync.OnceValues(func() (c *testcontainers.DockerClient, err error) {
	defer func() { // testcontainers' way to say that there is no Docker
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return testcontainers.NewDockerClientWithOpts(context.Background())
})

func networks() []string {
	c, err := api()
	if err != nil {
		return nil
	}
	list, err := c.NetworkList(context.Background(), client.NetworkListOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name+" "+n.ID)
	}
	slices.Sort(names)
	return names
}

// leftBehind returns the containers that this process has made and that are
// still there, running or not. Other packages' tests may be running.
func leftBehind() []string {
	c, err := api()
	if err != nil {
		return nil
	}
	list, err := c.ContainerList(context.Background(), client.ContainerListOptions{
		All:     true,
		Filters: make(client.Filters).Add("label", containers.ProcessLabel),
	})
	if err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, item := range list.Items {
		names = append(names, item.Image+" "+item.ID+" "+item.Status)
	}
	return names
}

// needDocker is for tests that do not begin with a Start function.
func needDocker(t *testing.T) *testcontainers.DockerClient {
	t.Helper()
	c, err := api()
	if err == nil {
		_, err = c.Ping(t.Context(), client.PingOptions{})
	}
	if err != nil && os.Getenv("BENCHMAIL_REQUIRE_DOCKER") != "1" {
		t.Skipf("SKIPPED, DOCKER IS MISSING: %v", err)
	}
	require.NoError(t, err)
	return c
}

// server has the options of the server in testdata.
func server(args ...string) []testcontainers.ContainerCustomizer {
	return []testcontainers.ContainerCustomizer{
		containers.WithPort(2525),
		containers.WithCertificate("/cert.pem", "/key.pem"),
		containers.WithListen(func(l containers.Listen) testcontainers.ContainerCustomizer {
			cmd := []string{"-listen", l.Addr, "-cert", "/cert.pem", "-key", "/key.pem"}
			if l.ImplicitTLSAddr != "" {
				cmd = append(cmd, "-listen-tls", l.ImplicitTLSAddr)
			}
			return testcontainers.WithCmd(append(cmd, args...)...)
		}),
	}
}

const serverPkg = "./testdata/server"

// accepted returns how many messages the server in testdata has accepted in its
// life. The container need not be running.
func accepted(t *testing.T, srv *containers.Server) int64 {
	t.Helper()
	r, err := srv.CopyFileFromContainer(t.Context(), "/count")
	require.NoError(t, err)
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	require.NoError(t, err)
	return n
}
