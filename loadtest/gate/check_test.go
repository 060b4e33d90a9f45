package gate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// environment is that of a CI job, or none.
func environment(t *testing.T, summary, dir string) {
	t.Helper()
	t.Setenv("GITHUB_STEP_SUMMARY", summary)
	t.Setenv("BENCHMAIL_GATE_DIR", dir)
}

func TestCheck(t *testing.T) {
	environment(t, "", "")
	tb := (&fakeTB{TB: t, name: "TestNotSlower"}).run(passing().Check)
	assert.Equal(t, []string{"\n" + table(t, passing())}, tb.logged)
	assert.Empty(t, tb.errors)

	bad := failing()
	tb = (&fakeTB{TB: t, name: "TestNotSlower"}).run(bad.Check)
	assert.Equal(t, []string{"\n" + table(t, bad)}, tb.logged)
	assert.Equal(t, []string{bad.Err().Error()}, tb.errors)
	assert.Empty(t, tb.fatal, "a test may have more to say")
}

func TestCheckSummary(t *testing.T) {
	file := filepath.Join(t.TempDir(), "summary.md")
	require.NoError(t, os.WriteFile(file, []byte("# Another step's\n"), 0o600))
	environment(t, file, "")
	(&fakeTB{TB: t, name: "TestA"}).run(passing().Check)
	(&fakeTB{TB: t, name: "TestB"}).run(failing().Check)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "# Another step's\n"+markdown(t, passing())+markdown(t, failing()), string(text))
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	// go test ./... runs a TestNotSlower in each of several packages.
	const env = "env/github.com/benchmail/benchmail/loadtest/gate/"
	for _, tt := range []struct {
		name, test, policy, env string
		want                    string // the folder
	}{
		{"policy", "TestA", filepath.Join(dir, "policy"), "", "policy"},
		{"policy and environment", "TestA", filepath.Join(dir, "both"), filepath.Join(dir, "unused"), "both"},
		{"environment", "TestA", "", filepath.Join(dir, "env"), env + "TestA"},
		{"another test in the same", "TestB", "", filepath.Join(dir, "env"), env + "TestB"},
		{"sub-test", "TestA/size=4k", "", filepath.Join(dir, "env"), env + "TestA_size=4k-2f3a7c1e"},
		{"almost of the same name", "TestA_size=4k", "", filepath.Join(dir, "env"), env + "TestA_size=4k"},
		{"out of the folder", "../../x", "", filepath.Join(dir, "env"), env + "__.._x-5d8c685d"},
		{"long", strings.Repeat("x", 300), "", filepath.Join(dir, "env"), env + strings.Repeat("x", 100) + "-970138f5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t, "", tt.env)
			r := sampled(t)
			r.Policy.Dir = tt.policy
			tb := (&fakeTB{TB: t, name: tt.test}).run(r.Check)
			require.Empty(t, tb.errors)
			require.FileExists(t, filepath.Join(dir, tt.want, "report.txt"))
		})
	}
	require.NoDirExists(t, filepath.Join(dir, "unused"))
}

func TestCheckCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	environment(t, filepath.Join(file, "summary.md"), file)
	bad := failing()
	tb := (&fakeTB{TB: t, name: "TestA"}).run(bad.Check)
	require.Len(t, tb.errors, 3)
	assert.Contains(t, tb.errors[0], "gate: $GITHUB_STEP_SUMMARY: open "+filepath.Join(file, "summary.md"))
	assert.Contains(t, tb.errors[1], "gate: making the folder for reports: mkdir "+file)
	assert.ErrorIs(t, bad.Err(), gate.ErrFailed)
	assert.Equal(t, bad.Err().Error(), tb.errors[2])
}
