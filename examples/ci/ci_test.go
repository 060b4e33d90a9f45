// Package ci_test checks the workflows, which nothing runs here, for what can be
// seen without GitHub.
package ci_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// A workflow is what is used of one.
type workflow struct {
	Name        string                    `yaml:"name"`
	On          map[string]any            `yaml:"on"`
	Permissions map[string]string         `yaml:"permissions"`
	Env         map[string]any            `yaml:"env"`
	Concurrency struct{ Group string }    `yaml:"concurrency"`
	Jobs        map[string]map[string]any `yaml:"jobs"`
	steps       []step
}

type step struct {
	Name string         `yaml:"name"`
	If   string         `yaml:"if"`
	Uses string         `yaml:"uses"`
	Run  string         `yaml:"run"`
	Env  map[string]any `yaml:"env"`
	With map[string]any `yaml:"with"`

	WorkingDirectory string `yaml:"working-directory"`
}

func read(t *testing.T, file string) (w workflow, text string) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &w))
	require.Len(t, w.Jobs, 1)
	for _, job := range w.Jobs {
		again, err := yaml.Marshal(job["steps"])
		require.NoError(t, err)
		dec := yaml.NewDecoder(strings.NewReader(string(again)))
		dec.KnownFields(true) // a word that GitHub does not know either
		require.NoError(t, dec.Decode(&w.steps))
	}
	return w, string(b)
}

// uses returns the step that uses an action.
func (w workflow) uses(t *testing.T, action string) step {
	t.Helper()
	for _, s := range w.steps {
		if strings.HasPrefix(s.Uses, action+"@") {
			return s
		}
	}
	t.Fatalf("no step uses %s", action)
	return step{}
}

func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob("*.yml")
	require.NoError(t, err)
	require.Len(t, files, 2)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			w, text := read(t, file)
			assert.Equal(t, strings.TrimSuffix(file, ".yml"), w.Name)
			assert.Contains(t, text, "Copy it to .github/workflows/"+file)
			assert.Contains(t, string(readme), "("+file+")")
			assert.Contains(t, w.On, "pull_request")
			assert.Equal(t, map[string]string{"contents": "read"}, w.Permissions, "it runs what a stranger has sent")
			assert.NotContains(t, text, "github.event.pull_request.title", "nor is what a stranger writes put into a command")
			checkout := w.uses(t, "actions/checkout").With
			assert.EqualValues(t, 0, checkout["fetch-depth"], "the base is in the history")
			assert.Equal(t, false, checkout["persist-credentials"])
			assert.Contains(t, checkout, "fetch-depth")
			for _, s := range w.steps {
				assert.NotEqual(t, s.Uses == "", s.Run == "", "step %q", s.Name)
				if _, err := exec.LookPath("bash"); err == nil && s.Run != "" {
					out, err := exec.Command("bash", "-n", "-c", s.Run).CombinedOutput()
					assert.NoError(t, err, "%s: %s", s.Run, out)
				}
				assert.NotContains(t, s.Run, "${{", "values come through the environment, where nothing in them is a command")
			}
		})
	}
}

// TestGateWorkflow: its pieces have to fit those of package gate.
func TestGateWorkflow(t *testing.T) {
	w, _ := read(t, "gate.yml")
	var gate step
	for _, s := range w.steps {
		if strings.HasPrefix(s.Run, "go test ") {
			gate = s
		}
	}
	assert.Contains(t, gate.Run, "-count=1")
	assert.Contains(t, gate.Run, " -p 1 ")
	require.Regexp(t, `-run '[^']+'`, gate.Run)
	pattern := regexp.MustCompile(`-run '([^']+)'`).FindStringSubmatch(gate.Run)[1]
	for file, test := range map[string]string{"gate_test.go": "TestNotSlower", "container_test.go": "TestContainerNotSlower"} {
		assert.Regexp(t, pattern, test, "who copies it has it run")
		example, err := os.ReadFile("../gate/" + file)
		require.NoError(t, err)
		assert.Contains(t, string(example), "func "+test+"(t *testing.T)")
	}
	assert.EqualValues(t, 1, gate.Env["BENCHMAIL_REQUIRE_DOCKER"])

	upload := w.uses(t, "actions/upload-artifact")
	assert.Equal(t, gate.Env["BENCHMAIL_GATE_DIR"], upload.With["path"])
	assert.Equal(t, "always()", upload.If, "a failure is what one looks into")
	assert.Equal(t, "error", upload.With["if-no-files-found"], "no test has run, and that would be a pass")
}
