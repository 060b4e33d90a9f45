package containers_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"

	"github.com/benchmail/benchmail/containers"
)

// fakeTB is a test that can end in any way.
type fakeTB struct {
	testing.TB
	ctx context.Context

	mu      sync.Mutex // guards the rest
	failed  bool
	skipped string
	fatal   string
	logged  strings.Builder
	cleanup []func()
}

func (f *fakeTB) Helper()                  {}
func (f *fakeTB) Context() context.Context { return f.ctx }
func (f *fakeTB) Failed() bool             { f.mu.Lock(); defer f.mu.Unlock(); return f.failed }
func (f *fakeTB) Cleanup(fn func())        { f.cleanup = append(f.cleanup, fn) }

func (f *fakeTB) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(&f.logged, format+"\n", args...)
}

func (f *fakeTB) Error(args ...any) { f.fail(fmt.Sprint(args...)) }

func (f *fakeTB) Fatal(args ...any) {
	f.fail(fmt.Sprint(args...))
	runtime.Goexit()
}

func (f *fakeTB) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

func (f *fakeTB) Skipf(format string, args ...any) {
	f.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) fail(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = true
	f.fatal += text
}

// run runs a test, and then its Cleanup functions.
func (f *fakeTB) run(t *testing.T, test func(testing.TB)) {
	var cancel context.CancelFunc
	f.ctx, cancel = context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	cancel() // as the testing package does before Cleanup
	for i := len(f.cleanup) - 1; i >= 0; i-- {
		f.cleanup[i]()
	}
}

func TestStartWithoutDocker(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"you are not in the group docker"}`, http.StatusForbidden)
	}))
	defer refusing.Close()
	for _, tt := range []struct {
		name, host, says string
	}{
		{"none", "unix:///no/docker.sock", "/no/docker.sock"},
		{"it refuses", strings.Replace(refusing.URL, "http", "tcp", 1), "not in the group docker"},
		{"no address", "nonsense", "nonsense"},
	} {
		starts := map[string]func(testing.TB){
			"Start":           func(tb testing.TB) { containers.Start(tb, "x") },
			"StartDockerfile": func(tb testing.TB) { containers.StartDockerfile(tb, "x") },
			"StartBinary":     func(tb testing.TB) { containers.StartBinary(tb, "x") },
			"StartSMTPSink":   func(tb testing.TB) { containers.StartSMTPSink(tb) },
			"StartPostfix":    func(tb testing.TB) { containers.StartPostfix(tb) },
		}
		for name, start := range starts {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				t.Setenv("DOCKER_HOST", tt.host)
				t.Setenv("BENCHMAIL_REQUIRE_DOCKER", "")
				var f fakeTB
				f.run(t, start)
				assert.False(t, f.failed)
				assert.Contains(t, f.skipped, "SKIPPED, DOCKER IS MISSING")
				assert.Contains(t, f.skipped, tt.says)

				t.Setenv("BENCHMAIL_REQUIRE_DOCKER", "1")
				f = fakeTB{}
				f.run(t, start)
				assert.True(t, f.failed)
				assert.Empty(t, f.skipped)
				assert.Contains(t, f.fatal, "BENCHMAIL_REQUIRE_DOCKER=1")
				assert.Contains(t, f.fatal, tt.says)
			})
		}
		t.Run(tt.name+"/Run", func(t *testing.T) {
			t.Setenv("DOCKER_HOST", tt.host)
			_, err := containers.Run(t.Context(), "image:v1")
			require.ErrorContains(t, err, tt.says)
			require.ErrorContains(t, err, "image:v1")
		})
	}
}

// TestStartFails: half-way, the container is there already.
func TestStartFails(t *testing.T) {
	needDocker(t)
	var f fakeTB
	f.run(t, func(tb testing.TB) {
		containers.StartBinary(tb, serverPkg, append(server("-mode", "silent"), containers.WithStartTimeout(2*time.Second))...)
		t.Error("the test goes on")
	})
	assert.Contains(t, f.fatal, "no SMTP greeting")
	assert.Contains(t, f.fatal, `starting in mode "silent"`, "the server's log")
	assert.Empty(t, leftBehind())
}

// TestFailedTest shows the server's log, one that has passed does not.
func TestFailedTest(t *testing.T) {
	needDocker(t)
	for _, failed := range []bool{false, true} {
		var f fakeTB
		var srv *containers.Server
		f.run(t, func(tb testing.TB) {
			srv = containers.StartBinary(tb, serverPkg, server()...)
			if failed {
				tb.Error("something else")
			}
		})
		assert.Equal(t, failed, strings.Contains(f.logged.String(), `starting in mode ""`))
		assert.Equal(t, failed, f.fatal != "", f.fatal)
		assert.NotNil(t, srv)
		assert.Empty(t, leftBehind())
	}
}

// TestTerminatedInTest: a test may end its server itself.
func TestTerminatedInTest(t *testing.T) {
	t.Parallel()
	needDocker(t)
	var f fakeTB
	f.run(t, func(tb testing.TB) {
		srv := containers.StartSMTPSink(tb)
		testcontainers.CleanupContainer(tb, srv)
		var inner fakeTB
		inner.run(t, func(tb testing.TB) {
			assert.NoError(t, srv.Kill(tb.Context()))
			srv.MustDialer(tb)
			t.Error("the test goes on")
		})
		assert.Contains(t, inner.fatal, "SIGKILL")
		if err := srv.Terminate(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	})
	assert.False(t, f.failed, f.fatal)
}

// TestBenchmarkLogs: what testcontainers says is for benchmarks that failed, and
// never on stderr.
func TestBenchmarkLogs(t *testing.T) {
	needDocker(t)
	log.Printf("this goes nowhere: it would be in the middle of a result line")
	res := testing.Benchmark(func(b *testing.B) {
		containers.StartSMTPSink(b)
		for b.Loop() {
		}
	})
	assert.Positive(t, res.N)
}
