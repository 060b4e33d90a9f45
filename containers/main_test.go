package containers_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/containers"
)

// TestMain checks that no test has left anything behind: as far as this process
// is concerned, "docker ps -a", "docker network ls" and "docker images" are as
// they were.
func TestMain(m *testing.M) {
	// Load goes to loopback addresses only. Where testcontainers believes to be
	// in a container itself, it would take the gateway for Docker's host.
	if os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" && os.Getenv("DOCKER_HOST") == "" {
		os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
	// These tests wait for Docker and for timeouts more than they compute: there
	// are as many at once as on a machine with more cores.
	const atOnce = 6
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0))))
	}
	code := m.Run()
	if left := leftBehind(); len(left) > 0 {
		fmt.Printf("left behind: %q\n", left)
		code = 1
	}
	os.Exit(code)
}

// api is not asked for before a test needs it, as some change DOCKER_HOST.
var api = sync.OnceValues(func() (client.APIClient, error) { return containers.DialDocker(context.Background()) })

// leftBehind returns the containers, images and networks that this process has
// made and that are still there. Other packages' tests may be running.
func leftBehind() []string {
	c, err := api()
	if err != nil {
		return nil // nothing could be made
	}
	ctx := context.Background()
	label := make(client.Filters).Add("label", containers.ProcessLabel)
	var left []string
	all, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: label})
	if err != nil {
		return []string{err.Error()}
	}
	for _, item := range all.Items {
		left = append(left, "container "+item.Image+" "+item.ID+" "+item.Status)
	}
	images, err := c.ImageList(ctx, client.ImageListOptions{Filters: label})
	if err != nil {
		return []string{err.Error()}
	}
	for _, item := range images.Items {
		left = append(left, fmt.Sprintf("image %v %s", item.RepoTags, item.ID))
	}
	// We make no networks, and testcontainers labels those that it makes.
	session := make(client.Filters).Add("label", "org.testcontainers.sessionId="+testcontainers.SessionID())
	networks, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: session})
	if err != nil {
		return []string{err.Error()}
	}
	for _, item := range networks.Items {
		left = append(left, "network "+item.Name+" "+item.ID)
	}
	return left
}

// needDocker is for tests that do not begin with a Start function.
func needDocker(t *testing.T) client.APIClient {
	t.Helper()
	containers.RequireDocker(t)
	c, err := api()
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
