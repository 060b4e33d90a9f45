// Package gate says whether a change made a server slower, and fails a test if it
// did. It works on the results of any Go benchmark, and is made not to cry wolf: what
// is not certain, or not large enough, or not more than the machine's own noise, is
// no failure; and what was not measured never passes.
//
//	func TestNotSlower(t *testing.T) {
//		base, head := startBase(t), startHead(t)
//		gate.AB(t,
//			func(b *testing.B) { smtptest.Benchmark(b, base.Dialer(), cfg) },
//			func(b *testing.B) { smtptest.Benchmark(b, head.Dialer(), cfg) },
//			gate.Policy{})
//	}
//
// [AB] runs both by turns, on this machine, now. That is the way to compare:
// containers.AB does it with two servers in containers, or with one server at two
// revisions of a git repository. [Compare] judges two files that go test -bench has
// printed. [Require] holds one run against fixed limits.
//
// # Verdicts
//
// Each metric that the [Policy] gates gets a [Verdict]: it is [Worse] or [Better] if
// the difference is no chance, and larger than the policy's minimum effect; it is
// the [Same] if the samples show that it is not worse by that much; and it is
// [Undecided] if they show neither, with the number of samples that would. Missing
// benchmarks and metrics, too few samples, results of different machines and values
// that cannot be have verdicts of their own, and are failures.
//
// By default time and CPU time for an operation are gated, with 5 % and with one
// chance in a hundred of a false alarm, and errors and allocations exactly.
//
// # Noise
//
// On a machine with other work the same benchmark takes 20 % longer a minute later,
// and a test that knows nothing of it calls that certain. AB takes samples
// of a twentieth of a second by turns, A B B A …, compares neighbours only, and finds out
// first how much the base differs from itself. CPU time is steadier than time.
//
// What was found on two cores with other work, with a server that hashes so many
// blocks more for each message (examples/gate, TestProof; 16 STARTTLS sessions, the
// default policy, three minutes at most for each comparison):
//
//	PROOF
//
// # What is not an error
//
// A head that is slower is a failure of the test and not an error: the [Report] is
// complete. A benchmark that fails is a failure too, and what was found before is in
// the Report.
package gate
