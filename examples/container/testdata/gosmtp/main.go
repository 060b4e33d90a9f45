// A mail server made with github.com/emersion/go-smtp that accepts all mail and
// keeps nothing. It is what the benchmarks of examples/container measure and what
// examples/gate compares; think of your own server in its place.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"flag"
	"io"
	"log"

	"github.com/emersion/go-smtp"
)

var burn int

func main() {
	listen := flag.String("listen", ":2525", "address to listen at")
	cert := flag.String("cert", "/tls/cert.pem", "certificate")
	key := flag.String("key", "/tls/key.pem", "its key")
	flag.IntVar(&burn, "burn", 0, "how many KiB to hash for each message: a knob that makes it slower")
	flag.Parse()

	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return discard{}, nil }))
	srv.Addr = *listen
	srv.Domain = "localhost"
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	log.Fatal(srv.ListenAndServe())
}

type discard struct{}

func (discard) Mail(string, *smtp.MailOptions) error { return nil }
func (discard) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (discard) Reset()                               {}
func (discard) Logout() error                        { return nil }

func (discard) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	var block [1024]byte
	for range burn {
		block[0] = sha256.Sum256(block[:])[0]
	}
	return err
}
