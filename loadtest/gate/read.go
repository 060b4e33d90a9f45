package gate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchproc"
	"golang.org/x/perf/benchunit"
)

// A side is the results of one side.
type side struct {
	name    string // "base" or "head"
	results []*benchfmt.Result
	units   benchfmt.UnitMetadataMap
}

// ErrNoResults is matched by Compare's error if a side has no benchmark result.
var ErrNoResults = errors.New("no benchmark results")

// read reads the output of go test -bench. Problems are what is lost in it: lines
// that cannot be read, and runs that failed.
func read(name string, r io.Reader) (s side, problems []string, err error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return s, nil, fmt.Errorf("gate: %s: %w", name, err)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // PowerShell's, in front of a first result
	s.name = name
	for i, line := range bytes.Split(data, []byte("\n")) {
		if failure(line) {
			problems = append(problems, fmt.Sprintf("%s: line %d says that the run failed: %s", name, i+1, bytes.TrimSpace(line)))
		}
	}
	reader := benchfmt.NewReader(bytes.NewReader(data), name)
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.Result:
			s.results = append(s.results, rec.Clone())
		case *benchfmt.SyntaxError:
			problems = append(problems, fmt.Sprintf("%s: line %d cannot be read, and its result is lost: %s", name, rec.Line, rec.Msg))
		}
	}
	if err := reader.Err(); err != nil {
		return s, nil, fmt.Errorf("gate: %s: %w", name, err)
	}
	s.units = reader.Units()
	if len(s.results) == 0 {
		return s, nil, fmt.Errorf("gate: %s: %w in %d bytes: it must be the output of go test -bench%s", name, ErrNoResults, len(data), indented(problems))
	}
	return s, problems, nil
}

// failure says whether go test has printed this line because something failed.
func failure(line []byte) bool {
	for _, start := range []string{"--- FAIL", "FAIL\t", "panic:", "fatal error:"} {
		if bytes.HasPrefix(line, []byte(start)) {
			return true
		}
	}
	return string(bytes.TrimRight(line, "\r")) == "FAIL"
}

func indented(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "\n\t" + strings.Join(lines, "\n\t")
}

// A benchmark is all results of one name and package.
type benchmark struct {
	name, pkg string
	results   int
	configs   []benchproc.Key // the different ones
	units     []string        // tidied, in the order in which they come
	values    map[string][]float64
	invalid   map[string]string // by unit, what is wrong with its values
	lines     []string          // the results, to be compared
}

// An index finds benchmarks of both sides by the same keys.
type index struct {
	key    *benchproc.Projection // what tells benchmarks apart
	config *benchproc.Projection // all other configuration
}

func newIndex(ignore []string) (*index, error) {
	var parser benchproc.ProjectionParser
	all, err := benchproc.NewFilter("*")
	if err != nil {
		return nil, err
	}
	key, err := parser.Parse("pkg,.fullname", all)
	if err != nil {
		return nil, err
	}
	for _, k := range ignore {
		if _, err := parser.Parse(k, all); err != nil {
			return nil, fmt.Errorf("gate: Policy.IgnoreConfig has %q: a key such as \"commit\" is needed: %w", k, err)
		}
	}
	return &index{key: key, config: parser.Residue()}, nil
}

// benchmarks groups the results of one side. The order is that of the results.
func (ix *index) benchmarks(s side) (order []benchproc.Key, byKey map[benchproc.Key]*benchmark) {
	byKey = map[benchproc.Key]*benchmark{}
	for _, res := range s.results {
		key := ix.key.Project(res)
		b := byKey[key]
		if b == nil {
			b = &benchmark{
				name: string(res.Name), pkg: res.GetConfig("pkg"),
				values: map[string][]float64{}, invalid: map[string]string{},
			}
			byKey[key] = b
			order = append(order, key)
		}
		b.add(res, ix.config.Project(res))
	}
	return order, byKey
}

func (b *benchmark) add(res *benchfmt.Result, config benchproc.Key) {
	b.results++
	if !slices.Contains(b.configs, config) {
		b.configs = append(b.configs, config)
	}
	b.lines = append(b.lines, fmt.Sprint(res.Iters, res.Values))
	seen := map[string]bool{}
	for _, v := range res.Values {
		// benchfmt leaves the units of 0 and of infinity as they are.
		_, unit := benchunit.Tidy(1, v.Unit)
		if !slices.Contains(b.units, unit) {
			b.units = append(b.units, unit)
		}
		switch {
		case res.Iters <= 0: // benchfmt takes it for a result
			b.invalid[unit] = fmt.Sprintf("a result of %d iterations is no measurement", res.Iters)
		case seen[unit]:
			b.invalid[unit] = "the unit is there twice in one result"
		case math.IsNaN(v.Value) || math.IsInf(v.Value, 0):
			b.invalid[unit] = fmt.Sprintf("%v is no measurement", v.Value)
		case v.Value < 0:
			b.invalid[unit] = fmt.Sprintf("%v is negative", v.Value)
		}
		seen[unit] = true
		b.values[unit] = append(b.values[unit], v.Value)
	}
}

// doubled says whether the results are the same ones again, in their order, as in a
// file that was appended to itself: they would count for more than they are.
// Results with few digits are alike by chance.
func (b *benchmark) doubled() bool {
	if len(b.units) < 3 {
		return false
	}
	for n := 3; n <= len(b.lines)/2; n++ {
		again := len(b.lines)%n == 0
		for i := n; again && i < len(b.lines); i++ {
			again = b.lines[i] == b.lines[i-n]
		}
		if again {
			different := slices.Compact(slices.Sorted(slices.Values(b.lines[:n])))
			return len(different) >= 3
		}
	}
	return false
}
