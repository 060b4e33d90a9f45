package deptest_test

import (
	"fmt"
	"slices"
)

// A rule is about the packages that match of.
type rule struct {
	name string
	of   string // pattern in the module; see within
	why  string

	// tests makes it hold for the packages' tests too.
	tests bool
	// forbid are patterns of what may not be needed, directly or through others;
	// direct, of what may not be imported directly.
	forbid, direct []string
	// external, if not nil, are patterns of all that may be needed from outside
	// of the module and the standard library; required, of what must be, or the
	// list is out of date.
	external, required []string
	// testsOnly: there may be no files but _test.go.
	testsOnly bool
}

var (
	docker  = []string{"github.com/docker/...", "github.com/moby/...", "github.com/testcontainers/...", module + "/containers/..."}
	testify = "github.com/stretchr/testify/..."
)

var rules = []rule{
	{
		name: "internal is below", of: "internal/...",
		forbid: []string{module + "/loadtest/...", module + "/smtptest/...", module + "/containers/...", module + "/examples/..."},
		why:    "imports go one way: internal, loadtest, smtptest and containers",
	},
	{
		name: "loadtest is for programs", of: "loadtest",
		forbid: []string{"testing/...", "net/http/httptest", module + "/smtptest/..."},
		why:    "a program that uses the engine must not get the flags of package testing",
	},
	{
		name: "gate knows no SMTP", of: "loadtest/gate/...",
		forbid: []string{module + "/smtptest/...", module + "/containers/..."},
		direct: []string{module + "/internal/smtpwire", module + "/internal/turn"},
		why:    "it compares the results of any benchmark, and of loadtest it needs the Result",
	},
	{
		name: "loadtest without Docker", of: "loadtest/...", tests: true, forbid: docker,
		why: "testcontainers brings a hundred modules; only who imports containers shall build them",
	},
	{
		name: "smtptest without Docker", of: "smtptest/...", tests: true, forbid: docker,
		why: "testcontainers brings a hundred modules; only who imports containers shall build them",
	},
	{
		name: "internal without Docker", of: "internal/...", tests: true, forbid: docker,
		why: "what loadtest and smtptest are made of",
	},
	{
		name: "testify is for tests", of: "...", direct: []string{testify},
		why: "a helper that brings an assertion library forces it on its user",
	},
	{
		name: "loadtest without testify", of: "loadtest/...", forbid: []string{testify},
		why: "a helper that brings an assertion library forces it on its user; containers gets it from testcontainers",
	},
	{
		name: "smtptest without testify", of: "smtptest/...", forbid: []string{testify},
		why: "a helper that brings an assertion library forces it on its user; containers gets it from testcontainers",
	},
	{
		name: "what loadtest needs", of: "loadtest",
		external: []string{"github.com/HdrHistogram/hdrhistogram-go/...", "github.com/emersion/go-sasl/...", "golang.org/x/sys/..."},
		required: []string{"github.com/HdrHistogram/hdrhistogram-go/...", "github.com/emersion/go-sasl/..."},
		why:      "each dependency is one that every user has to trust",
	},
	{
		name: "what smtptest needs", of: "smtptest",
		external: []string{"github.com/HdrHistogram/hdrhistogram-go/...", "github.com/emersion/go-sasl/...", "golang.org/x/sys/..."},
		why:      "loadtest's dependencies and go-sasl, which is one of them",
	},
	{
		name: "what gate needs", of: "loadtest/gate/...",
		external: []string{
			"golang.org/x/perf/...", "github.com/aclements/go-moremath/...",
			"github.com/HdrHistogram/hdrhistogram-go/...", "github.com/emersion/go-sasl/...", "golang.org/x/sys/...",
		},
		required: []string{"golang.org/x/perf/...", "github.com/aclements/go-moremath/..."},
		why:      "golang.org/x/perf reads results and compares them, with one module of its own; the rest is loadtest's",
	},
	{
		name: "examples are tests", of: "examples/...", testsOnly: true,
		why: "they are what a user would write, and nobody imports them",
	},
}

// check returns what in g is against the rule.
func (r rule) check(g graph) []string {
	var bad []string
	complain := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	packages := g.within(r.of)
	if len(packages) == 0 {
		complain("no package matches %s: the rule holds nothing", r.of)
	}
	required := slices.Clone(r.required)
	for _, path := range packages {
		p := g[path]
		if r.testsOnly && len(p.GoFiles) > 0 {
			complain("%s has %v: only _test.go files may be there", path, p.GoFiles)
		}
		imports := p.Imports
		if r.tests {
			imports = slices.Concat(imports, p.TestImports, p.XTestImports)
		}
		for _, imported := range imports {
			if slices.ContainsFunc(r.direct, func(pattern string) bool { return matches(imported, pattern) }) {
				complain("%s > %s", path, imported)
			}
		}
		for needed, way := range g.needs(path, imports) {
			for _, pattern := range r.forbid {
				if needed != path && matches(needed, pattern) {
					complain("%s", way)
				}
			}
			if r.external != nil && g.external(needed) &&
				!slices.ContainsFunc(r.external, func(pattern string) bool { return matches(needed, pattern) }) {
				complain("%s: a dependency that is not on the list", way)
			}
			required = slices.DeleteFunc(required, func(pattern string) bool { return matches(needed, pattern) })
		}
	}
	for _, pattern := range required {
		complain("%s is not needed any more: take it off the list", pattern)
	}
	slices.Sort(bad)
	return bad
}
