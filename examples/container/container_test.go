// Package container benchmarks mail servers that run in containers: one
// container for all sub-benchmarks, and the server's CPU time and memory next to
// messages per second. It needs Docker, and skips without.
//
//	go test -run '^$' -bench . -benchtime 5000x -count 10 ./examples/container | tee new.txt
//	benchstat -col /sessions new.txt
//
// Messages per second depend on everything that the machine does at the time;
// server-cpu-ns/op hardly does, and is what to watch in CI.
package container

import (
	"fmt"
	"os"
	"testing"

	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/containers"
	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// A server of your own repository: compiled, put into an image and started.
// WithHostNetwork leaves docker-proxy out of what is measured.
func BenchmarkGoSMTP(b *testing.B) {
	srv := containers.StartBinary(b, "./testdata/gosmtp", containers.WithHostNetwork(),
		containers.WithCertificate("/tls/cert.pem", "/tls/key.pem"),
		containers.WithListen(func(l containers.Listen) testcontainers.ContainerCustomizer {
			return testcontainers.WithCmd("-listen", l.Addr)
		}))
	benchmark(b, srv)
}

// A real Postfix, with STARTTLS.
func BenchmarkPostfix(b *testing.B) {
	benchmark(b, containers.StartPostfix(b, containers.WithHostNetwork()))
}

// Postfix's test server: what a server costs that does almost nothing. It has
// no TLS. Its port is published here, so a warning tells docker-proxy's share.
func BenchmarkSMTPSink(b *testing.B) {
	benchmark(b, containers.StartSMTPSink(b))
}

// Clients that send one message and leave, as most of the internet does.
func BenchmarkPostfixReconnect(b *testing.B) {
	srv := containers.StartPostfix(b, containers.WithHostNetwork())
	smtptest.Benchmark(b, srv.MustDialer(b), loadtest.Config{Sessions: 8, OpsPerSession: 1, Meter: srv})
}

// What a session costs that is only held.
func BenchmarkIdle(b *testing.B) {
	srv := containers.StartPostfix(b, containers.WithHostNetwork())
	srv.BenchmarkIdle(b, srv.MustDialer(b), 20)
}

func benchmark(b *testing.B, srv *containers.Server) {
	for _, sessions := range []int{1, 16} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			smtptest.Benchmark(b, srv.MustDialer(b), loadtest.Config{Sessions: sessions, Meter: srv})
		})
	}
}

// Where this runs in a container itself, testcontainers would take the gateway
// for Docker's host: load is for loopback addresses.
func TestMain(m *testing.M) {
	if os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" && os.Getenv("DOCKER_HOST") == "" {
		os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
	m.Run()
}
