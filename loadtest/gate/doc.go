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
// On a machine with other work the same benchmark may take 20 % longer a minute
// later, and a test that knows nothing of it calls that certain. AB takes samples of
// a twentieth of a second by turns, A B B A …, compares neighbours only, and finds
// out first how much the base differs from itself.
//
// What was found on two cores, with a server that hashes five or six KiB more for
// each message and is some 10 % slower for that (examples/gate, TestProof: 16
// STARTTLS sessions, the default policy with three minutes at most, 40 comparisons
// each, which took turns, with servers of their own):
//
//	                                      worse  same  undecided  head/base            seconds
//	AB in one process, the same               0    40          0  1.00 [0.99 … 1.01]   7 [3 … 58]
//	AB in one process, 10 % slower           40     0          0  1.09 [1.07 … 1.12]   4 [4 … 10]
//	AB of containers, the same                0    39          1  1.00 [0.97 … 1.02]  28 [11 … 155]
//	AB of containers, 10 % slower            40     0          0  1.12 [1.05 … 1.20]  11 [6 … 24]
//	Compare, 10 and then 10 of the same       0    30         10  1.01 [0.93 … 1.04]   4
//	Compare, 10 and then 10, 10 % slower     38     0          2  1.09 [1.04 … 1.20]   4
//
// Compare of two runs has no defence against a machine that drifts between them: in
// the simulation of the tests, where everything becomes slower by a fifth in a
// little more than a minute, it calls the same server worse 94 times of 100, and AB
// never.
//
// # What is not an error
//
// A head that is slower is a failure of the test and not an error: the [Report] is
// complete. A benchmark that fails is a failure too, and what was found before is in
// the Report.
package gate
