package containers_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/containers"
	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/loadtest/gate"
	"github.com/benchmail/benchmail/smtptest"
)

// abTB is a test whose AB may fail.
type abTB struct{ *fakeTB }

func (abTB) Name() string                         { return "TestNotSlower" }
func (tb abTB) Log(args ...any)                   { tb.Logf("%s", fmt.Sprint(args...)) }
func (tb abTB) Errorf(format string, args ...any) { tb.Error(fmt.Sprintf(format, args...)) }
func (f *fakeTB) runAB(t *testing.T, test func(tb abTB)) {
	f.run(t, func(testing.TB) { test(abTB{f}) })
}

// short is a policy for tests of everything but the statistics. A difference
// that it does not tolerate is one of counts.
var short = gate.Policy{
	Metrics: []gate.Metric{{Unit: "ns/op", MinEffect: 9}, {Unit: "errors/op", Exact: true}},
	Ops:     20,
	Budget:  time.Minute,
}

// visits is a bench that takes note of where it was.
type visits struct {
	servers map[string]*containers.Server // by the container's ID
	calls   int
}

func (v *visits) bench(b *testing.B, srv *containers.Server) {
	if v.servers == nil {
		v.servers = make(map[string]*containers.Server)
	}
	v.servers[srv.GetContainerID()] = srv
	v.calls++
	smtptest.Benchmark(b, srv.MustDialer(b), loadtest.Config{Sessions: 2, Meter: srv})
}

// greetings returns what the servers have greeted with, and in how many cases.
func (v *visits) greetings() map[string]int {
	seen := make(map[string]int)
	for _, srv := range v.servers {
		words := strings.Fields(srv.Greeting())
		seen[words[len(words)-1]]++
	}
	return seen
}

func (v *visits) images() map[string]int {
	seen := make(map[string]int)
	for _, srv := range v.servers {
		seen[srv.Image()]++
	}
	return seen
}

func TestAB(t *testing.T) {
	needDocker(t)
	sink, sinkSource := sinkImage(t)
	versions(t, "first", "second")
	quick := containers.Binary("./server", minimal(containers.WithHostNetwork())...)
	dockerfile := containers.Dockerfile("ignored", containers.WithSecurity(loadtest.Plaintext),
		containers.WithBuild(func(df *testcontainers.FromDockerfile) { df.Context = "image" }))
	for _, tt := range []struct {
		name       string
		base, head containers.Source
		want       map[string]int // greetings
		proxied    bool
		why        string
	}{
		{"program at a revision and as it is", quick.AtRevision("first"), quick, map[string]int{"first": 2, "second": 1}, false, "what a pull request does"},
		{"Dockerfile at a revision", dockerfile.AtRevision("first"), dockerfile, map[string]int{"first": 2, "second": 1}, true, "WithBuild says where, relative to the revision's folder"},
		{"images", sinkSource, sinkSource, map[string]int{"ESMTP": 3}, true, "nothing is built"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f fakeTB
			var v visits
			var rep *gate.Report
			f.runAB(t, func(tb abTB) { rep = containers.AB(tb, tt.base, tt.head, v.bench, short) })
			assert.Empty(t, f.fatal, tt.why)
			if assert.NotNil(t, rep) {
				assert.NoError(t, rep.Err())
			}
			assert.Equal(t, tt.want, v.greetings(), tt.why)
			assert.Greater(t, v.calls, 20)
			if tt.name == "images" {
				assert.Equal(t, map[string]int{sink: 3}, v.images())
			} else {
				assert.Len(t, v.images(), 2, "the base is built once for both")
			}
			assert.Equal(t, tt.proxied, strings.Contains(f.logged.String(), "WithHostNetwork"), "%s", &f.logged)
			assert.NotContains(t, f.logged.String(), "end of the server's log")
			c := needDocker(t)
			for img := range v.images() {
				_, err := c.ImageInspect(t.Context(), img)
				assert.Equal(t, img == sink, err == nil, "image %s: %v", img, err)
			}
			for id := range v.servers {
				_, err := c.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
				assert.Error(t, err, "the container is left")
			}
		})
	}
}

// sinkImage is a source that has been built already, and its image.
func sinkImage(t *testing.T, opts ...testcontainers.ContainerCustomizer) (string, containers.Source) {
	t.Helper()
	srv := containers.StartSMTPSink(t)
	require.NoError(t, srv.Terminate(t.Context()), "its image stays")
	img := srv.Image()
	return img, containers.Image(img, append(opts, containers.WithPort(2525), containers.WithSecurity(loadtest.Plaintext))...)
}

// TestABFiles: an io.Reader can be read once, and there are three containers.
func TestABFiles(t *testing.T) {
	needDocker(t)
	_, src := sinkImage(t, testcontainers.WithFiles(testcontainers.ContainerFile{Reader: strings.NewReader("content"), ContainerFilePath: "/file", FileMode: 0o600}))
	containers.AB(t, src, src, func(b *testing.B, srv *containers.Server) {
		r, err := srv.CopyFileFromContainer(b.Context(), "/file")
		require.NoError(b, err)
		defer r.Close()
		text, err := io.ReadAll(r)
		require.NoError(b, err)
		require.Equal(b, "content", string(text))
		for b.Loop() {
			b.ReportMetric(1, "things/op")
		}
	}, gate.Policy{Metrics: []gate.Metric{{Unit: "things/op", Better: gate.Lower, Exact: true}}, Ops: 1})
}

func TestABFails(t *testing.T) {
	needDocker(t)
	own := containers.Binary(serverPkg, server()...)
	_, sink := sinkImage(t)
	leaving := containers.Binary(serverPkg, server("-mode", "leave")...)
	exiting := containers.Binary(serverPkg, server("-mode", "exit")...)
	testdata, err := filepath.Abs("testdata")
	require.NoError(t, err)
	var v visits
	refuse := func(b *testing.B, srv *containers.Server) {
		if v.servers[srv.GetContainerID()] == nil { // not before each has had its warm-up
			v.bench(b, srv)
			return
		}
		b.Fatal("this bench does not like the server")
	}
	for _, tt := range []struct {
		name       string
		base, head containers.Source
		bench      func(*testing.B, *containers.Server)
		says       []string // in the failure, and
		logs       []string // in the log
		why        string
	}{
		{"zero base", containers.Source{}, own, v.bench, []string{"AB: base:", "Image, Dockerfile or Binary"}, nil, "how to make one"},
		{"zero head", own, containers.Source{}, v.bench, []string{"AB: head:", "Image, Dockerfile or Binary"}, nil, "how to make one"},
		{"no bench", own, own, nil, []string{"bench is nil"}, nil, "what it is for"},
		{"image at a revision", containers.Image("debian:bookworm-slim").AtRevision("HEAD"), own, v.bench,
			[]string{"AB: base:", `AtRevision("HEAD")`, "tag"}, nil, "git has no images"},
		{"absolute folder at a revision", own, containers.Dockerfile(testdata).AtRevision("HEAD"), v.bench,
			[]string{"AB: head:", testdata, "relative"}, nil, "it would be the head's"},
		{"no revision", own.AtRevision(""), own, v.bench, []string{"AB: base:", "a revision is needed"}, nil, "a variable that is not set in CI"},
		{"unknown revision", own.AtRevision("no-such"), own, v.bench, []string{"AB: base:", `"no-such"`, "no such revision"}, nil, "gate says what to do"},
		{"head cannot be started", sink, exiting, v.bench,
			[]string{"head (Go program ./testdata/server)", "exit status 1", "this server has no configuration"}, nil, "with its log"},
		{"head ends at the first message", sink, leaving, v.bench, []string{"head"},
			[]string{"head (Go program ./testdata/server): the server is not running", "the end of the server's log", "leaving"}, "dies half-way"},
		{"bench fails", sink, sink, refuse, []string{"base", "this bench does not like the server"}, []string{"base (image benchmail/smtp-sink", "the end of the server's log"}, "its log may say why"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f fakeTB
			v = visits{}
			bench := tt.bench
			f.runAB(t, func(tb abTB) { containers.AB(tb, tt.base, tt.head, bench, short) })
			for _, s := range tt.says {
				assert.Contains(t, f.fatal, s, tt.why)
			}
			for _, s := range tt.logs {
				assert.Contains(t, f.logged.String(), s, tt.why)
			}
			assert.LessOrEqual(t, strings.Count(f.logged.String(), "the end of the server's log"), 1, "of those that are well, none")
			assert.Empty(t, leftBehind())
		})
	}
}

func TestABAtRevisionFails(t *testing.T) {
	needDocker(t)
	versions(t, "broken", "first")
	head := containers.Binary("./server", minimal()...)
	archive := containers.Dockerfile("image", containers.WithBuild(func(df *testcontainers.FromDockerfile) { df.ContextArchive = strings.NewReader("") }))
	absolute := containers.Dockerfile("image", containers.WithBuild(func(df *testcontainers.FromDockerfile) { df.Context = "/" }))
	for _, tt := range []struct {
		name   string
		base   containers.Source
		gowork string
		says   []string
		why    string
	}{
		{"it does not build", head.AtRevision("broken"), "", []string{"base (Go program ./server at revision broken)", "undeclaredName"}, "what the compiler says"},
		{"no such package then", containers.Binary("./new").AtRevision("first"), "", []string{"base (Go program ./new at revision first)", "new"}, "what go says"},
		{"no Dockerfile then", containers.Dockerfile("new").AtRevision("first"), "", []string{"base (Dockerfile in new at revision first)", "no such file"}, "the head may have it"},
		{"build context from elsewhere", archive.AtRevision("first"), "", []string{"base (", "WithBuild"}, "it would be the head's"},
		{"absolute build context", absolute.AtRevision("first"), "", []string{"base (", "WithBuild"}, "it would be the head's"},
		{"workspace of the head", containers.Binary("example.org/mail/mail/server").AtRevision("first"), "go.work", []string{"base (", "GOWORK=", "unset"}, "the head would be built twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.gowork != "" {
				file, err := filepath.Abs(tt.gowork)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(file, []byte("go 1.26\n\nuse ..\n"), 0o644))
				t.Setenv("GOWORK", file)
			}
			var f fakeTB
			f.runAB(t, func(tb abTB) { containers.AB(tb, tt.base, head, new(visits).bench, short) })
			for _, s := range tt.says {
				assert.Contains(t, f.fatal, s, tt.why)
			}
			assert.Empty(t, leftBehind())
		})
	}
}

func TestABWithoutDocker(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///no/docker.sock")
	ab := func(tb abTB) {
		containers.AB(tb, containers.Binary("x"), containers.Binary("x"), new(visits).bench, short)
	}
	t.Setenv("BENCHMAIL_REQUIRE_DOCKER", "")
	var f fakeTB
	f.runAB(t, ab)
	assert.Contains(t, f.skipped, "SKIPPED, DOCKER IS MISSING")
	assert.False(t, f.failed)
	t.Setenv("BENCHMAIL_REQUIRE_DOCKER", "1")
	f = fakeTB{}
	f.runAB(t, ab)
	assert.Contains(t, f.fatal, "BENCHMAIL_REQUIRE_DOCKER=1")
	assert.Empty(t, f.skipped)
}
