package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/loadtest/gate"
)

// A Source is where a server under test comes from: one that [AB] starts.
type Source struct {
	kind sourceKind
	what string // image, folder or package
	opts []testcontainers.ContainerCustomizer
	rev  string
	// atRevision is whether rev was given: "" is none and an error.
	atRevision bool
}

type sourceKind int

const (
	noSource sourceKind = iota
	imageSource
	dockerfileSource
	binarySource
)

// Image is the source of a server that [Run] starts.
func Image(img string, opts ...testcontainers.ContainerCustomizer) Source {
	return Source{kind: imageSource, what: img, opts: opts}
}

// Dockerfile is the source of a server that [RunDockerfile] starts.
func Dockerfile(dir string, opts ...testcontainers.ContainerCustomizer) Source {
	return Source{kind: dockerfileSource, what: dir, opts: opts}
}

// Binary is the source of a server that [RunBinary] starts.
func Binary(pkg string, opts ...testcontainers.ContainerCustomizer) Source {
	return Source{kind: binarySource, what: pkg, opts: opts}
}

// AtRevision returns the same source as it was at a revision of the git
// repository around the current directory: a branch, a tag, HEAD~1, or what
// [gate.MergeBase] returns. It is built in a temporary worktree, see
// [gate.Worktree], in the folder that corresponds to the current directory, and
// with the go.mod of that revision; the options are those of now. A server that
// got a new flag has to be told so by the test that knows both.
//
// It is for Dockerfile and Binary: an image has tags instead. The folder of a
// Dockerfile has to be relative and in the repository. A go.work file is the
// revision's own; the environment variable GOWORK, which would have files of the
// head built in its place, is refused.
func (s Source) AtRevision(rev string) Source {
	s.rev, s.atRevision = rev, true
	return s
}

// String says what it is, for people.
func (s Source) String() string {
	text := [...]string{"no source", "image ", "Dockerfile in ", "Go program "}[s.kind] + s.what
	if s.atRevision {
		text += " at revision " + s.rev
	}
	return text
}

// check finds what is wrong before anything is started.
func (s Source) check() error {
	switch {
	case s.kind == noSource:
		return errors.New("the Source is the zero value: make one with Image, Dockerfile or Binary")
	case !s.atRevision:
		return nil
	case s.kind == imageSource:
		return fmt.Errorf("AtRevision(%q) is for Dockerfile and Binary: an image is built already, name the tag of an older one", s.rev)
	case s.kind == dockerfileSource && filepath.IsAbs(s.what):
		return fmt.Errorf("AtRevision(%q) needs a folder relative to the current directory; %s is the same one at each revision", s.rev, s.what)
	}
	return nil
}

// An origin is what a Source has to say to the functions Run….
type origin struct {
	label  string // in place of the recipe's name; "" leaves it
	folder string // to build in; "" is the current one
	built  string // the image, if it has been built; it is not removed then
}

// run starts a server of s.
func (s Source) run(ctx context.Context, o origin, files *fileContents) (*Server, error) {
	opts := append(slices.Clone(s.opts), files.option(), Option(func(to *settings) error {
		to.origin = o
		return nil
	}))
	switch s.kind {
	case dockerfileSource:
		return RunDockerfile(ctx, s.what, opts...)
	case binarySource:
		return RunBinary(ctx, s.what, opts...)
	}
	return Run(ctx, s.what, opts...)
}

// worktree returns the folder to build s in.
func (s Source) worktree(tb testing.TB) string {
	if !s.atRevision {
		return ""
	}
	return gate.Worktree(tb, s.rev)
}

// moveBuild has a Dockerfile of another revision built in that revision's
// folder, wherever WithBuild says it is.
func (o origin) moveBuild(df *testcontainers.FromDockerfile) error {
	switch {
	case o.folder == "":
		return nil
	case df.ContextArchive != nil || filepath.IsAbs(df.Context):
		return errors.New("AtRevision needs a build context that is a folder relative to the current directory, and WithBuild sets another one")
	}
	df.Context = filepath.Join(o.folder, df.Context)
	return nil
}

// checkWorkspace refuses a go.work that is in force in the folder of another
// revision as it is here: what is built there would be the files of here. It
// comes from the environment, as the folders have none in common.
func checkWorkspace(ctx context.Context, folder string) error {
	if folder == "" {
		return nil
	}
	var found [2]string
	for i, dir := range []string{"", folder} {
		cmd := exec.CommandContext(ctx, "go", "env", "GOWORK")
		cmd.Dir = dir
		out, err := outputOf(cmd)
		if err != nil {
			return err
		}
		found[i] = strings.TrimSpace(string(out))
	}
	if work := found[0]; work == found[1] && work != "" && work != "off" {
		return fmt.Errorf("GOWORK=%s is for the files of the current directory, not for those of another revision: unset it", work)
	}
	return nil
}

// fileContents are what the options of a Source read from an io.Reader, which
// can be read once, for the containers that are started with the same options.
type fileContents struct{ read map[io.Reader][]byte }

// option comes after those of the Source.
func (c *fileContents) option() testcontainers.CustomizeRequestOption {
	return func(req *testcontainers.GenericContainerRequest) error {
		for i := range req.Files {
			f := &req.Files[i]
			if f.Reader == nil || !reflect.TypeOf(f.Reader).Comparable() {
				continue
			}
			content, ok := c.read[f.Reader]
			if !ok {
				var err error
				if content, err = io.ReadAll(f.Reader); err != nil {
					return fmt.Errorf("reading what is to be %s: %w", f.ContainerFilePath, err)
				}
				if c.read == nil {
					c.read = make(map[io.Reader][]byte)
				}
				c.read[f.Reader] = content
			}
			f.Reader = bytes.NewReader(content)
		}
		return nil
	}
}
