// A mail server made with github.com/emersion/go-smtp that accepts all mail and
// keeps nothing. It is what the benchmarks of examples/container measure; think
// of your own server in its place.
package main

import (
	"crypto/tls"
	"flag"
	"io"
	"log"

	"github.com/emersion/go-smtp"
)

func main() {
	listen := flag.String("listen", ":2525", "address to listen at")
	cert := flag.String("cert", "/tls/cert.pem", "certificate")
	key := flag.String("key", "/tls/key.pem", "its key")
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
	return err
}
