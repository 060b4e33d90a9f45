package turn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is tested here is not who the peer is.
var clientConfig = &tls.Config{InsecureSkipVerify: true}

func serverConfig(tb testing.TB) *tls.Config {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(tb, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func tlsPair(tb testing.TB) (client, server net.Conn) {
	tb.Helper()
	conn, peer := socketPair(tb, "tcp", "127.0.0.1:0")
	s := tls.Server(peer, serverConfig(tb))
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	c := tls.Client(conn, clientConfig)
	require.NoError(tb, c.Handshake())
	require.NoError(tb, <-done)
	return c, s
}
