package gate_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/containers"
	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/loadtest/gate"
	"github.com/benchmail/benchmail/smtptest"
)

// A server of your own repository in a container of its own, which it needs for
// the metric that finds most: server-cpu-ns/op. In your repository the base is
//
//	head.AtRevision(gate.MergeBase(t, "origin/main"))
//
// Here it is the same program with another configuration.
func TestContainerNotSlower(t *testing.T) {
	base, head := server("-burn", "220"), server("-burn", "200")
	containers.AB(t, base, head, deliver, containerPolicy)
}

func server(args ...string) containers.Source {
	return containers.Binary("../container/testdata/gosmtp", containers.WithHostNetwork(),
		containers.WithCertificate("/tls/cert.pem", "/tls/key.pem"),
		containers.WithListen(func(l containers.Listen) testcontainers.ContainerCustomizer {
			return testcontainers.WithCmd(append([]string{"-listen", l.Addr}, args...)...)
		}))
}

func deliver(b *testing.B, srv *containers.Server) {
	smtptest.Benchmark(b, srv.MustDialer(b), loadtest.Config{Sessions: 4, Meter: srv})
}

var containerPolicy = gate.Policy{
	Metrics: []gate.Metric{
		{Unit: "server-cpu-ns/op", MinEffect: 0.25},
		{Unit: "errors/op", Exact: true},
	},
	Ops:    100,
	Budget: 30 * time.Second,
}

// TestSlowerCommit has a repository in which somebody has made the server slower:
// the working tree against the commit before.
func TestSlowerCommit(t *testing.T) {
	r := newRepository(t)
	r.commit("version.go", "package main\n\nconst version, burn = \"fast\", 500\n")
	r.commit("version.go", "package main\n\nconst version, burn = \"slow\", 1500\n")
	t.Chdir(r.dir)
	head := containers.Binary(".", containers.WithHostNetwork(), containers.WithSecurity(loadtest.Plaintext),
		containers.WithListen(func(l containers.Listen) testcontainers.ContainerCustomizer {
			return testcontainers.WithCmd("-listen", l.Addr)
		}))
	rec := newRecorder(t)
	rep := containers.AB(rec, head.AtRevision("HEAD~1"), head, deliver, containerPolicy)
	checkWorse(t, rec, rep, "server-cpu-sec/op")
}

// A repository is one with a mail server of the standard library only, so that
// nothing has to be downloaded to build it.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED, git IS MISSING")
	}
	program, err := os.ReadFile("../../containers/testdata/minimal/main.go")
	require.NoError(t, err)
	r := &repository{t, t.TempDir()}
	r.git("init", "--quiet")
	r.commit("go.mod", "module example.org/mail\n\ngo 1.26\n")
	r.commit("main.go", string(program))
	return r
}

func (r *repository) git(args ...string) {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.hooksPath=" + os.DevNull}, args...)...)
	cmd.Dir = r.dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") { // as in a hook of ours
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "git %v: %s", args, out)
}

func (r *repository) commit(file, text string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(filepath.Join(r.dir, file), []byte(text), 0o644))
	r.git("add", "-A")
	r.git("commit", "--quiet", "-m", file)
}

// Where this runs in a container itself, testcontainers would take the gateway
// for Docker's host: load is for loopback addresses.
func TestMain(m *testing.M) {
	if os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" && os.Getenv("DOCKER_HOST") == "" {
		os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
	m.Run()
}
