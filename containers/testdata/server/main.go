// A mail server for the tests of package containers. It counts what it accepts
// in a file, one octet a message, so that the count survives a SIGKILL, and it
// can be bad in several ways.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

var (
	listen    = flag.String("listen", ":2525", "address")
	tlsListen = flag.String("listen-tls", "", "address for implicit TLS")
	certFile  = flag.String("cert", "", "certificate")
	keyFile   = flag.String("key", "", "key")
	ownRoot   = flag.String("own-root", "", "make a certificate, and write it to this file")
	mode      = flag.String("mode", "", "exit: end at once. silent: never greet. refuse: greet with 554. eat: use up memory with the first message. leave: end with the first message")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	log.Printf("starting in mode %q", *mode)
	switch *mode {
	case "exit":
		log.Fatal("this server has no configuration")
	case "silent", "refuse":
		bad()
		return
	}
	count, err := os.OpenFile("/count", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	if f, err := os.CreateTemp("", ""); err != nil {
		log.Fatal(err) // RunBinary has promised it
	} else {
		f.Close()
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{count: count}, nil }))
	srv.Domain = "localhost"
	srv.ReadTimeout = time.Minute
	srv.TLSConfig = tlsConfig()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	errs := make(chan error)
	go func() { errs <- srv.Serve(l) }()
	if *tlsListen != "" {
		l, err := tls.Listen("tcp", *tlsListen, srv.TLSConfig)
		if err != nil {
			log.Fatal(err)
		}
		go func() { errs <- srv.Serve(l) }()
	}
	log.Fatal(<-errs)
}

func bad() {
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		if *mode == "refuse" {
			fmt.Fprint(conn, "554 No mail today\r\n")
			conn.Close()
		}
	}
}

func tlsConfig() *tls.Config {
	var cert tls.Certificate
	var err error
	switch {
	case *ownRoot != "":
		cert, err = ownCertificate()
	case *certFile != "":
		cert, err = tls.LoadX509KeyPair(*certFile, *keyFile)
	default:
		return nil
	}
	if err != nil {
		log.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

func ownCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(*ownRoot, text, 0o644)
}

type session struct {
	count io.Writer
	junk  [][]byte
}

func (*session) Mail(string, *smtp.MailOptions) error { return nil }
func (*session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*session) Reset()                               {}
func (*session) Logout() error                        { return nil }

func (s *session) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	switch *mode {
	case "eat":
		for {
			s.junk = append(s.junk, []byte(strings.Repeat("x", 1<<20)))
		}
	case "leave":
		log.Fatal("leaving")
	}
	_, err := s.count.Write([]byte{'.'})
	return err
}
