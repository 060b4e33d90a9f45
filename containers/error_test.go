package containers_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/containers"
)

func TestBadInput(t *testing.T) {
	needDocker(t)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	takenPort := taken.Addr().(*net.TCPAddr).Port
	short := containers.WithStartTimeout(3 * time.Second)
	program := func(args ...string) func(context.Context) (*containers.Server, error) {
		return func(ctx context.Context) (*containers.Server, error) {
			return containers.RunBinary(ctx, serverPkg, append(server(args...), short)...)
		}
	}
	sink := func(opts ...testcontainers.ContainerCustomizer) func(context.Context) (*containers.Server, error) {
		return func(ctx context.Context) (*containers.Server, error) { return containers.RunSMTPSink(ctx, opts...) }
	}
	dockerfile := func(dir string) func(context.Context) (*containers.Server, error) {
		return func(ctx context.Context) (*containers.Server, error) { return containers.RunDockerfile(ctx, dir) }
	}
	binary := func(pkg string) func(context.Context) (*containers.Server, error) {
		return func(ctx context.Context) (*containers.Server, error) { return containers.RunBinary(ctx, pkg) }
	}
	empty := t.TempDir()
	tests := []struct {
		name string
		run  func(context.Context) (*containers.Server, error)
		is   error
		says []string
		why  string
	}{
		{"no such image", func(ctx context.Context) (*containers.Server, error) {
			return containers.Run(ctx, "localhost:1/no/such-image:v1")
		}, nil, []string{"localhost:1/no/such-image:v1"}, "it is named"},
		{"no name of an image", func(ctx context.Context) (*containers.Server, error) { return containers.Run(ctx, "UPPER CASE") },
			nil, []string{"UPPER CASE"}, "it is named"},
		{"exits at once", program("-mode", "exit"), containers.ErrExited,
			[]string{"./testdata/server", "exit status 1", "this server has no configuration"}, "status and log"},
		{"never greets", program("-mode", "silent"), nil,
			[]string{"no SMTP greeting on port 2525", "within 3s", `starting in mode "silent"`}, "the limit and the log"},
		{"greets with 554", program("-mode", "refuse"), nil, []string{`554 "No mail today"`}, "what it said"},
		{"no program in the image", func(ctx context.Context) (*containers.Server, error) {
			return containers.Run(ctx, "debian:bookworm-slim", testcontainers.WithCmd("/no/such/program"))
		}, nil, []string{"debian:bookworm-slim", "/no/such/program"}, "Docker cannot start it"},
		{"Dockerfile cannot be built", dockerfile("testdata/badfile"), nil,
			[]string{"testdata/badfile", "this is what went wrong", "non-zero code: 3"}, "the build's output"},
		{"no Dockerfile", dockerfile(empty), os.ErrNotExist, []string{empty}, "which folder"},
		{"no folder", dockerfile(filepath.Join(empty, "none")), os.ErrNotExist, []string{"none"}, "which folder"},
		{"program does not compile", binary("./testdata/broken"), nil, []string{"./testdata/broken", "undeclaredName"}, "what the compiler says"},
		{"no program", binary("./testdata/library"), nil, []string{`package "library"`, "main"}, "go build would make an archive"},
		{"no package", binary("./testdata/none"), nil, []string{"./testdata/none"}, "what go says"},
		{"port taken", sink(testcontainers.WithHostConfigModifier(func(c *container.HostConfig) {
			c.PortBindings = network.PortMap{network.MustParsePort("2525/tcp"): {{HostPort: strconv.Itoa(takenPort)}}}
		})), nil, []string{"smtp-sink", strconv.Itoa(takenPort), "already"}, "a port that the user has chosen"},
		{"too little memory", sink(containers.WithMemory(1)), nil, []string{"smtp-sink", "memory"}, "Docker's minimum"},
		{"flag", sink(containers.WithSink(containers.SinkConfig{Timeout: time.Millisecond})), nil, []string{"smtp-sink", "whole seconds"}, "before anything is started"},
		{"flag that smtp-sink refuses", sink(containers.WithSink(containers.SinkConfig{HardReject: []string{"NONSENSE"}})), containers.ErrExited,
			[]string{"NONSENSE"}, "its own words are in the log"},
		{"option of another", func(ctx context.Context) (*containers.Server, error) {
			return containers.Run(ctx, "x", containers.WithSink(containers.SinkConfig{}))
		}, nil, []string{"WithSink is for RunSMTPSink"}, "it would have no effect"},
		{"parameter with a line break", func(ctx context.Context) (*containers.Server, error) {
			return containers.RunPostfix(ctx, containers.WithPostfixConfig(map[string]string{"a": "b\nc = d"}))
		}, nil, []string{"WithPostfixConfig"}, "it would be two lines"},
		{"host's network, and where to listen is not said", func(ctx context.Context) (*containers.Server, error) {
			return containers.Run(ctx, "x", containers.WithHostNetwork())
		}, nil, []string{"WithListen"}, "what to do"},
		{"port", sink(containers.WithPort(70000)), nil, []string{"70000"}, "none"},
		{"CPUs", sink(containers.WithCPUs(-1)), nil, []string{"WithCPUs(-1)"}, "none"},
		{"relative path", sink(containers.WithCertificate("cert.pem", "/key.pem")), nil, []string{"absolute"}, "relative to what?"},
		{"root that is not there", sink(containers.WithRootFile("/no/root.pem")), nil, []string{"/no/root.pem"}, "the path"},
		{"root that is none", sink(containers.WithRootFile("/etc/passwd")), nil, []string{"/etc/passwd", "no certificate"}, "the path"},
		{"user's option fails", sink(testcontainers.WithName("")), nil, []string{"smtp-sink", "name must be provided"}, "in testcontainers"},
	}
	t.Run("all", func(t *testing.T) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				srv, err := tt.run(t.Context())
				testcontainers.CleanupContainer(t, srv)
				require.Error(t, err, tt.why)
				assert.Nil(t, srv)
				var failure *containers.StartError
				require.ErrorAs(t, err, &failure)
				if tt.is != nil {
					require.ErrorIs(t, err, tt.is)
				}
				for _, s := range tt.says {
					assert.ErrorContains(t, err, s, tt.why)
				}
			})
		}
	})
	assert.Empty(t, leftBehind())
}

// TestImportFails: Docker has said 200 by the time that something goes wrong, or
// says nothing any more.
func TestImportFails(t *testing.T) {
	for _, tt := range []struct {
		name, answer, says string
	}{
		{"no room", `{"status":"importing"}` + "\r\n" + `{"errorDetail":{"message":"no space left"},"error":"no space left"}` + "\r\n", "no space left"},
		{"cut off", `{"status":`, "unexpected EOF"},
		{"not Docker", "<html>", "invalid character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, tt.answer)
			}))
			defer srv.Close()
			_, err := containers.ImportProgram(t.Context(), strings.Replace(srv.URL, "http", "tcp", 1), []byte("program"))
			require.ErrorContains(t, err, tt.says)
		})
	}
}

// TestCacheLost: what a build wanted to go on from was removed, along with the
// image of another test. (Docker 20.10's own words.)
func TestCacheLost(t *testing.T) {
	lost := errors.New("build image: failed to get digest sha256:37c0b4f3: open /var/lib/docker/image/overlay2/imagedb/content/sha256/37c0b4f3: no such file or directory")
	other := errors.New("build image: The command '/bin/sh -c exit 3' returned a non-zero code: 3")
	for _, tt := range []struct {
		name    string
		errs    []error // one for each build
		noCache []bool
		want    error
	}{
		{"not lost", []error{nil}, []bool{false}, nil},
		{"lost", []error{lost, nil}, []bool{false, true}, nil},
		{"lost twice", []error{lost, lost}, []bool{false, true}, lost},
		{"another error", []error{other}, []bool{false}, other},
		{"another error then", []error{lost, other}, []bool{false, true}, other},
	} {
		t.Run(tt.name, func(t *testing.T) {
			df := testcontainers.FromDockerfile{
				ContextArchive:       strings.NewReader("archive"),
				BuildOptionsModifier: func(o *client.ImageBuildOptions) { o.PullParent = true },
			}
			var noCache []bool
			_, err := containers.AgainWithoutCache(df, func(df testcontainers.FromDockerfile) (string, error) {
				var o client.ImageBuildOptions
				df.BuildOptionsModifier(&o)
				assert.True(t, o.PullParent, "the user's option")
				text, err := io.ReadAll(df.ContextArchive)
				require.NoError(t, err)
				assert.Equal(t, "archive", string(text))
				noCache = append(noCache, o.NoCache)
				return "image", tt.errs[len(noCache)-1]
			})
			assert.Equal(t, tt.want, err)
			assert.Equal(t, tt.noCache, noCache)
		})
	}
}

// TestWrongPort: where the server listens can be seen from this machine, and is
// in the error.
func TestWrongPort(t *testing.T) {
	t.Parallel()
	img := containers.StartSMTPSink(t).Image()
	srv, err := containers.Run(t.Context(), img, containers.WithPort(26), containers.WithStartTimeout(2*time.Second))
	testcontainers.CleanupContainer(t, srv)
	require.ErrorContains(t, err, "no SMTP greeting on port 26")
	require.ErrorContains(t, err, "it listens on 2525")
}

// TestCancelled: an impatient user's container does not stay either.
func TestCancelled(t *testing.T) {
	needDocker(t)
	gaveUp := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	hook := testcontainers.WithAdditionalLifecycleHooks(testcontainers.ContainerLifecycleHooks{
		PostStarts: []testcontainers.ContainerHook{func(context.Context, testcontainers.Container) error {
			cancel(gaveUp)
			return nil
		}},
	})
	srv, err := containers.RunBinary(ctx, serverPkg, append(server("-mode", "silent"), hook)...)
	testcontainers.CleanupContainer(t, srv)
	require.ErrorIs(t, err, gaveUp)
	assert.Empty(t, leftBehind())
}

// TestPortTakenMeanwhile: somebody takes the port between its choice and its
// use. Another one is tried, with everything that the first had.
func TestPortTakenMeanwhile(t *testing.T) {
	t.Parallel()
	needDocker(t)
	tries := 0
	hook := testcontainers.WithAdditionalLifecycleHooks(testcontainers.ContainerLifecycleHooks{
		PreStarts: []testcontainers.ContainerHook{func(ctx context.Context, c testcontainers.Container) error {
			if tries++; tries > 1 {
				return nil
			}
			info, err := c.Inspect(ctx)
			require.NoError(t, err)
			port := info.HostConfig.PortBindings[network.MustParsePort("2525/tcp")][0].HostPort
			l, err := net.Listen("tcp4", "127.0.0.1:"+port)
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() })
			return nil
		}},
	})
	file := testcontainers.WithFiles(testcontainers.ContainerFile{Reader: strings.NewReader("content"), ContainerFilePath: "/file", FileMode: 0o600})
	srv := containers.StartBinary(t, serverPkg, append(server(), hook, file)...)
	assert.Equal(t, 2, tries)
	r, err := srv.CopyFileFromContainer(t.Context(), "/file")
	require.NoError(t, err)
	defer r.Close()
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Equal(t, "content", string(text), "a Reader can be read once only")
	_, err = srv.MustDialer(t).Dial(t.Context())
	require.NoError(t, err, "the certificate is there, too")
}
