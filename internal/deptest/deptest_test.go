package deptest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestImports(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		g := load(t, goos)
		require.Contains(t, g, module+"/loadtest")
		for _, r := range rules {
			t.Run(goos+"/"+r.name, func(t *testing.T) {
				for _, bad := range r.check(g) {
					t.Errorf("%s\nwhy not: %s", bad, r.why)
				}
			})
		}
	}
}

// TestRulesCanFail breaks each kind of rule.
func TestRulesCanFail(t *testing.T) {
	const a, b, c = module + "/a", module + "/b", module + "/b/c"
	g := graph{
		a:            {ImportPath: a, GoFiles: []string{"a.go"}, Imports: []string{b, "fmt"}, TestImports: []string{"x.org/t"}},
		b:            {ImportPath: b, GoFiles: []string{"b.go"}, Imports: []string{"x.org/y", "testing"}, XTestImports: []string{a}},
		c:            {ImportPath: c, TestImports: []string{"x.org/t"}},
		"x.org/y":    {ImportPath: "x.org/y", Imports: []string{"x.org/y/sub"}},
		"x.org/yoke": {ImportPath: "x.org/yoke"},
		"x.org/t":    {ImportPath: "x.org/t", Imports: []string{"x.org/yoke"}},
		"testing":    {ImportPath: "testing", Standard: true, Imports: []string{"flag"}},
		"fmt":        {ImportPath: "fmt", Standard: true},
	}
	g["x.org/y/sub"] = pkg{ImportPath: "x.org/y/sub"}
	for _, tt := range []struct {
		name string
		rule rule
		want []string
		why  string
	}{
		{"direct", rule{of: "a", forbid: []string{b}}, []string{a + " > " + b}, "a imports b"},
		{"imported directly", rule{of: "...", direct: []string{"x.org/y/..."}}, []string{b + " > x.org/y"}, "and not a, which imports b"},
		{"through another", rule{of: "a", forbid: []string{"testing/..."}}, []string{a + " > " + b + " > testing"}, "the way is shown"},
		{"below a pattern", rule{of: "a", forbid: []string{"x.org/y/..."}},
			[]string{a + " > " + b + " > x.org/y", a + " > " + b + " > x.org/y > x.org/y/sub"}, "both match"},
		{"name that begins alike", rule{of: "a", tests: true, forbid: []string{"x.org/yo/..."}}, nil, "x.org/yoke is not below x.org/yo"},
		{"inside of the standard library", rule{of: "a", forbid: []string{"flag"}}, nil, "how testing does it is not our concern"},
		{"test of it", rule{of: "a", tests: true, forbid: []string{"x.org/yoke"}}, []string{a + " > x.org/t > x.org/yoke"}, "tests count if asked for"},
		{"test not asked for", rule{of: "a", forbid: []string{"x.org/yoke"}}, nil, "and else not"},
		{"test of another", rule{of: "a", tests: true, forbid: []string{"x.org/none"}}, nil, "b's tests are b's"},
		{"external test", rule{of: "b", tests: true, forbid: []string{a}}, []string{b + " > " + a}, "package b_test"},
		{"every package", rule{of: "...", tests: true, forbid: []string{"x.org/t"}}, []string{a + " > x.org/t", c + " > x.org/t"}, "c has tests only, and b's test imports a without a's tests"},
		{"dependency not on the list", rule{of: "a", external: []string{"x.org/y"}},
			[]string{a + " > " + b + " > x.org/y > x.org/y/sub: a dependency that is not on the list"}, "a new one has to be decided on"},
		{"dependency gone", rule{of: "a", required: []string{"x.org/y", "x.org/z/..."}}, []string{"x.org/z/... is not needed any more: take it off the list"}, "so that the list stays true"},
		{"not tests only", rule{of: "b/...", testsOnly: true}, []string{b + " has [b.go]: only _test.go files may be there"}, "c is right"},
		{"nothing matches", rule{of: "z"}, []string{"no package matches z: the rule holds nothing"}, "a package that was renamed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, tt.rule.check(g), tt.why)
		})
	}
}
