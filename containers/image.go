package containers

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/google/uuid"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

// RunDockerfile builds the image of the Dockerfile in dir, the build context,
// and starts a container of it as [Run] does. The image is removed along with
// the container, and with it what Docker would have for the next build, unless
// it has BuildKit. To keep the image, and have the next build take no longer
// than what has changed:
//
//	containers.WithBuild(func(df *testcontainers.FromDockerfile) { df.KeepImage = true })
//
// If the image cannot be built, the end of the build's output is in the error.
func RunDockerfile(ctx context.Context, dir string, opts ...testcontainers.ContainerCustomizer) (*Server, error) {
	return run(ctx, recipe{
		name:     "Dockerfile in " + dir,
		settings: defaults(),
		build: func(ctx context.Context, d *docker, s *settings) (string, bool, error) {
			df := testcontainers.FromDockerfile{Context: dir, Repo: "benchmail/dockerfile", Tag: uuid.NewString()}
			for _, fn := range s.build {
				fn(&df)
			}
			if err := s.moveBuild(&df); err != nil {
				return "", false, err
			}
			if df.ContextArchive == nil {
				name := df.Dockerfile
				if name == "" {
					name = "Dockerfile"
				}
				if _, err := os.Stat(filepath.Join(df.Context, name)); err != nil {
					return "", false, err
				}
			}
			img, err := d.build(ctx, df)
			return img, !df.KeepImage, err
		},
	}, opts)
}

// build builds an image and returns its name.
func (d *docker) build(ctx context.Context, df testcontainers.FromDockerfile) (string, error) {
	return againWithoutCache(df, func(df testcontainers.FromDockerfile) (string, error) { return d.buildOnce(ctx, df) })
}

// againWithoutCache has a build done once more if what it had found in Docker's
// cache went while it was at it: without BuildKit the cache are the images that
// other builds have made on their way, and who removes the result of such a
// build, as we do, removes them with it. Two tests with one Dockerfile are
// enough. The second try does without the cache, and has images of its own.
func againWithoutCache(df testcontainers.FromDockerfile, build func(testcontainers.FromDockerfile) (string, error)) (string, error) {
	img, err := build(df)
	if err == nil || !isCacheLost(err) {
		return img, err
	}
	if df.ContextArchive != nil {
		if _, err := df.ContextArchive.Seek(0, io.SeekStart); err != nil {
			return "", fmt.Errorf("the build's context cannot be read again: %w", err)
		}
	}
	modify := df.BuildOptionsModifier
	df.BuildOptionsModifier = func(o *client.ImageBuildOptions) {
		if modify != nil {
			modify(o)
		}
		o.NoCache = true
	}
	return build(df)
}

// isCacheLost goes by the text, as a build's error has nothing else.
func isCacheLost(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "failed to get digest sha256:") || strings.Contains(text, "no such image: sha256:")
}

func (d *docker) buildOnce(ctx context.Context, df testcontainers.FromDockerfile) (string, error) {
	var out tail
	if df.BuildLogWriter == nil {
		df.BuildLogWriter = &out
	} else {
		df.BuildLogWriter = io.MultiWriter(&out, df.BuildLogWriter)
	}
	req := &testcontainers.ContainerRequest{FromDockerfile: df}
	if !df.KeepImage {
		req.Labels = map[string]string{processLabel: processID}
	}
	img, err := d.provider.BuildImage(ctx, req)
	if err != nil {
		if text := out.String(); text != "" {
			return "", fmt.Errorf("%w\nthe end of the build's output:\n%s", err, text)
		}
		return "", err
	}
	return img, nil
}

//go:embed images
var images embed.FS

// building has one lock for each image of this package, so that tests that run
// in parallel build it once.
var building struct {
	mu    sync.Mutex // guards locks
	locks map[string]*sync.Mutex
}

func lockBuild(tag string) (unlock func()) {
	building.mu.Lock()
	if building.locks == nil {
		building.locks = make(map[string]*sync.Mutex)
	}
	l := building.locks[tag]
	if l == nil {
		l = &sync.Mutex{}
		building.locks[tag] = l
	}
	building.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// embedded returns the image of one of this package's own Dockerfiles. It is
// built if Docker does not have it, and kept. Its tag is a hash of all that it
// is built from: one that another version of this package has built is not
// taken.
func embedded(name string) func(context.Context, *docker, *settings) (string, bool, error) {
	return func(ctx context.Context, d *docker, _ *settings) (string, bool, error) {
		archive, hash, err := contextOf(name)
		if err != nil {
			return "", false, err
		}
		repo, tag := "benchmail/"+name, hash[:16]
		img := repo + ":" + tag
		defer lockBuild(img)()
		_, err = d.api.ImageInspect(ctx, img)
		switch {
		case err == nil:
			return img, false, nil
		case !errdefs.IsNotFound(err):
			return "", false, err
		}
		img, err = d.build(ctx, testcontainers.FromDockerfile{
			ContextArchive: bytes.NewReader(archive),
			Repo:           repo,
			Tag:            tag,
			KeepImage:      true,
		})
		return img, false, err
	}
}

// contextOf returns the build context of an embedded image, and its hash.
func contextOf(name string) (archive []byte, hash string, err error) {
	var files []contextFile
	dir := path.Join("images", name)
	err = fs.WalkDir(images, dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := images.ReadFile(p)
		if err != nil {
			return err
		}
		files = append(files, contextFile{strings.TrimPrefix(p, dir+"/"), 0o644, content})
		return nil
	})
	if err == nil && len(files) == 0 {
		err = errors.New("no files")
	}
	if err != nil {
		return nil, "", fmt.Errorf("embedded image %s: %w", name, err)
	}
	if archive, err = tarOf(files); err != nil {
		return nil, "", err
	}
	// The archive is the same whenever its files are: it has no times.
	sum := sha256.Sum256(archive)
	return archive, hex.EncodeToString(sum[:]), nil
}

type contextFile struct {
	name    string // a folder's ends with a slash
	mode    int64
	content []byte
}

func tarOf(files []contextFile) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
