// Package testcert makes the certificates that tests serve TLS with: one
// authority for the process and leaves that it signs.
//
// Certificates are valid from 1999 to 2100 unless told otherwise. They are
// cached for the process, and a test may run in a testing/synctest bubble, whose
// clock begins in 2000: "valid from an hour ago" would be wrong on one side.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"
)

var (
	notBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// An Authority signs leaves. Its methods may be called from many goroutines.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Options say what kind of leaf to make. The zero value is a valid certificate
// for localhost, 127.0.0.1 and ::1.
type Options struct {
	// Hosts are the names and IP addresses the certificate is for. nil means
	// localhost, 127.0.0.1 and ::1.
	Hosts []string
	// NotBefore and NotAfter bound its validity. Zero means 1999 and 2100.
	NotBefore, NotAfter time.Time
}

// Default returns the authority of this process. It is made on first use, and
// nobody outside the process trusts it.
var Default = sync.OnceValue(func() *Authority {
	a, err := New()
	if err != nil {
		panic(err) // the template is constant and the key good
	}
	return a
})

// New makes an authority apart from the default one: what signs a certificate
// that a client must not trust.
func New() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("testcert: key of the authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"benchmail test authority"}},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("testcert: authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("testcert: authority: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// Issue makes a new leaf: an ECDSA P-256 certificate for TLS servers.
func (a *Authority) Issue(opt Options) (tls.Certificate, error) {
	if opt.Hosts == nil {
		opt.Hosts = localHosts
	}
	if opt.NotBefore.IsZero() {
		opt.NotBefore = notBefore
	}
	if opt.NotAfter.IsZero() {
		opt.NotAfter = notAfter
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("testcert: key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{Organization: []string{"benchmail test server"}},
		NotBefore:    opt.NotBefore,
		NotAfter:     opt.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range opt.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("testcert: certificate for %s: %w", strings.Join(opt.Hosts, ", "), err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("testcert: certificate for %s: %w", strings.Join(opt.Hosts, ", "), err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

var localHosts = []string{"localhost", "127.0.0.1", "::1"}

var leaves struct {
	mu     sync.Mutex // guards byHost
	byHost map[string]tls.Certificate
}

// Leaf returns a valid certificate of the default authority for host and for
// localhost, 127.0.0.1 and ::1. There is one for each host in a process, so that
// a thousand servers do not make a thousand keys.
func Leaf(host string) (tls.Certificate, error) {
	leaves.mu.Lock()
	defer leaves.mu.Unlock()
	if cert, ok := leaves.byHost[host]; ok {
		return cert, nil
	}
	hosts := localHosts
	if host != "" && host != "localhost" {
		hosts = append([]string{host}, hosts...)
	}
	cert, err := Default().Issue(Options{Hosts: hosts})
	if err != nil {
		return tls.Certificate{}, err
	}
	if leaves.byHost == nil {
		leaves.byHost = make(map[string]tls.Certificate)
	}
	leaves.byHost[host] = cert
	return cert, nil
}

// Certificate returns the authority's own certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Pool returns a new pool with the authority's certificate.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// PEM returns the authority's certificate in PEM.
func (a *Authority) PEM() []byte { return EncodePEM(a.cert.Raw) }

// EncodePEM returns certificates in PEM.
func EncodePEM(certificates ...[]byte) []byte {
	var out []byte
	for _, der := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// serial returns a random serial number: clients may remember certificates by
// issuer and serial number.
func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return n.Add(n, big.NewInt(1))
}
