// A mail server that needs nothing but the standard library, so that it can be
// built where there are no modules: the repositories that tests make have it in
// several versions. It accepts all and has no TLS.
package main

import (
	"bufio"
	"crypto/sha256"
	"flag"
	"fmt"
	"log"
	"net"
	"strings"
)

func main() {
	listen := flag.String("listen", ":25", "address")
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn)
	}
}

func serve(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
	say := func(reply string) { fmt.Fprintf(out, "%s\r\n", reply) }
	say("220 minimal ESMTP " + version)
	for {
		if in.Buffered() == 0 {
			out.Flush()
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "DATA":
			say("354 Go ahead")
			out.Flush()
			for line != ".\r\n" {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			work()
			say("250 OK")
		case "QUIT":
			say("221 Bye")
			out.Flush()
			return
		default:
			say("250 OK")
		}
	}
}

// work is what a message costs besides.
func work() {
	var block [1024]byte
	for range burn {
		block[0] = sha256.Sum256(block[:])[0]
	}
}
