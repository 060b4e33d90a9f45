package containers

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// Start is [Run] for tests and benchmarks. Without Docker it skips the test, or
// fails it if BENCHMAIL_REQUIRE_DOCKER=1 is in the environment. Any error fails
// the test at once. When the test ends the server is removed, after the end of
// its log was printed if the test has failed. testcontainers' own log goes to
// tb; for a benchmark only if it has failed.
func Start(tb testing.TB, img string, opts ...testcontainers.ContainerCustomizer) *Server {
	tb.Helper()
	return start(tb, opts, func(ctx context.Context, opts ...testcontainers.ContainerCustomizer) (*Server, error) {
		return Run(ctx, img, opts...)
	})
}

// StartDockerfile is to [RunDockerfile] what Start is to Run.
func StartDockerfile(tb testing.TB, dir string, opts ...testcontainers.ContainerCustomizer) *Server {
	tb.Helper()
	return start(tb, opts, func(ctx context.Context, opts ...testcontainers.ContainerCustomizer) (*Server, error) {
		return RunDockerfile(ctx, dir, opts...)
	})
}

// StartBinary is to [RunBinary] what Start is to Run.
func StartBinary(tb testing.TB, pkg string, opts ...testcontainers.ContainerCustomizer) *Server {
	tb.Helper()
	return start(tb, opts, func(ctx context.Context, opts ...testcontainers.ContainerCustomizer) (*Server, error) {
		return RunBinary(ctx, pkg, opts...)
	})
}

// StartSMTPSink is to [RunSMTPSink] what Start is to Run.
func StartSMTPSink(tb testing.TB, opts ...testcontainers.ContainerCustomizer) *Server {
	tb.Helper()
	return start(tb, opts, RunSMTPSink)
}

// StartPostfix is to [RunPostfix] what Start is to Run.
func StartPostfix(tb testing.TB, opts ...testcontainers.ContainerCustomizer) *Server {
	tb.Helper()
	return start(tb, opts, RunPostfix)
}

func start(tb testing.TB, opts []testcontainers.ContainerCustomizer, run func(context.Context, ...testcontainers.ContainerCustomizer) (*Server, error)) *Server {
	tb.Helper()
	requireDocker(tb)
	logger := newTBLog(tb)
	tb.Cleanup(logger.end) // after the server's, which was registered later
	srv, err := run(tb.Context(), append([]testcontainers.ContainerCustomizer{testcontainers.WithLogger(logger)}, opts...)...)
	if srv != nil {
		tb.Cleanup(func() { end(tb, srv) })
	}
	if err != nil {
		tb.Fatal(err)
	}
	return srv
}

// end is the last of a test's server.
func end(tb testing.TB, srv *Server) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	if tb.Failed() && srv.Container != nil {
		tb.Logf("containers: %s: the end of the server's log:\n%s", srv.name, srv.docker.logTail(ctx, srv.GetContainerID(), 2*logLines))
	}
	if err := srv.Terminate(ctx); err != nil {
		tb.Error(err)
	}
}

// dockerTime bounds the search for Docker. One that hangs is as good as none.
const dockerTime = 20 * time.Second

// requireDocker ends the test where there is no Docker.
func requireDocker(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), dockerTime)
	defer cancel()
	d, err := dialDocker(ctx, log.NewNoopLogger())
	if err == nil {
		d.close()
		return
	}
	if os.Getenv("BENCHMAIL_REQUIRE_DOCKER") == "1" {
		tb.Fatalf("containers: BENCHMAIL_REQUIRE_DOCKER=1, and there is no Docker to be used: %v", err)
	}
	tb.Skipf("SKIPPED, DOCKER IS MISSING: %v", err)
}
