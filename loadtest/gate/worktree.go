package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Worktree checks a revision of the git repository around the current directory
// out into a temporary folder, and returns the folder in it that corresponds to
// the current directory: in a test, that of the test's package as it was. What is
// built there is the base, what is built here is the head:
//
//	base := gate.Worktree(t, gate.MergeBase(t, "origin/main"))
//	build(t, base, "./cmd/server") // your own: go build -C base …
//	build(t, ".", "./cmd/server")
//
// rev is anything that names one commit: a branch, a tag, HEAD~1, a hash. It is
// taken as it is: of a branch, its last commit; see [MergeBase] for the one that
// the current branch began at. The head is what is in the current directory,
// changes that are not committed included; the base has none of them. If there
// are no changes at all the two are the same, which is a comparison like any
// other.
//
// It is a worktree of git's (see git-worktree(1)) and is removed when the test
// ends; its folder is not named after the repository. Submodules are not checked
// out, and no post-checkout hook is run. A go.work file is there only if it is
// committed, and folders outside of the repository are not where a replace
// directive of a go.mod would look for them. What variables such as GIT_DIR say,
// which git sets for hooks, is not regarded: the current directory decides.
//
// The test fails at once if there is no git, no repository, no such revision,
// or if the revision does not have the folder. A clone as CI systems make it
// mostly has one commit only: actions/checkout needs fetch-depth: 0.
//
// Run such a test with -count=1: go test caches the result of one that has
// passed, and does not see that the revision or a program built by the test
// has changed.
func Worktree(tb testing.TB, rev string) (dir string) {
	tb.Helper()
	r, err := findRepository(tb.Context())
	if err != nil {
		tb.Fatalf("gate: Worktree of %q: %v", rev, err)
	}
	commit, err := r.commit(tb.Context(), rev)
	if err != nil {
		tb.Fatalf("gate: Worktree of %q: %v", rev, err)
	}
	r.sweep(tb.Context())
	root, err := os.MkdirTemp("", worktreePrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		tb.Fatalf("gate: Worktree of %q: %v", rev, err)
	}
	tb.Cleanup(func() {
		tb.Helper()
		if err := r.remove(root); err != nil {
			tb.Errorf("gate: Worktree of %q: removing it: %v", rev, err)
		}
	})
	// A hook of the user's, such as one that installs dependencies, is not what
	// a test should set off.
	if _, err := r.git(tb.Context(), "-c", "core.hooksPath="+os.DevNull, "worktree", "add", "--detach", root, commit); err != nil {
		tb.Fatalf("gate: Worktree of %q: %v", rev, err)
	}
	dir = filepath.Join(root, filepath.FromSlash(r.prefix))
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		tb.Fatalf("gate: Worktree of %q: commit %.12s does not have the folder %s, so there is nothing to compare with", rev, commit, r.prefix)
	}
	return dir
}

// MergeBase returns the hash of the commit at which the current branch (HEAD)
// and rev parted: what a pull request is compared with, so that what has
// happened on the main branch since is not part of the difference. On the
// main branch itself it is the last commit; compare with HEAD~1 there.
//
// It fails the test as [Worktree] does, and if the two have no commit in common.
func MergeBase(tb testing.TB, rev string) (commit string) {
	tb.Helper()
	r, err := findRepository(tb.Context())
	if err != nil {
		tb.Fatalf("gate: MergeBase with %q: %v", rev, err)
	}
	if commit, err = r.mergeBase(tb.Context(), rev); err != nil {
		tb.Fatalf("gate: MergeBase with %q: %v", rev, err)
	}
	return commit
}

const worktreePrefix = "benchmail-gate-"

// removeTime bounds the removal of a worktree.
const removeTime = time.Minute

// A repository is the one around the folder that was current at the time.
type repository struct {
	top    string // of its files
	prefix string // of the current directory in it, "a/b/", or ""
}

func findRepository(ctx context.Context) (*repository, error) {
	var r repository
	// The first fails where there are no files, in a bare repository.
	top, err := r.git(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("git is needed, and not installed: %w", err)
		}
		return nil, fmt.Errorf("the current directory has to be in a git repository with its files: %w", err)
	}
	prefix, err := r.git(ctx, "rev-parse", "--show-prefix")
	return &repository{top: top, prefix: prefix}, err
}

// git runs a command, in the current directory if r has no folder yet, and
// returns what it prints.
func (r *repository) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.top
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(repositoryVariables, name)
	})
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0") // a test can answer nothing
	cmd.WaitDelay = 5 * time.Second                    // for filters that outlive it
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return strings.TrimSuffix(string(out), "\n"), nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &exit):
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("git %s: %w", subcommand(args), err)
}

// subcommand is for errors.
func subcommand(args []string) string {
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return strings.Join(args, " ")
}

// repositoryVariables say where a repository or its parts are: those of "git
// rev-parse --local-env-vars" without those that carry configuration.
var repositoryVariables = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE",
	"GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH",
	"GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}

// commit returns the hash of the commit that rev names.
func (r *repository) commit(ctx context.Context, rev string) (string, error) {
	switch {
	case rev == "":
		return "", errors.New("a revision is needed, such as origin/main")
	case strings.HasPrefix(rev, "-"):
		return "", errors.New("a revision does not begin with a hyphen; git would take it for an option")
	case strings.ContainsAny(rev, "\x00\n"):
		return "", errors.New("a revision has no line break")
	}
	// In two steps: rev^{commit} would be something else for ":/fix bug".
	object, err := r.git(ctx, "rev-parse", "--verify", "--quiet", rev)
	switch {
	case ctx.Err() != nil:
		return "", err
	case err != nil:
		return "", r.unknown(ctx, rev)
	case strings.HasPrefix(object, "^"):
		return "", errors.New("it excludes commits, and one is needed")
	}
	// git takes a hash as it is, without a look at whether it has the object.
	commit, err := r.git(ctx, "rev-parse", "--verify", "--quiet", object+"^{commit}")
	if err == nil {
		return commit, nil
	}
	if kind, err := r.git(ctx, "cat-file", "-t", object); err == nil {
		return "", fmt.Errorf("it is a %s, and a commit is needed", kind)
	}
	return "", r.unknown(ctx, rev)
}

// unknown says what can be done about a revision that git does not find.
func (r *repository) unknown(ctx context.Context, rev string) error {
	if r.shallow(ctx) {
		return errors.New("no such revision in this clone, which is shallow. " + howToDeepen)
	}
	if _, err := r.git(ctx, "rev-parse", "--verify", "--quiet", "refs/remotes/origin/"+rev); err == nil {
		return fmt.Errorf("no such revision here; do you mean %q?", "origin/"+rev)
	}
	return errors.New("no such revision here. Fetch it; CI systems often fetch only the commit that they test: actions/checkout needs fetch-depth: 0")
}

func (r *repository) shallow(ctx context.Context) bool {
	is, err := r.git(ctx, "rev-parse", "--is-shallow-repository")
	return err == nil && is == "true"
}

const howToDeepen = `Fetch its whole history: "git fetch --unshallow origin", or in CI "fetch-depth: 0" for actions/checkout`

func (r *repository) mergeBase(ctx context.Context, rev string) (string, error) {
	other, err := r.commit(ctx, rev)
	if err != nil {
		return "", err
	}
	head, err := r.commit(ctx, "HEAD")
	if err != nil {
		return "", fmt.Errorf("HEAD: %w", err)
	}
	base, err := r.git(ctx, "merge-base", other, head)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		if r.shallow(ctx) {
			return "", errors.New("this clone, which is shallow, does not have the commit at which HEAD and it parted. " + howToDeepen)
		}
		return "", errors.New("HEAD and it have no commit in common")
	}
	return base, err
}

// remove removes a worktree. There is no "git worktree prune", which would
// forget those of the user's too that are on a disk that is away.
func (r *repository) remove(root string) error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	var err error
	if r.has(ctx, root) {
		// Twice: it is locked if it was not made to the end.
		_, err = r.git(ctx, "worktree", "remove", "--force", "--force", root)
	}
	return errors.Join(err, os.RemoveAll(root))
}

// has reports whether git knows a worktree, which it does not if it could not
// make it.
func (r *repository) has(ctx context.Context, root string) bool {
	return slices.ContainsFunc(r.worktrees(ctx), func(other string) bool { return filepath.Base(other) == filepath.Base(root) })
}

// sweep removes the worktrees of tests that were killed, as by Ctrl-C, and could
// not do it themselves. One whose folder is not here may be that of a
// process in another container, and stays.
func (r *repository) sweep(ctx context.Context) {
	for _, root := range r.worktrees(ctx) {
		name, ours := strings.CutPrefix(filepath.Base(root), worktreePrefix)
		pid, _, _ := strings.Cut(name, "-")
		n, err := strconv.Atoi(pid)
		if _, statErr := os.Stat(root); !ours || err != nil || statErr != nil || isRunning(n) {
			continue
		}
		_ = r.remove(root) // or the next test does, and it is none of this one's failures
	}
}

// worktrees returns the folders of all that git knows, with "/" on every system.
func (r *repository) worktrees(ctx context.Context) (roots []string) {
	list, err := r.git(ctx, "worktree", "list", "--porcelain")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(list) {
		if root, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "worktree "); ok {
			roots = append(roots, root)
		}
	}
	return roots
}
