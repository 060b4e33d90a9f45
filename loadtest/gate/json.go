package gate

import (
	"encoding/json"
	"fmt"
)

// MarshalText returns "lower", "higher" or, for any other value, "unknown".
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (d *Direction) UnmarshalText(text []byte) error {
	for _, known := range []Direction{Lower, Higher, 0} {
		if known.String() == string(text) {
			*d = known
			return nil
		}
	}
	return fmt.Errorf("gate: direction %q: lower, higher and unknown are known", text)
}

// A number is a float64 that is null in JSON if it is NaN or infinite, for which
// JSON has no words: a report of a benchmark that went wrong has to reach its
// reader too. null is read as 0, and what is 0 is unknown in a Row and a Summary.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if !finite(float64(n)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// MarshalJSON writes numbers that JSON does not have, which can be where Verdict
// is Invalid, as null, and such a P as -1.
func (r Row) MarshalJSON() ([]byte, error) {
	if !finite(r.P) {
		r.P = -1
	}
	type plain Row // without this method
	return json.Marshal(struct {
		plain
		Ratio     number `json:"ratio"`
		RatioLo   number `json:"ratio_lo"`
		RatioHi   number `json:"ratio_hi"`
		MinEffect number `json:"min_effect"`
		Floor     number `json:"floor,omitempty"`
	}{plain(r), number(r.Ratio), number(r.RatioLo), number(r.RatioHi), number(r.MinEffect), number(r.Floor)})
}

// MarshalJSON writes numbers that JSON does not have as null.
func (s Summary) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		N      int    `json:"n"`
		Median number `json:"median"`
		Lo     number `json:"lo"`
		Hi     number `json:"hi"`
	}{s.N, number(s.Median), number(s.Lo), number(s.Hi)})
}
