package deptest_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/benchmail/benchmail"

// A pkg is what go list says of a package.
type pkg struct {
	ImportPath   string
	ForTest      string
	Standard     bool
	GoFiles      []string
	Imports      []string
	TestImports  []string // of _test.go files in the package
	XTestImports []string // of those in package x_test
}

// A graph is the packages of the module and all they need, their tests included,
// by import path.
type graph map[string]pkg

// load lists the whole module for an operating system.
func load(t *testing.T, goos string) graph {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-test", "-json=ImportPath,ForTest,Standard,GoFiles,Imports,TestImports,XTestImports", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	g := graph{}
	for dec := json.NewDecoder(out); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		// What go list makes for a test (p.test, p [p.test]) would mix the
		// tests' imports with those of the package.
		if p.ForTest == "" && !strings.HasSuffix(p.ImportPath, ".test") {
			g[p.ImportPath] = p
		}
	}
	require.NoError(t, cmd.Wait())
	return g
}

// within returns the module's packages that match a pattern: "loadtest" is one
// package, "internal/..." all below and itself.
func (g graph) within(pattern string) []string {
	var out []string
	for path, p := range g {
		if !p.Standard && matches(path, module+"/"+pattern) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

func matches(path, pattern string) bool {
	prefix, all := strings.CutSuffix(pattern, "/...")
	return path == prefix || all && strings.HasPrefix(path, prefix+"/")
}

// needs returns for everything that imports lead to the way there, "a > b > c".
// It does not look into the standard library.
func (g graph) needs(from string, imports []string) map[string]string {
	ways := map[string]string{}
	var walk func(way string, imports []string)
	walk = func(way string, imports []string) {
		for _, path := range imports {
			if _, seen := ways[path]; seen {
				continue
			}
			ways[path] = way + " > " + path
			if p := g[path]; !p.Standard {
				walk(ways[path], p.Imports)
			}
		}
	}
	walk(from, imports)
	return ways
}

// external reports whether path is neither ours nor the standard library's.
func (g graph) external(path string) bool {
	p, known := g[path]
	return known && !p.Standard && !matches(path, module+"/...")
}
