package containers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

// RunBinary builds a Go main package, as "go build" would in this folder (in a
// test: that of the test's package), statically for the system that Docker runs
// on, puts the program into an image with nothing else, and starts a container
// of it as [Run] does: neither a registry nor a Dockerfile is needed.
//
// pkg is an import path or a path such as "./cmd/server". cgo is off. Arguments
// of the program are given with testcontainers.WithCmd, or with [WithListen].
// The program runs as root with an empty file system but for /tmp. See
// [WithBuildFlags].
//
// If the program cannot be built, what the compiler says is in the error.
func RunBinary(ctx context.Context, pkg string, opts ...testcontainers.ContainerCustomizer) (*Server, error) {
	return run(ctx, recipe{
		name:     "Go program " + pkg,
		settings: defaults(),
		build: func(ctx context.Context, d *docker, s *settings) (string, bool, error) {
			arch, err := d.goarch(ctx)
			if err != nil {
				return "", false, err
			}
			program, err := goBuild(ctx, s.folder, pkg, arch, s.buildFlags)
			if err != nil {
				return "", false, err
			}
			img, err := d.importProgram(ctx, program)
			return img, true, err
		},
	}, opts)
}

// importProgram makes an image of a program and nothing else, and returns its
// name. It is imported and not built: a build of the same commits a layer for
// each line of its Dockerfile, and some of Docker's storage drivers take a
// second for each.
func (d *docker) importProgram(ctx context.Context, program []byte) (string, error) {
	archive, err := tarOf([]contextFile{{"tmp/", 0o1777, nil}, {"server", 0o755, program}})
	if err != nil {
		return "", err
	}
	img := "benchmail/binary:" + uuid.NewString()
	res, err := d.api.ImageImport(ctx, client.ImageImportSource{Source: bytes.NewReader(archive), SourceName: "-"}, img,
		client.ImageImportOptions{Changes: []string{`ENTRYPOINT ["/server"]`, "LABEL " + processLabel + "=" + processID}})
	if err != nil {
		return "", err
	}
	defer res.Close()
	// What goes wrong after the first octet is in the text.
	for messages := json.NewDecoder(res); ; {
		var message struct{ Error string }
		switch err := messages.Decode(&message); {
		case err == io.EOF:
			return img, nil
		case err != nil:
			return "", fmt.Errorf("importing %s: %w", img, err)
		case message.Error != "":
			return "", fmt.Errorf("importing %s: %s", img, message.Error)
		}
	}
}

// goarch returns Go's name for the architecture that Docker runs on.
func (d *docker) goarch(ctx context.Context) (string, error) {
	v, err := d.api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", err
	}
	if v.Os != "linux" {
		return "", fmt.Errorf("containers are those of %s here, and RunBinary makes programs for Linux", v.Os)
	}
	return v.Arch, nil
}

// goBuild returns the program, built in a folder; "" is the current one.
func goBuild(ctx context.Context, folder, pkg, arch string, flags []string) ([]byte, error) {
	if err := checkWorkspace(ctx, folder); err != nil {
		return nil, err
	}
	env := append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-f", listFormat)
	list.Args = append(list.Args, flags...)
	list.Args = append(list.Args, "--", pkg)
	list.Env, list.Dir = env, folder
	out, err := outputOf(list)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		name, dir, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if name != "" {
			names = append(names, name)
		}
		if dir != "" {
			// The go command notes which folders a test reads. Without it a test
			// that has passed would not run again when the program has changed.
			_, _ = os.ReadDir(dir)
		}
	}
	// go build would write a library that nobody can run.
	if name := strings.Join(names, " "); name != "main" {
		return nil, fmt.Errorf("it is package %q; RunBinary needs one main package", name)
	}
	dir, err := os.MkdirTemp("", "benchmail")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "server")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", file)
	build.Args = append(build.Args, flags...)
	build.Args = append(build.Args, "--", pkg)
	build.Env, build.Dir = env, folder
	if _, err := outputOf(build); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// listFormat has go list print the names of the packages that were asked for, and
// the folders of all that they need but for the standard library.
const listFormat = "{{if not .DepOnly}}{{.Name}}{{end}}\t{{if not .Standard}}{{.Dir}}{{end}}"

// outputOf returns the standard output of a command, and has its standard error
// in the error.
func outputOf(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:2], " "), err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args[:2], " "), err)
	}
	return out, nil
}
