package gate

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Verdict is what is known of a metric of a benchmark.
type Verdict string

const (
	// Better: better by more than the minimum effect, and not by chance.
	Better Verdict = "better"
	// Same: not worse by more than the minimum effect, which the samples show: one
	// that is just that much worse is called so in one of twenty cases at most.
	Same Verdict = "same"
	// Worse: worse by more than the minimum effect, and not by chance. A failure.
	Worse Verdict = "worse"
	// Undecided: the samples show neither that it is worse nor that it is not.
	// Row.Need says how many would.
	Undecided Verdict = "undecided"

	// Those below say that there was nothing to judge. Each is a failure: a gate
	// that has seen nothing must not let pass.

	// Missing: the head does not have the benchmark, or not the metric, or one side
	// has it in some of its results only. What only the head has is new, which is
	// no failure.
	Missing Verdict = "missing"
	// TooFew: no difference, however large, could be told from chance with so
	// few samples.
	TooFew Verdict = "too few samples"
	// Incomparable: the configuration differs (another cpu, another goarch), the
	// base is 0, or nobody has said which direction is better.
	Incomparable Verdict = "incomparable"
	// Invalid: NaN, infinite or negative values, a unit twice in a line, or no
	// iterations.
	Invalid Verdict = "invalid"

	// New is the verdict of a benchmark that only the head has. Not a failure.
	New Verdict = "new"
	// NotGated is the verdict of metrics that the policy does not name.
	NotGated Verdict = ""
)

// A Report says of each metric of each benchmark whether the head is worse than
// the base.
type Report struct {
	// Policy as applied, defaults filled in.
	Policy Policy `json:"policy"`
	// Rows are in the order of the base's results, metrics that are gated
	// first.
	Rows []Row `json:"rows"`
	// Problems are failures that belong to no metric, each a sentence: a line that
	// cannot be read, a side that failed.
	Problems []string `json:"problems,omitempty"`
	// Notes are no failures, and reasons to doubt.
	Notes []string `json:"notes,omitempty"`
	// AB says how the samples were taken, nil for Compare.
	AB *ABInfo `json:"ab,omitempty"`

	base, head side // all results, for WriteFiles
}

// ABInfo says how AB went.
type ABInfo struct {
	Pairs      int           `json:"pairs"`       // of samples of base and head
	NoisePairs int           `json:"noise_pairs"` // of samples of the base and itself
	Ops        int           `json:"ops"`         // iterations of each sample
	Looks      int           `json:"looks"`       // how often the samples were judged
	Elapsed    time.Duration `json:"elapsed_ns"`
	Stopped    string        `json:"stopped"` // why: "all decided", "time is up", …
}

// A Row is one metric of one benchmark.
type Row struct {
	// Benchmark is its full name with the "Benchmark" in front cut off, and with
	// "-GOMAXPROCS".
	Benchmark string `json:"benchmark"`
	Package   string `json:"package,omitempty"` // "" if the results do not say
	// Unit as golang.org/x/perf has it: sec/op for ns/op, as in benchstat.
	// Base, Head and all others are in this unit.
	Unit   string    `json:"unit"`
	Better Direction `json:"better"` // 0 if unknown
	Gated  bool      `json:"gated"`
	Exact  bool      `json:"exact,omitempty"`

	Base Summary `json:"base"`
	Head Summary `json:"head"`
	// Ratio is how large the head is as a share of the base, with its confidence
	// interval of 95 %: that of the medians for Compare, for AB the
	// Hodges-Lehmann estimate over pairs of samples. 0 if it is not known.
	Ratio   float64 `json:"ratio"`
	RatioLo float64 `json:"ratio_lo"`
	RatioHi float64 `json:"ratio_hi"`
	// P is how likely so large a difference would be by chance; -1 if it was not
	// tested. It is not corrected for the number of metrics and looks.
	P float64 `json:"p"`
	// MinEffect is what had to be exceeded, as a share of the base.
	MinEffect float64 `json:"min_effect"`
	// Floor is AB's noise floor: the base differs from itself by up to this share
	// with as many samples. A smaller difference is not claimed. 0 for Compare.
	Floor float64 `json:"floor,omitempty"`
	// Need is how many samples of each side would decide it, about; 0 if it is
	// decided, or if the number is not what is missing. 100000 stands for more, too.
	Need int `json:"need,omitempty"`

	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason"` // a sentence
}

// A Summary is of one side's samples of a metric.
type Summary struct {
	N int `json:"n"`
	// Median, and its confidence interval of 95 %; both ends are 0 if there are
	// too few samples for one.
	Median float64 `json:"median"`
	Lo     float64 `json:"lo"`
	Hi     float64 `json:"hi"`
}

// failed says whether the verdict is a failure under the policy.
func (r Row) failed(p Policy) bool {
	switch r.Verdict {
	case Worse, Missing, TooFew, Incomparable, Invalid:
		return true
	case Undecided:
		return p.FailUndecided
	}
	return false
}

// ErrFailed is matched by what [Report.Err] returns.
var ErrFailed = errors.New("the gate does not let this pass")

// Failures returns a sentence for each reason why the head must not pass. None
// means that it may.
func (r *Report) Failures() []string {
	list := append([]string(nil), r.Problems...)
	for _, row := range r.Rows {
		if row.failed(r.Policy) {
			list = append(list, row.name()+": "+row.Reason)
		}
	}
	return list
}

// Err returns nil if the head may pass, or else an error that matches ErrFailed
// and has all of Failures.
func (r *Report) Err() error {
	list := r.Failures()
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("gate: %w:\n%s", ErrFailed, strings.Join(list, "\n"))
}

// name is for sentences.
func (r Row) name() string {
	s := r.Benchmark
	if r.Unit != "" {
		s += " " + r.Unit
	}
	return s
}
