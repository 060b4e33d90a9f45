package containers_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/containers"
	"github.com/benchmail/benchmail/loadtest"
)

func TestServers(t *testing.T) {
	t.Parallel()
	plain := containers.WithSecurity(loadtest.Plaintext)
	implicit := containers.WithSecurity(loadtest.ImplicitTLS)
	for _, tt := range []struct {
		name    string
		start   func(t *testing.T) *containers.Server
		version string
		why     string
	}{
		{"smtp-sink", func(t *testing.T) *containers.Server { return containers.StartSMTPSink(t) }, "3.", "it has no TLS, and the Dialer knows"},
		{"smtp-sink in the host's network", func(t *testing.T) *containers.Server {
			return containers.StartSMTPSink(t, containers.WithHostNetwork())
		}, "3.", "at another port"},
		{"Postfix, STARTTLS", func(t *testing.T) *containers.Server { return containers.StartPostfix(t) }, "3.", "the default"},
		{"Postfix, implicit TLS", func(t *testing.T) *containers.Server { return containers.StartPostfix(t, implicit) }, "3.", "the other port"},
		{"Postfix, plaintext", func(t *testing.T) *containers.Server { return containers.StartPostfix(t, plain) }, "3.", "TLS is offered, not required"},
		{"Postfix in the host's network", func(t *testing.T) *containers.Server {
			return containers.StartPostfix(t, containers.WithHostNetwork(), implicit)
		}, "3.", "both ports are moved"},
		{"Postfix, configured", func(t *testing.T) *containers.Server {
			return containers.StartPostfix(t, containers.WithPostfixConfig(map[string]string{"smtpd_banner": "$myhostname ESMTP hello"}))
		}, "3.", "parameters reach main.cf"},
		{"program", func(t *testing.T) *containers.Server { return containers.StartBinary(t, serverPkg, server()...) }, "", "built, copied and trusted"},
		{"program in the host's network", func(t *testing.T) *containers.Server {
			return containers.StartBinary(t, serverPkg, append(server(), containers.WithHostNetwork(), implicit, containers.WithImplicitTLSPort(2465))...)
		}, "", "WithListen says where"},
		{"program with a certificate of its own", func(t *testing.T) *containers.Server {
			return containers.StartBinary(t, serverPkg, containers.WithPort(2525), containers.WithRootFile("/own.pem"), testcontainers.WithCmd("-own-root", "/own.pem"))
		}, "", "the root is taken from the container"},
		{"Dockerfile", func(t *testing.T) *containers.Server {
			return containers.StartDockerfile(t, "testdata/dockerfile", plain)
		}, "", "the usual case for other languages"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := tt.start(t)
			d := srv.MustDialer(t)
			res, err := loadtest.Run(t.Context(), d, loadtest.Config{Sessions: 3, Ops: 60, OpsPerSession: 10})
			require.NoError(t, err, tt.why)
			assert.EqualValues(t, 60, res.Accepted, "%v %v", tt.why, res.Errors)
			assert.NotEmpty(t, srv.Greeting())
			assert.True(t, strings.HasPrefix(srv.Version(), tt.version), "version %q", srv.Version())
			if tt.name == "Postfix, configured" {
				assert.Equal(t, "postfix.test ESMTP hello", srv.Greeting())
			}
			onLoopbackOnly(t, d.Addr)
		})
	}
}

// onLoopbackOnly: a test's server is no business of the network's. Whoever can
// listen at an address is the only one there: nothing is sent to find out.
func onLoopbackOnly(t *testing.T, addr string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1", host)
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		ip := a.(*net.IPNet).IP
		if ip.IsLoopback() || ip.To4() == nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), port))
		if assert.NoError(t, err, "somebody listens at %s, port %s", ip, port) {
			l.Close()
		}
	}
}

// TestImageExists is Run with an image that Docker has.
func TestImageExists(t *testing.T) {
	t.Parallel()
	img := containers.StartSMTPSink(t).Image()
	srv := containers.Start(t, img, containers.WithPort(2525), containers.WithSecurity(loadtest.Plaintext))
	assert.Equal(t, img, srv.Image(), "built once and kept")
	res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Ops: 10})
	require.NoError(t, err)
	assert.EqualValues(t, 10, res.Accepted)
}

// TestPostfixDiscards what it has accepted, whoever it is for, and its queue is
// on a tmpfs.
func TestPostfixDiscards(t *testing.T) {
	t.Parallel()
	srv := containers.StartPostfix(t)
	info, err := srv.Inspect(t.Context())
	require.NoError(t, err)
	assert.Contains(t, info.HostConfig.Tmpfs, "/var/spool/postfix")
	const messages = 20
	res, err := loadtest.Run(t.Context(), srv.MustDialer(t), loadtest.Config{Sessions: 2, Ops: messages})
	require.NoError(t, err)
	require.EqualValues(t, messages, res.Accepted)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		r, err := srv.Logs(t.Context())
		if !assert.NoError(c, err) {
			return
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		assert.NoError(c, err)
		assert.Equal(c, messages, strings.Count(string(text), "status=sent"))
	}, 30*time.Second, 100*time.Millisecond)
}

// TestPostfixHasNoSASL: the default of Debian's package is off, and so it stays.
func TestPostfixHasNoSASL(t *testing.T) {
	t.Parallel()
	srv := containers.StartPostfix(t)
	c, err := smtp.Dial(srv.Addr())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.StartTLS(&tls.Config{RootCAs: srv.RootCAs(), ServerName: "127.0.0.1"}))
	ok, _ := c.Extension("PIPELINING")
	assert.True(t, ok, "it was asked")
	ok, _ = c.Extension("AUTH")
	assert.False(t, ok)
	var refused *textproto.Error
	require.ErrorAs(t, c.Auth(smtp.PlainAuth("", "user", "password", "127.0.0.1")), &refused)
	assert.Equal(t, 503, refused.Code)
}

func TestCertificateIsOfThisContainer(t *testing.T) {
	t.Parallel()
	a := containers.StartBinary(t, serverPkg, server()...)
	b := containers.StartBinary(t, serverPkg, server()...)
	d := a.MustDialer(t)
	d.Addr = b.Addr()
	_, err := d.Dial(t.Context())
	require.ErrorContains(t, err, "certificate")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	srv := containers.StartSMTPSink(t, containers.WithCPUs(0.5), containers.WithMemory(64<<20))
	info, err := srv.Inspect(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 500_000_000, info.HostConfig.NanoCPUs)
	assert.EqualValues(t, 64<<20, info.HostConfig.Memory)
	assert.EqualValues(t, 64<<20, info.HostConfig.MemorySwap, "no swap")
}

// TestUsersOptions: testcontainers' own options come last.
func TestUsersOptions(t *testing.T) {
	t.Parallel()
	srv := containers.StartBinary(t, serverPkg, append(server(),
		testcontainers.WithEnv(map[string]string{"KEY": "value"}),
		testcontainers.WithFiles(testcontainers.ContainerFile{Reader: strings.NewReader("content"), ContainerFilePath: "/etc/file", FileMode: 0o600}),
	)...)
	info, err := srv.Inspect(t.Context())
	require.NoError(t, err)
	assert.Contains(t, info.Config.Env, "KEY=value")
	r, err := srv.CopyFileFromContainer(t.Context(), "/etc/file")
	require.NoError(t, err)
	r.Close()
}

// TestTerminate: the image of a program goes with its container, and ending
// twice is no error.
func TestTerminate(t *testing.T) {
	t.Parallel()
	c := needDocker(t)
	srv, err := containers.RunBinary(t.Context(), serverPkg, server()...)
	require.NoError(t, err)
	testcontainers.CleanupContainer(t, srv)
	_, err = c.ImageInspect(t.Context(), srv.Image())
	require.NoError(t, err)
	require.NoError(t, srv.Pause(t.Context()), "a paused one is the hardest to remove")
	require.NoError(t, srv.Terminate(t.Context()))
	require.NoError(t, srv.Terminate(t.Context()))
	_, err = c.ImageInspect(t.Context(), srv.Image())
	require.Error(t, err, "the image is left")
	_, err = c.ContainerInspect(t.Context(), srv.GetContainerID(), client.ContainerInspectOptions{})
	require.Error(t, err, "the container is left")
	_, err = srv.Dialer(t.Context())
	require.ErrorIs(t, err, containers.ErrExited)
	_, err = srv.Begin(t.Context())
	require.ErrorIs(t, err, containers.ErrExited)
	require.ErrorIs(t, srv.Kill(t.Context()), containers.ErrExited)
	require.NoError(t, (*containers.Server)(nil).Terminate(t.Context()), "as testcontainers' own")
}
