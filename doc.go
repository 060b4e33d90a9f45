// Package benchmail is the root of a module of test helpers for people who
// write or run mail servers. It has no code of its own; import the packages
// below it:
//
//   - [github.com/benchmail/benchmail/smtptest] is an SMTP and LMTP server for
//     tests, in the shape of net/http/httptest, and Benchmark, which drives any
//     mail server from a func BenchmarkX.
//   - [github.com/benchmail/benchmail/loadtest] is the load engine behind it:
//     a pool of sessions, closed and open loops, histograms, counts that add
//     up; and SMTP, its Dialer for SMTP and LMTP servers.
//   - [github.com/benchmail/benchmail/containers] starts the server under test
//     in a container and measures what it uses.
//   - [github.com/benchmail/benchmail/loadtest/gate] fails a test when a change
//     made a server slower, and says nothing when it was the machine.
//
// The benchmark of a mail server is this:
//
//	func BenchmarkServer(b *testing.B) {
//		addr := startYourServer(b)
//		smtptest.Benchmark(b, &loadtest.SMTP{Addr: addr}, loadtest.Config{Sessions: 16})
//	}
//
// and its result is lines that benchstat compares across commits. The folder
// examples has complete ones.
package benchmail
