package gate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchunit"
)

// WriteFiles writes the report to files in the folder dir, which is made if it is
// not there:
//
//	base.txt, head.txt   all samples of each side, for benchstat base.txt head.txt
//	report.txt           see WriteTable
//	report.md            see WriteMarkdown
//	report.json          the Report, for json.Unmarshal
//	github-action-benchmark-smaller.json
//	github-action-benchmark-bigger.json
//	                     see WriteGitHubActionBenchmark
//	bencher.json         see WriteBencher
//
// Files of these names are replaced, each at once, so that nobody reads half of
// one. If some cannot be written, the others are, and the error names those that
// could not. A Report that was read from JSON has no samples: its base.txt and
// head.txt have no results.
//
// base.txt and head.txt give [Compare] the same samples again, except for units of
// a 0: benchstat, which shows ns/op as sec/op, leaves the unit of a 0 as it is, and
// takes it for another metric. It is written as sec/op.
func (r *Report) WriteFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("gate: making the folder for reports: %w", err)
	}
	var errs []error
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"base.txt", func(w io.Writer) error { return r.base.write(w, r.Rows) }},
		{"head.txt", func(w io.Writer) error { return r.head.write(w, r.Rows) }},
		{"report.txt", r.WriteTable},
		{"report.md", r.WriteMarkdown},
		{"report.json", func(w io.Writer) error { return writeIndented(w, r) }},
		{"github-action-benchmark-smaller.json", func(w io.Writer) error { return r.WriteGitHubActionBenchmark(w, nil) }},
		{"github-action-benchmark-bigger.json", func(w io.Writer) error { return r.WriteGitHubActionBenchmark(nil, w) }},
		{"bencher.json", r.WriteBencher},
	} {
		var content bytes.Buffer
		err := file.write(&content)
		name := filepath.Join(dir, file.name)
		if err == nil {
			err = replaceFile(name, content.Bytes())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("gate: writing %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// replaceFile writes a file so that there is the old one or the new one at any
// time.
func replaceFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	// Others, such as the step that uploads artifacts, may read it.
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// write writes all results in the format of benchmarks. Directions of rows that
// are not known otherwise are added, so that they are for who reads the file.
func (s side) write(w io.Writer, rows []Row) error {
	out := benchfmt.NewWriter(w)
	if err := s.writeUnits(out, rows); err != nil {
		return err
	}
	for _, res := range s.results {
		res = res.Clone()
		for i, v := range res.Values {
			if v.OrigUnit != "" {
				v = benchfmt.Value{Value: v.OrigValue, Unit: v.OrigUnit}
			}
			// Where the value is the same in the other unit, a reader leaves the unit.
			if value, unit := benchunit.Tidy(v.Value, v.Unit); value == v.Value {
				res.Values[i] = benchfmt.Value{Value: value, Unit: unit}
			}
		}
		if err := out.Write(res); err != nil {
			return err
		}
	}
	return nil
}

func (s side) writeUnits(out *benchfmt.Writer, rows []Row) error {
	units := slices.SortedFunc(maps.Values(s.units), func(a, b *benchfmt.UnitMetadata) int {
		return strings.Compare(a.Unit+" "+a.Key, b.Unit+" "+b.Key)
	})
	known := map[string]bool{}
	for _, u := range units {
		known[u.Unit] = known[u.Unit] || u.Key == "better"
	}
	for _, row := range rows {
		if row.Unit == "" || row.Better == 0 || known[row.Unit] || s.units.GetBetter(row.Unit) != 0 {
			continue
		}
		known[row.Unit] = true
		units = append(units, &benchfmt.UnitMetadata{
			UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: row.Unit, Key: "better"},
			Value:           row.Better.String(),
		})
	}
	for _, u := range units {
		if u.OrigUnit == "" {
			u = &benchfmt.UnitMetadata{UnitMetadataKey: u.UnitMetadataKey, OrigUnit: u.Unit, Value: u.Value}
		}
		if err := out.Write(u); err != nil {
			return err
		}
	}
	return nil
}
