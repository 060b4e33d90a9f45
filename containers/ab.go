package containers

import (
	"context"
	"testing"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// AB compares two servers, such as a pull request's with that of the commit it
// branched off, and fails the test if the head is worse, as [gate.AB] does:
//
//	func TestNotSlower(t *testing.T) {
//		head := containers.Binary("./cmd/server", containers.WithHostNetwork(),
//			containers.WithCertificate("/tls/cert.pem", "/tls/key.pem"),
//			containers.WithListen(func(l containers.Listen) testcontainers.ContainerCustomizer {
//				return testcontainers.WithCmd("-listen", l.Addr)
//			}))
//		base := head.AtRevision(gate.MergeBase(t, "origin/main"))
//		containers.AB(t, base, head, func(b *testing.B, srv *containers.Server) {
//			smtptest.Benchmark(b, srv.MustDialer(b), loadtest.Config{Sessions: 16, Meter: srv})
//		}, gate.Policy{})
//	}
//
// Three servers are started, once each: the base, the base again, from the same
// image, and the head. The second instance is for the noise floor: two containers
// of one image are not equally fast, and what differs between them is no
// difference of base and head. bench is called for each sample, with the server
// whose turn it is; the others are idle then.
//
// Use [WithHostNetwork]: with a published port, part of what is measured is
// docker-proxy, which is the same on both sides and makes what differs
// harder to see. With Meter the server's CPU time per message is gated, too, and
// that is the metric that finds the smallest changes.
//
// Without Docker the test is skipped, or fails with BENCHMAIL_REQUIRE_DOCKER=1.
// It fails at once if one of the servers cannot be built or started: a
// [StartError] that says which side. When a side fails on the way, what its
// server has logged last is in the test's log. Run such tests with -count=1, as
// go test does not see that a program in a container has changed.
func AB(tb testing.TB, base, head Source, bench func(*testing.B, *Server), p gate.Policy) *gate.Report {
	tb.Helper()
	if bench == nil {
		tb.Fatal("containers: AB: bench is nil: a function is needed that runs a benchmark against the server")
	}
	if err := base.check(); err != nil {
		tb.Fatalf("containers: AB: base: %v", err)
	}
	if err := head.check(); err != nil {
		tb.Fatalf("containers: AB: head: %v", err)
	}
	requireDocker(tb)
	var files fileContents
	first := &contestant{tb: tb, name: "base", bench: bench}
	again := &contestant{tb: tb, name: "base, second instance", bench: bench}
	second := &contestant{tb: tb, name: "head", bench: bench}
	first.start(base, "", &files)
	again.start(base, first.srv.image, &files)
	second.start(head, "", &files)
	if !first.srv.hostNetwork || !second.srv.hostNetwork {
		tb.Log("containers: AB: the way through Docker's network is part of what is measured; WithHostNetwork leaves it out")
	}
	defer func() { // however gate ends the test
		for _, c := range []*contestant{first, again, second} {
			c.explain()
		}
	}()
	return gate.ABA(tb, first.run, again.run, second.run, p)
}

// A contestant is a server in an AB.
type contestant struct {
	tb     testing.TB
	name   string
	bench  func(*testing.B, *Server)
	srv    *Server
	failed bool
}

// start starts it for the test. built is the image, if there is one already.
func (c *contestant) start(src Source, built string, files *fileContents) {
	c.tb.Helper()
	o := origin{label: c.name + " (" + src.String() + ")", built: built}
	if built == "" {
		o.folder = src.worktree(prefixedTB{c.tb, "containers: AB: " + c.name + ": "})
	}
	srv, err := src.run(c.tb.Context(), o, files)
	if srv != nil {
		c.tb.Cleanup(func() {
			c.tb.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
			defer cancel()
			if err := srv.Terminate(ctx); err != nil {
				c.tb.Error(err)
			}
		})
	}
	if err != nil {
		c.tb.Fatal(err)
	}
	c.srv = srv
}

func (c *contestant) run(b *testing.B) {
	returned := false
	defer func() { c.failed = c.failed || !returned || b.Failed() }()
	c.bench(b, c.srv)
	returned = true
}

// explain shows the log of a server that was the reason for a failure, and not
// of all that were slow.
func (c *contestant) explain() {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.tb.Context()), cleanupTime)
	defer cancel()
	state, err := c.srv.State(ctx)
	switch {
	case err != nil:
		c.tb.Logf("containers: %s: what became of the server? %v", c.srv.name, c.srv.gone(err))
		return
	case !state.Running:
		c.tb.Logf("containers: %s: %v", c.srv.name, exitError(state))
	case !c.failed:
		return
	}
	c.tb.Logf("containers: %s: the end of the server's log:\n%s", c.srv.name, c.srv.docker.logTail(ctx, c.srv.GetContainerID(), logLines))
}

// A prefixedTB says which side it is that fails.
type prefixedTB struct {
	testing.TB
	prefix string
}

func (tb prefixedTB) Fatalf(format string, args ...any) {
	tb.Helper()
	tb.TB.Fatalf("%s"+format, append([]any{tb.prefix}, args...)...)
}
