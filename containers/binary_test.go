package containers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/containers"
)

// TestProgramChanges: go test takes the result of a test from its cache unless
// something has changed that the test has read, so the test has to have read the
// program's source. What it has read is in a log that is for the go command.
func TestProgramChanges(t *testing.T) {
	needDocker(t)
	const isChild = "BENCHMAIL_TEST_CHILD"
	if os.Getenv(isChild) != "" {
		_, err := containers.RunBinary(t.Context(), "./testdata/broken") // which is found out after all has been read
		require.Error(t, err)
		return
	}
	log := filepath.Join(t.TempDir(), "log")
	child := exec.Command(os.Args[0], "-test.run", "^TestProgramChanges$", "-test.testlogfile", log)
	child.Env = append(os.Environ(), isChild+"=1")
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	dir, err := filepath.Abs("testdata/broken")
	require.NoError(t, err)
	assert.Contains(t, string(text), "open "+dir+"\n", "where a file that is new is seen, too")
}
