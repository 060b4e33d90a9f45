package containers_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/containers"
	"github.com/benchmail/benchmail/loadtest"
)

// versions makes a git repository of a mail server, with a commit and a tag for
// each version, and a Dockerfile in folder image; the current directory is in
// its folder mail from then on. Nothing has to be downloaded to build it.
func versions(t *testing.T, tags ...string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED, git IS MISSING")
	}
	program, err := os.ReadFile("testdata/minimal/main.go")
	require.NoError(t, err)
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, out)
	}
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	git("init", "--quiet")
	write("go.mod", "module example.org/mail\n\ngo 1.26\n")
	write("mail/server/main.go", string(program))
	perl, err := os.ReadFile("testdata/dockerfile/server.pl")
	require.NoError(t, err)
	dockerfile, err := os.ReadFile("testdata/dockerfile/Dockerfile")
	require.NoError(t, err)
	write("mail/image/Dockerfile", string(dockerfile))
	for _, tag := range tags {
		version := fmt.Sprintf("package main\n\nconst (\n\tversion = %q\n\tburn = 0\n)\n", tag)
		if tag == "broken" {
			version = "package main\n\nvar version = undeclaredName\n"
		}
		write("mail/server/version.go", version)
		write("mail/image/server.pl", strings.ReplaceAll(string(perl), "220 shell ESMTP", "220 shell ESMTP "+tag))
		git("add", "-A")
		git("commit", "--quiet", "-m", tag)
		git("tag", tag)
	}
	t.Chdir(filepath.Join(dir, "mail"))
	t.Cleanup(func() {
		out, err := exec.Command("git", "-C", dir, "worktree", "list").Output()
		assert.NoError(t, err)
		assert.Equal(t, 1, strings.Count(string(out), "\n"), "worktrees are left: %s", out)
	})
}

// minimal has the options of that server.
func minimal(opts ...testcontainers.ContainerCustomizer) []testcontainers.ContainerCustomizer {
	return append([]testcontainers.ContainerCustomizer{
		containers.WithSecurity(loadtest.Plaintext),
		containers.WithListen(func(l containers.Listen) testcontainers.ContainerCustomizer {
			return testcontainers.WithCmd("-listen", l.Addr)
		}),
	}, opts...)
}

func TestSourceString(t *testing.T) {
	for _, tt := range []struct {
		source containers.Source
		want   string
	}{
		{containers.Source{}, "no source"},
		{containers.Image("mail:v1"), "image mail:v1"},
		{containers.Dockerfile("deploy"), "Dockerfile in deploy"},
		{containers.Binary("./cmd/server"), "Go program ./cmd/server"},
		{containers.Binary("./cmd/server").AtRevision("origin/main"), "Go program ./cmd/server at revision origin/main"},
	} {
		assert.Equal(t, tt.want, tt.source.String())
	}
	head := containers.Binary("./cmd/server")
	head.AtRevision("main")
	assert.Equal(t, "Go program ./cmd/server", head.String(), "AtRevision makes another one")
}
