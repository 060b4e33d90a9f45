package testcert_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/benchmail/benchmail/internal/testcert"
)

// verify is what a TLS client does.
func verify(t *testing.T, cert tls.Certificate, roots *x509.CertPool, name string) error {
	t.Helper()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	require.NoError(t, err)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
	return err
}

func TestLeaf(t *testing.T) {
	cert, err := testcert.Leaf("mx.example")
	require.NoError(t, err)
	roots := testcert.Default().Pool()
	for _, name := range []string{"mx.example", "localhost", "127.0.0.1", "::1"} {
		require.NoError(t, verify(t, cert, roots, name), name)
	}
	var wrong x509.HostnameError
	require.ErrorAs(t, verify(t, cert, roots, "other.example"), &wrong)

	again, err := testcert.Leaf("mx.example")
	require.NoError(t, err)
	require.Equal(t, cert.Certificate, again.Certificate, "made once for a name")
}

// A certificate that was made outside of a bubble, whose clock begins in 2000,
// is good inside, and the other way round.
func TestLeafInBubble(t *testing.T) {
	outside, err := testcert.Leaf("outside.example")
	require.NoError(t, err)
	var inside tls.Certificate
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, verify(t, outside, testcert.Default().Pool(), "localhost"))
		inside, err = testcert.Leaf("inside.example")
		require.NoError(t, err)
	})
	require.NoError(t, verify(t, inside, testcert.Default().Pool(), "localhost"))
}

func TestIssue(t *testing.T) {
	authority, err := testcert.New()
	require.NoError(t, err)
	now := time.Now()

	expired, err := authority.Issue(testcert.Options{NotAfter: now.Add(-time.Hour)})
	require.NoError(t, err)
	var invalid x509.CertificateInvalidError
	require.ErrorAs(t, verify(t, expired, authority.Pool(), "localhost"), &invalid)
	require.Equal(t, x509.Expired, invalid.Reason)

	early, err := authority.Issue(testcert.Options{NotBefore: now.Add(time.Hour)})
	require.NoError(t, err)
	require.ErrorAs(t, verify(t, early, authority.Pool(), "localhost"), &invalid)

	named, err := authority.Issue(testcert.Options{Hosts: []string{"mx.example", "192.0.2.1"}})
	require.NoError(t, err)
	require.NoError(t, verify(t, named, authority.Pool(), "192.0.2.1"))
	var wrong x509.HostnameError
	require.ErrorAs(t, verify(t, named, authority.Pool(), "localhost"), &wrong)

	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, verify(t, named, testcert.Default().Pool(), "mx.example"), &unknown)
}

func TestPEM(t *testing.T) {
	cert, err := testcert.Leaf("")
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(testcert.Default().PEM()))
	require.NoError(t, verify(t, cert, roots, "localhost"))
}
