package containers

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/loadtest"
)

// An Option is an option of this package. Options of testcontainers-go can be
// given along with them.
type Option func(*settings) error

// Customize makes an Option acceptable where testcontainers-go's options are.
// It does nothing.
func (Option) Customize(*testcontainers.GenericContainerRequest) error { return nil }

// settings is what the options say.
type settings struct {
	port    int
	tlsPort int // 0: no implicit TLS

	security loadtest.Security
	certFile string // in the container, as is keyFile; "": no certificate is made
	keyFile  string
	rootFile string

	cpus        float64
	memory      int64
	hostNetwork bool
	listen      func(Listen) testcontainers.ContainerCustomizer

	startTimeout time.Duration
	build        []func(*testcontainers.FromDockerfile)
	buildFlags   []string
	sink         *SinkConfig
	postfix      map[string]string

	origin // of a Source
}

func defaults() settings {
	return settings{port: 25, startTimeout: time.Minute}
}

// apply applies those of opts that are Options.
func (s *settings) apply(opts []testcontainers.ContainerCustomizer) error {
	for _, opt := range opts {
		if opt, ok := opt.(Option); ok {
			if err := opt(s); err != nil {
				return err
			}
		}
	}
	if s.security == loadtest.ImplicitTLS && s.tlsPort == 0 {
		s.tlsPort = 465
	}
	if s.hostNetwork && s.listen == nil {
		return errors.New("WithHostNetwork needs WithListen: the server has to be told to listen on a free port of 127.0.0.1")
	}
	return nil
}

// dialPort is the port in the container that Dialer's sessions arrive at.
func (s *settings) dialPort() int {
	if s.security == loadtest.ImplicitTLS {
		return s.tlsPort
	}
	return s.port
}

func (s *settings) ports() []int {
	if s.tlsPort == 0 || s.tlsPort == s.port {
		return []int{s.port}
	}
	return []int{s.port, s.tlsPort}
}

// WithPort says at which port in the container the server speaks SMTP, in
// plaintext and with STARTTLS. The default is 25.
func WithPort(port int) Option {
	return func(s *settings) error {
		s.port = port
		return checkPort(port)
	}
}

// WithImplicitTLSPort says at which port in the container TLS begins with the
// first octet. The default is none, and 465 if WithSecurity says ImplicitTLS.
func WithImplicitTLSPort(port int) Option {
	return func(s *settings) error {
		s.tlsPort = port
		return checkPort(port)
	}
}

func checkPort(port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("port %d is not from 1 to 65535", port)
	}
	return nil
}

// WithSecurity says how [Server.Dialer]'s sessions are protected. The default
// is loadtest.STARTTLS, for smtp-sink loadtest.Plaintext, as it has no TLS.
func WithSecurity(security loadtest.Security) Option {
	return func(s *settings) error {
		s.security = security
		return nil
	}
}

// WithCertificate has an authority and a certificate made for this container
// and writes the certificate and its key, in PEM, to these two files in the
// container before it starts. [Server.Dialer] trusts that authority only.
// Without it Dialer trusts the system's roots. The key may be read by everybody
// in the container.
func WithCertificate(certFile, keyFile string) Option {
	return func(s *settings) error {
		if !path.IsAbs(certFile) || !path.IsAbs(keyFile) {
			return fmt.Errorf("WithCertificate(%q, %q): the files' paths in the container have to be absolute", certFile, keyFile)
		}
		s.certFile, s.keyFile = certFile, keyFile
		return nil
	}
}

// WithRootFile has [Server.Dialer] trust the certificates in this file of the
// container, in PEM, that an image made for itself. It is read when the server
// is ready. If the certificate is not for the address that the server has here,
// set the Dialer's TLSConfig.ServerName to a name that it is for.
func WithRootFile(file string) Option {
	return func(s *settings) error {
		if !path.IsAbs(file) {
			return fmt.Errorf("WithRootFile(%q): the file's path in the container has to be absolute", file)
		}
		s.rootFile = file
		return nil
	}
}

// WithCPUs limits the container to this many CPUs, 0.5 for example. A server
// that needs more is stopped for parts of each tenth of a second, which spoils
// latencies; the result has a warning then. The default is no limit.
func WithCPUs(cpus float64) Option {
	return func(s *settings) error {
		if !(cpus > 0) || cpus > 1e6 {
			return fmt.Errorf("WithCPUs(%v): it has to be more than 0", cpus)
		}
		s.cpus = cpus
		return nil
	}
}

// WithMemory limits the container's memory to so many bytes, with no swap
// besides. The default is no limit.
func WithMemory(bytes int64) Option {
	return func(s *settings) error {
		if bytes <= 0 {
			return fmt.Errorf("WithMemory(%d): it has to be more than 0", bytes)
		}
		s.memory = bytes
		return nil
	}
}

// WithHostNetwork runs the server in the network of the host, at a free port of
// 127.0.0.1, so that neither docker-proxy nor a bridge is part of what is
// measured. It needs Docker on this machine, and Linux, and [WithListen] unless
// the image is one of this package. The server is seen by everybody
// on this machine.
func WithHostNetwork() Option {
	return func(s *settings) error {
		s.hostNetwork = true
		return nil
	}
}

// Listen is where a server has to listen.
type Listen struct {
	// Addr is for SMTP: "0.0.0.0:25", or with WithHostNetwork
	// "127.0.0.1:30123".
	Addr string
	// ImplicitTLSAddr is for TLS from the first octet, "" without
	// WithImplicitTLSPort.
	ImplicitTLSAddr string
}

// WithListen has fn say how the server is told where to listen:
//
//	containers.WithListen(func(l containers.Listen) testcontainers.ContainerCustomizer {
//		return testcontainers.WithCmd("-listen", l.Addr)
//	})
//
// Without it the server is expected at the ports of WithPort and
// WithImplicitTLSPort.
func WithListen(fn func(Listen) testcontainers.ContainerCustomizer) Option {
	return func(s *settings) error {
		s.listen = fn
		return nil
	}
}

// WithStartTimeout bounds the time from the container's start to its greeting.
// The building or pulling of an image is not part of it. The default is one
// minute.
func WithStartTimeout(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return fmt.Errorf("WithStartTimeout(%v): it has to be more than 0", d)
		}
		s.startTimeout = d
		return nil
	}
}

// WithBuild has fn change what [RunDockerfile] asks Docker to build: the name
// of the Dockerfile, build arguments, whether the image is kept.
func WithBuild(fn func(*testcontainers.FromDockerfile)) Option {
	return func(s *settings) error {
		s.build = append(s.build, fn)
		return nil
	}
}

// WithBuildFlags adds flags of go build, such as "-tags=x", to those that
// [RunBinary] uses.
func WithBuildFlags(flags ...string) Option {
	return func(s *settings) error {
		s.buildFlags = append(slices.Clone(s.buildFlags), flags...)
		return nil
	}
}

// WithSink sets the flags of [RunSMTPSink].
func WithSink(cfg SinkConfig) Option {
	return func(s *settings) error {
		if s.sink == nil {
			return errors.New("WithSink is for RunSMTPSink")
		}
		*s.sink = cfg
		return nil
	}
}

// WithPostfixConfig sets parameters of main.cf for [RunPostfix], over those
// that it has.
func WithPostfixConfig(parameters map[string]string) Option {
	return func(s *settings) error {
		if s.postfix == nil {
			return errors.New("WithPostfixConfig is for RunPostfix")
		}
		maps.Copy(s.postfix, parameters)
		return nil
	}
}
