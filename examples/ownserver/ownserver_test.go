// Package ownserver shows what the author of a mail server writes to benchmark
// it. The server is one made with github.com/emersion/go-smtp; any other that
// listens somewhere will do.
//
//	go test -run '^$' -bench . -benchtime 5000x ./examples/ownserver
//
// prints, on two busy cores,
//
//	BenchmarkDelivery-2             5000    168715 ns/op   1.22 MB/s   0 errors/op   116409494 max-ns   5927 msgs/s   584703 p50-ns   5206015 p90-ns   44924927 p99-ns
//	BenchmarkDeliveryReconnect-2    5000   3326135 ns/op   0.06 MB/s   27525119 dial-p50-ns   169476095 dial-p99-ns   0 errors/op   367369844 max-ns   300.6 msgs/s   40927231 p50-ns   88211455 p90-ns   206438399 p99-ns
package ownserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/benchmail/benchmail/loadtest"
	"github.com/benchmail/benchmail/smtptest"
)

// The benchmarks: a Dialer with the server's address and its root certificate.

func BenchmarkDelivery(b *testing.B) {
	addr, roots := startServer(b)
	d := &loadtest.SMTP{Addr: addr, TLSConfig: &tls.Config{RootCAs: roots}} // STARTTLS, verified
	smtptest.Benchmark(b, d, loadtest.Config{Sessions: 16})
}

// Clients that send one message and leave make a server spend its time on
// handshakes: dial-p99-ns says what they wait for.
func BenchmarkDeliveryReconnect(b *testing.B) {
	addr, roots := startServer(b)
	d := &loadtest.SMTP{Addr: addr, TLSConfig: &tls.Config{RootCAs: roots}, ResetOnClose: true}
	smtptest.Benchmark(b, d, loadtest.Config{Sessions: 16, OpsPerSession: 1})
}

// The server under test.

func startServer(tb testing.TB) (addr string, roots *x509.CertPool) {
	cert, roots := newCertificate(tb)
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return discard{}, nil }))
	srv.Domain = "localhost"
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); err != nil && err != smtp.ErrServerClosed {
			tb.Errorf("Serve: %v", err)
		}
	}()
	tb.Cleanup(func() {
		srv.Close()
		<-done
	})
	return l.Addr().String(), roots
}

// discard is a mail server's session that accepts all and keeps nothing.
type discard struct{}

func (discard) Mail(from string, opts *smtp.MailOptions) error { return nil }
func (discard) Rcpt(to string, opts *smtp.RcptOptions) error   { return nil }
func (discard) Reset()                                         {}
func (discard) Logout() error                                  { return nil }

func (discard) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// newCertificate returns a self-signed certificate for 127.0.0.1, and the pool
// that trusts it.
func newCertificate(tb testing.TB) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}
