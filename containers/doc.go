// Package containers starts the mail server under test in a container, for a
// benchmark or a test, and measures what the server spends.
//
//	func BenchmarkServer(b *testing.B) {
//		srv := containers.StartBinary(b, "./cmd/server",
//			containers.WithPort(2525),
//			containers.WithCertificate("/tls/cert.pem", "/tls/key.pem"))
//		for _, sessions := range []int{1, 16, 64} {
//			b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
//				smtptest.Benchmark(b, srv.MustDialer(b), loadtest.Config{Sessions: sessions, Meter: srv})
//			})
//		}
//	}
//
// Containers are those of testcontainers-go, and its options can be used along
// with the ones of this package; they are applied after them. Each function
// Run… has a form Start… for tests and benchmarks: it skips the test where
// there is no Docker, or fails it if BENCHMAIL_REQUIRE_DOCKER=1 is in the
// environment; it prints the end of the server's log if the test failed, and it
// removes the container when the test ends.
//
// Start a container in the function that has the b.Run calls: the framework
// runs that one once, and the leaves several times.
//
// # Ready, and trusted
//
// A container is ready when its server has sent a 220 greeting, and not before:
// Docker accepts connections to a published port as soon as it has published
// it. One connection is made for that; where a server counts sessions, it counts
// this one.
//
// [WithCertificate] has a certificate made for this container alone and put
// into it. [Server.Dialer] trusts it and nothing else.
//
// # What the server spends
//
// A [Server] is a [loadtest.Meter]: the container's control group is read right
// before and right after the measured part. CPU time is what the kernel
// accounted to all processes of the container, exactly; it is far steadier than
// throughput, as it does not depend on who else uses the machine's cores. CPU
// time spent later on the same messages, for example by a queue manager that
// lags behind, is not in it.
//
// Peak memory is the largest of samples, taken every 50 ms where the control
// group can be read as files, once a second where Docker has to be asked:
// anonymous memory and mapped files of all processes, what is shared counted
// once. It is not the kernel's own high-water mark (memory.peak,
// memory.max_usage_in_bytes): that includes the page cache, and it remembers
// the time before the measured part. [Server.Resources] has it.
//
// Reasons to doubt the figures are warnings of the run that match
// [ErrThrottled], [ErrOOMKilled], [ErrExited], [ErrRestarted] and [ErrProxied].
//
// # The way to the server
//
// By default the server's port is published on a loopback address, and
// docker-proxy, a process of Docker, copies every octet between it and the
// container. Its CPU time belongs to neither side, and can be twice that of a
// fast server. [WithHostNetwork] avoids it, on Linux; [WithListen] is how the
// server is told where to listen then.
//
// # Two versions
//
// [AB] starts two servers, such as this one and what it was at a git revision
// ([Source.AtRevision]), and fails the test if the head is worse.
//
// # What is not an error
//
// A server that refuses, that is killed, paused, or cut off in the middle of a
// run: see [Server.Pause], [Server.Kill], [Server.Restart], [Server.Disconnect].
// The run's counts add up through each of them.
package containers
