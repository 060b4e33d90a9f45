package gate

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

// The environment that Check reads.
const (
	dirVariable     = "BENCHMAIL_GATE_DIR"  // a folder for WriteFiles; see Policy.Dir
	summaryVariable = "GITHUB_STEP_SUMMARY" // a file for Markdown, set by GitHub Actions
)

// Check is the end of a test: it logs the report as a table, and fails tb with all
// that is in r.Failures if the head must not pass. The test goes on after it.
//
// In a job of GitHub Actions it appends the report to the job's summary, the file
// that $GITHUB_STEP_SUMMARY names. It writes the files of [Report.WriteFiles] to
// Policy.Dir or, without one, to a folder in $BENCHMAIL_GATE_DIR that is named
// after the package and the test, as several may share that:
// example.org/server/TestNotSlower. What cannot be written fails tb too.
func (r *Report) Check(tb testing.TB) {
	tb.Helper()
	var table strings.Builder
	_ = r.WriteTable(&table) // a Builder takes everything
	tb.Log("\n" + table.String())

	if name := os.Getenv(summaryVariable); name != "" {
		if err := r.appendMarkdown(name); err != nil {
			tb.Errorf("gate: $%s: %v", summaryVariable, err)
		}
	}
	if dir := r.dir(tb.Name()); dir != "" {
		if err := r.WriteFiles(dir); err != nil {
			tb.Errorf("%v", err)
		}
	}
	if err := r.Err(); err != nil {
		tb.Errorf("%v", err)
	}
}

// dir returns the folder for the files of a test, "" if none are wanted.
func (r *Report) dir(test string) string {
	if r.Policy.Dir != "" {
		return r.Policy.Dir
	}
	if dir := os.Getenv(dirVariable); dir != "" {
		for part := range strings.SplitSeq(testedPackage(), "/") {
			dir = filepath.Join(dir, fileName(part))
		}
		return filepath.Join(dir, fileName(test))
	}
	return ""
}

// testedPackage returns the import path of the package whose tests these are.
func testedPackage() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return strings.TrimSuffix(info.Path, ".test")
}

// appendMarkdown adds to the file: other steps' summaries are in it.
func (r *Report) appendMarkdown(name string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := r.WriteMarkdown(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// unsafe is what a name of a file should not have in it on any system, nor in the
// artifacts of GitHub Actions.
var unsafe = regexp.MustCompile(`[^A-Za-z0-9._=+-]+|^\.+|\.+$`)

// fileName returns the name of a test as that of a file. Tests of different names
// have different files.
func fileName(test string) string {
	const longest = 100
	safe := unsafe.ReplaceAllString(test, "_")
	if safe == test && len(safe) <= longest && safe != "" {
		return safe
	}
	// What was replaced or cut off told two tests apart.
	h := fnv.New32a()
	_, _ = h.Write([]byte(test))
	return fmt.Sprintf("%s-%08x", safe[:min(len(safe), longest)], h.Sum32())
}
