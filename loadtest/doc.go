// Package loadtest puts load on a mail server and measures how it takes it. It
// is the engine under smtptest.Benchmark, and a package for programs of your
// own; it does not need package testing.
//
//	res, err := loadtest.Run(ctx, &loadtest.SMTP{Addr: "127.0.0.1:2525"}, loadtest.Config{
//		Sessions: 16,
//		Ops:      10_000,
//	})
//	if err != nil {
//		log.Fatal(err)
//	}
//	fmt.Print(res)
//
// [Run] opens a pool of sessions with a [Dialer] and performs operations on
// them. [SMTP] is the Dialer for SMTP and LMTP servers, for which an operation
// is a mail transaction. The engine itself knows no protocol: a Dialer and a
// [Session] of your own make it drive something else.
//
// # Operations and counts
//
// Each operation that is started ends in exactly one of four counts of the
// [Result], whatever happens to it: it was accepted; or the server refused it;
// or it failed; or it is in doubt, as all of it was sent and no answer came.
// So a server that counts for itself has at least Accepted and at most Accepted
// + InDoubt operations. A session on which an operation failed or is in doubt,
// or that the server closed with a 421 (throttled), is closed and replaced, and
// the operation that needs the new session pays for it. When that cannot be
// opened, the operation has failed, and the place in the pool waits for 10 ms,
// doubled each time up to a second, before it takes another.
//
// # Closed loop and open loop
//
// In a closed loop each session starts an operation as soon as the one before
// it has ended. That finds how much a server can do. It does not find how long
// somebody has to wait: a server that stalls for two seconds stalls the load
// too, and of the hundreds who would have come meanwhile only those that had
// come before are counted. This is known as coordinated omission.
//
// With a [Pacer] the run is an open loop: operations start on a schedule,
// whether those before have ended or not. Latency is then measured from the
// time an operation was due, and one that is due when no session is free waits
// with the clock running. Lag is how much of the latency that was. Take as many
// Sessions as may be needed at the worst moment; idle ones cost little. Use a
// closed loop first to find the most that the server can do, and for the open
// loop a rate below it.
//
// When the generator itself was late, out of file descriptors or out of local
// ports, that is not the server's fault, and Result.Warnings says so. A server
// in the same process, or one that needs the same cores, is the usual reason.
//
// # What is not an error
//
// A refusal is a finding, and so is an operation that failed: Run returns an
// error only if it could not apply the load that was asked for, as when the
// sessions could not be opened, and then returns what it found until then as
// well. Look at [Result.ErrorRate], or set Config.MaxFailed.
package loadtest
