package containers

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"

	"github.com/testcontainers/testcontainers-go"

	"github.com/benchmail/benchmail/internal/testcert"
)

// certificate is what was made for one container.
type certificate struct {
	roots     *x509.CertPool
	cert, key []byte // PEM
}

// makeCertificate makes an authority for this container alone, so that what
// another container answers with is not taken for this one's.
func (srv *Server) makeCertificate() error {
	authority, err := testcert.New()
	if err != nil {
		return err
	}
	leaf, err := authority.Issue(testcert.Options{Hosts: []string{"localhost", "127.0.0.1", "::1", srv.docker.host}})
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	srv.cert = certificate{
		roots: authority.Pool(),
		cert:  testcert.EncodePEM(leaf.Certificate...),
		key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
	return nil
}

// files returns the certificate's files. The key may be read by everybody in
// the container, as nobody knows as whom the server runs.
func (srv *Server) files() []testcontainers.ContainerFile {
	if srv.certFile == "" {
		return nil
	}
	return []testcontainers.ContainerFile{
		{Reader: bytes.NewReader(srv.cert.cert), ContainerFilePath: srv.certFile, FileMode: 0o644},
		{Reader: bytes.NewReader(srv.cert.key), ContainerFilePath: srv.keyFile, FileMode: 0o644},
	}
}

// maxRoots bounds the file of WithRootFile. A system's bundle has 200 KB.
const maxRoots = 4 << 20

// readRoots reads the file of WithRootFile.
func (srv *Server) readRoots(ctx context.Context) error {
	r, err := srv.CopyFileFromContainer(ctx, srv.rootFile)
	if err != nil {
		return fmt.Errorf("WithRootFile(%q): %w", srv.rootFile, err)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxRoots))
	if err != nil {
		return fmt.Errorf("WithRootFile(%q): %w", srv.rootFile, err)
	}
	if srv.roots == nil {
		srv.roots = x509.NewCertPool()
	}
	if !srv.roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("WithRootFile(%q): there is no certificate in PEM in it", srv.rootFile)
	}
	return nil
}
