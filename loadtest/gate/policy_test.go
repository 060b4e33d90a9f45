package gate_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// TestKnownDirections: the directions that are known without a Unit line are
// those that smtptest prints, and all of them.
func TestKnownDirections(t *testing.T) {
	source, err := os.ReadFile("../../smtptest/report.go")
	require.NoError(t, err)
	lines := regexp.MustCompile(`(?m)^(?:const unitLines = .)?Unit (\S+) better=(\w+)$`).FindAllStringSubmatch(string(source), -1)
	require.GreaterOrEqual(t, len(lines), 12)
	for _, m := range lines {
		assert.Equal(t, m[2], gate.DirectionOf(m[1]).String(), m[1])
	}
	assert.Equal(t, "unknown", gate.DirectionOf("frobs/op").String())
}
