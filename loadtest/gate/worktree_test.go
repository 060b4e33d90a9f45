package gate_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// A repo is a git repository for one test, with its own idea of who the user
// is.
type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED, git IS MISSING")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for _, v := range []string{"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX"} { // as in a hook of ours
		t.Setenv(v, "")
		os.Unsetenv(v)
	}
	t.Setenv("TMPDIR", t.TempDir()) // where worktrees are to be
	r := &repo{t, t.TempDir()}
	r.git("init", "--quiet", "--initial-branch=main")
	r.commit("first", "server/version", "first")
	r.git("tag", "-a", "-m", "annotated", "v1")
	r.commit("second", "server/version", "second")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

// commit writes a file, if it is named, and commits all.
func (r *repo) commit(message, file, text string) string {
	r.t.Helper()
	if file != "" {
		r.write(file, text)
	}
	r.git("add", "-A")
	r.git("commit", "--quiet", "--allow-empty", "-m", message)
	return r.git("rev-parse", "HEAD")
}

func (r *repo) write(file, text string) {
	r.t.Helper()
	file = filepath.Join(r.dir, file)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(r.t, os.WriteFile(file, []byte(text), 0o755))
}

// tidy checks that there is nothing left behind.
func (r *repo) tidy() {
	r.t.Helper()
	assert.Len(r.t, strings.Split(r.git("worktree", "list"), "\n"), 1, "worktrees")
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(r.t, err)
	assert.Empty(r.t, left, "temporary folders")
}

// A worktreeTB is a test that may fail. It has a context that ends before its
// Cleanup functions, as a real one.
type worktreeTB struct {
	testing.TB
	ctx     context.Context
	fatal   string
	errors  []string
	cleanup []func()
}

func (f *worktreeTB) Helper()                  {}
func (f *worktreeTB) Context() context.Context { return f.ctx }
func (f *worktreeTB) Cleanup(fn func())        { f.cleanup = append(f.cleanup, fn) }
func (f *worktreeTB) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *worktreeTB) Fatalf(format string, args ...any) {
	f.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func runWorktreeTB(t *testing.T, test func(testing.TB)) *worktreeTB {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &worktreeTB{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	cancel()
	for i := len(f.cleanup) - 1; i >= 0; i-- {
		f.cleanup[i]()
	}
	assert.Empty(t, f.errors)
	return f
}

func TestWorktree(t *testing.T) {
	r := newRepo(t)
	r.write("server/version", "not committed")
	hash := r.git("rev-parse", "v1^{commit}")
	for _, tt := range []struct{ name, cwd, rev, want, why string }{
		{"branch", "server", "main", "second", "as it is committed: the changes are the head's"},
		{"the same as the head", "server", "HEAD", "second", "valid, too"},
		{"annotated tag", "server", "v1", "first", "the commit that it is for"},
		{"ancestor", "server", "HEAD~1", "first", "the usual one on the main branch"},
		{"hash", "server", hash, "first", "what MergeBase returns"},
		{"short hash", "server", hash[:8], "first", "as people write it"},
		{"message", "server", ":/first", "first", "git's other names work, too"},
		{"top", ".", "v1", "first", "without a prefix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(filepath.Join(r.dir, tt.cwd))
			f := runWorktreeTB(t, func(tb testing.TB) {
				dir := gate.Worktree(tb, tt.rev)
				name := "version"
				if tt.cwd == "." {
					name = "server/version"
				}
				text, err := os.ReadFile(filepath.Join(dir, name))
				assert.NoError(t, err)
				assert.Equal(t, tt.want, string(text), tt.why)
				// What is made there must not keep it from being removed.
				assert.NoError(t, os.WriteFile(filepath.Join(dir, "built"), nil, 0o444))
			})
			assert.Empty(t, f.fatal)
			r.tidy()
		})
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "server/version"))
	require.NoError(t, err)
	assert.Equal(t, "not committed", string(text), "the user's files are theirs")
}

func TestWorktreeFails(t *testing.T) {
	r := newRepo(t)
	r.git("update-ref", "refs/remotes/origin/release", "HEAD")
	r.commit("third", "new/test.go", "package new")
	tree := r.git("rev-parse", "HEAD^{tree}")
	outside, bare, shallow := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "clone")
	r.git("clone", "--quiet", "--bare", r.dir, bare)
	r.git("clone", "--quiet", "--depth=1", "--branch=main", "file://"+r.dir, shallow)
	unborn := t.TempDir()
	r.git("init", "--quiet", unborn)
	for _, tt := range []struct {
		name, cwd, rev string
		says           []string
		why            string
	}{
		{"no revision", r.dir, "", []string{"is needed"}, "it is not HEAD"},
		{"option", r.dir, "--upload-pack=touch x", []string{"hyphen"}, "it would be git's option"},
		{"short option", r.dir, "-x", []string{"hyphen"}, "it would be git's option"},
		{"line break", r.dir, "main\nmain", []string{"line break"}, "it is none"},
		{"unknown", r.dir, "nonsense", []string{`"nonsense"`, "no such revision", "fetch-depth: 0"}, "what to do"},
		{"unknown hash", r.dir, strings.Repeat("1", 40), []string{"no such revision"}, "git says nothing by itself"},
		{"branch of the remote", r.dir, "release", []string{`"origin/release"`}, "the usual mistake in CI"},
		{"range", r.dir, "HEAD~1..HEAD", []string{"no such revision"}, "two commits"},
		{"excluded", r.dir, "^main", []string{"excludes"}, "none"},
		{"tree", r.dir, tree, []string{"is a tree"}, "what it is"},
		{"folder is new", filepath.Join(r.dir, "new"), "v1", []string{"does not have the folder new/"}, "and what follows"},
		{"no repository", outside, "main", []string{"git repository"}, "where to run it"},
		{"bare repository", bare, "main", []string{"git repository", "work tree"}, "there is no folder to compare with"},
		{"shallow clone", shallow, "HEAD~1", []string{"shallow", "fetch-depth: 0", "git fetch --unshallow"}, "what CI systems make"},
		{"no commits", unborn, "HEAD", []string{"no such revision"}, "a repository of a minute ago"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(tt.cwd)
			f := runWorktreeTB(t, func(tb testing.TB) {
				gate.Worktree(tb, tt.rev)
				t.Error("the test goes on")
			})
			assert.Contains(t, f.fatal, "gate: Worktree of "+strconv.Quote(tt.rev))
			for _, s := range tt.says {
				assert.Contains(t, f.fatal, s, tt.why)
			}
			r.tidy()
		})
	}
	t.Run("git is missing", func(t *testing.T) {
		t.Chdir(r.dir)
		path := os.Getenv("PATH")
		t.Setenv("PATH", outside)
		f := runWorktreeTB(t, func(tb testing.TB) { gate.Worktree(tb, "main") })
		t.Setenv("PATH", path)
		assert.Contains(t, f.fatal, "git is needed")
	})
}

// TestWorktreeInHook has the variables that git sets for hooks, which point at
// another repository's.
func TestWorktreeInHook(t *testing.T) {
	r := newRepo(t)
	other := t.TempDir()
	r.git("init", "--quiet", other)
	t.Chdir(r.dir)
	f := runWorktreeTB(t, func(tb testing.TB) {
		for name, value := range map[string]string{
			"GIT_DIR": filepath.Join(other, ".git"), "GIT_INDEX_FILE": filepath.Join(other, "index"), "GIT_WORK_TREE": other, "GIT_PREFIX": "server/",
		} {
			t.Setenv(name, value)
		}
		dir := gate.Worktree(tb, "v1")
		text, err := os.ReadFile(filepath.Join(dir, "server/version"))
		assert.NoError(t, err)
		assert.Equal(t, "first", string(text))
	})
	assert.Empty(t, f.fatal)
	assert.NoFileExists(t, filepath.Join(other, "index"))
	for _, name := range []string{"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX"} {
		os.Unsetenv(name)
	}
	r.tidy()
}

// TestWorktreeRunsNoHook: git runs post-checkout for a new worktree.
func TestWorktreeRunsNoHook(t *testing.T) {
	r := newRepo(t)
	ran := filepath.Join(r.dir, "ran")
	r.write(".git/hooks/post-checkout", "#!/bin/sh\ntouch '"+ran+"'\n")
	t.Chdir(r.dir)
	f := runWorktreeTB(t, func(tb testing.TB) { gate.Worktree(tb, "v1") })
	assert.Empty(t, f.fatal)
	assert.NoFileExists(t, ran)
}

// TestWorktreeIsRemoved in whatever way the test ends.
func TestWorktreeIsRemoved(t *testing.T) {
	r := newRepo(t)
	t.Chdir(r.dir)
	for _, tt := range []struct {
		name string
		end  func(tb testing.TB, dir string)
		why  string
	}{
		{"failed", func(tb testing.TB, dir string) { tb.Fatalf("the head is worse") }, "the usual end"},
		{"folder is gone", func(tb testing.TB, dir string) { assert.NoError(t, os.RemoveAll(dir)) }, "somebody has cleaned up"},
		{"current directory is another", func(tb testing.TB, dir string) { t.Chdir("/") }, "which one was meant is decided"},
		{"two at once", func(tb testing.TB, dir string) { gate.Worktree(tb, "main") }, "base and head are both revisions"},
		{"locked", func(tb testing.TB, dir string) { r.git("worktree", "lock", dir) }, "as one is that is not made to the end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runWorktreeTB(t, func(tb testing.TB) { tt.end(tb, gate.Worktree(tb, "v1")) })
			r.tidy()
		})
	}
}

// TestWorktreeOfKilledTest: it is removed by the next test, and nobody else's.
func TestWorktreeOfKilledTest(t *testing.T) {
	r := newRepo(t)
	t.Chdir(r.dir)
	killed := exec.Command("git", "version")
	require.NoError(t, killed.Run())
	worktree := func(name string) string {
		dir := filepath.Join(os.Getenv("TMPDIR"), name)
		r.git("worktree", "add", "--quiet", "--detach", dir, "v1")
		return dir
	}
	stale := worktree(fmt.Sprintf("benchmail-gate-%d-1", killed.Process.Pid))
	elsewhere := worktree(fmt.Sprintf("benchmail-gate-%d-2", killed.Process.Pid))
	require.NoError(t, os.RemoveAll(elsewhere))
	running := worktree(fmt.Sprintf("benchmail-gate-%d-1", os.Getpid()))
	users := worktree("mine")
	f := runWorktreeTB(t, func(tb testing.TB) { gate.Worktree(tb, "v1") })
	assert.Empty(t, f.fatal)
	assert.NoDirExists(t, stale)
	assert.DirExists(t, running, "a test that runs at the same time")
	assert.DirExists(t, users, "it is none of ours")
	list := r.git("worktree", "list")
	assert.NotContains(t, list, filepath.Base(stale))
	assert.Contains(t, list, filepath.Base(elsewhere), "it may be in another container")
}

func TestMergeBase(t *testing.T) {
	r := newRepo(t)
	parted := r.git("rev-parse", "HEAD")
	r.git("checkout", "--quiet", "-b", "change")
	r.commit("a change", "server/version", "change")
	r.git("checkout", "--quiet", "main")
	last := r.commit("meanwhile", "server/version", "third")
	r.git("checkout", "--quiet", "--orphan", "other")
	r.commit("other", "", "")
	r.git("checkout", "--quiet", "change")
	shallow := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "--quiet", "--depth=1", "--no-single-branch", "--branch=change", "file://"+r.dir, shallow)
	for _, tt := range []struct {
		name, cwd, head, rev, want, says, why string
	}{
		{"branch", r.dir, "change", "main", parted, "", "what main got since is none of the change's"},
		{"main itself", r.dir, "main", "main", last, "", "there is no difference but what is not committed"},
		{"ancestor", r.dir, "change", "HEAD~1", parted, "", "it is its own"},
		{"nothing in common", r.dir, "change", "other", "", "no commit in common", "nothing to compare with"},
		{"unknown", r.dir, "change", "nonsense", "", "no such revision", "as for Worktree"},
		{"option", r.dir, "change", "--all", "", "hyphen", "as for Worktree"},
		{"shallow clone", shallow, "change", "origin/main", "", "fetch-depth: 0", "both ends are there, and not what is between"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.git("checkout", "--quiet", tt.head)
			t.Chdir(tt.cwd)
			var got string
			f := runWorktreeTB(t, func(tb testing.TB) { got = gate.MergeBase(tb, tt.rev) })
			assert.Equal(t, tt.want, got, tt.why)
			assert.Contains(t, f.fatal, tt.says, tt.why)
			assert.Equal(t, tt.says == "", f.fatal == "", f.fatal)
		})
	}
}
