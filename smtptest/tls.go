package smtptest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/benchmail/benchmail/internal/testcert"
	"github.com/benchmail/benchmail/internal/turn"
)

// ClientTLSConfig returns a new configuration for clients of a started server:
// it trusts the server's certificate and expects a name that is in it, wherever
// the server listens.
func (s *Server) ClientTLSConfig() *tls.Config {
	if err := s.prepare(); err != nil {
		s.tb.Fatalf("smtptest: ClientTLSConfig: %v", err)
	}
	return &tls.Config{RootCAs: s.roots.Clone(), ServerName: s.serverName()}
}

// CertificatePEM returns what a client of a started server has to trust, in PEM:
// the authority that signed the certificate made for the server, or the
// certificates in TLSConfig.
func (s *Server) CertificatePEM() []byte {
	if err := s.prepare(); err != nil {
		s.tb.Fatalf("smtptest: CertificatePEM: %v", err)
	}
	return append([]byte(nil), s.rootsPEM...)
}

func (s *Server) prepareTLS() error {
	s.tlsConfig = s.TLSConfig.Clone()
	if s.tlsConfig == nil {
		s.tlsConfig = &tls.Config{}
	}
	s.roots = x509.NewCertPool()
	if c := s.tlsConfig; len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		cert, err := testcert.Leaf(s.Hostname)
		if err != nil {
			return err
		}
		c.Certificates = []tls.Certificate{cert}
		s.roots.AddCert(testcert.Default().Certificate())
		s.rootsPEM = testcert.Default().PEM()
		return nil
	}
	for _, cert := range s.tlsConfig.Certificates {
		for _, der := range cert.Certificate {
			parsed, err := x509.ParseCertificate(der)
			if err != nil {
				return fmt.Errorf("TLSConfig: %w", err)
			}
			s.roots.AddCert(parsed)
		}
		s.rootsPEM = append(s.rootsPEM, testcert.EncodePEM(cert.Certificate...)...)
	}
	return nil
}

// serverName returns a name that is in the certificate.
func (s *Server) serverName() string {
	if s.TLSConfig == nil || len(s.TLSConfig.Certificates) == 0 {
		return "localhost"
	}
	leaf, err := x509.ParseCertificate(s.TLSConfig.Certificates[0].Certificate[0])
	if err == nil && len(leaf.DNSNames) > 0 {
		return leaf.DNSNames[0]
	}
	if err == nil && len(leaf.IPAddresses) > 0 {
		return leaf.IPAddresses[0].String()
	}
	return "localhost"
}

// starttls carries out STARTTLS (RFC 3207).
func (c *session) starttls(arg []byte) error {
	r := replyReadyForTLS
	switch {
	case c.tls != nil && !c.srv.NoSTARTTLS: // with implicit TLS too
		r = replyTLSActive
	case !c.srv.ext.starttls:
		r = replyNotImplemented
	case c.hello == "":
		r = c.helloFirst()
	case len(arg) > 0: // §4
		r = replyNoParameters
	case c.r < c.w:
		// Whatever is here was sent in plaintext, perhaps by somebody in
		// between, to be taken for what came after the handshake
		// (CVE-2011-0411). Postfix ends the session too; to throw it away would
		// be as safe, and hide a client's mistake.
		c.closing = true
		r = replyPlaintextBehind
	}
	c.say(r)
	if r != replyReadyForTLS || c.closing {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.handshake(); err != nil {
		return err
	}
	// "The server MUST discard any knowledge obtained from the client" (§4.2).
	c.forget()
	c.user = ""
	return nil
}

// handshake makes the TLS handshake on the raw connection. If it fails, all that
// is left is to close: nobody knows what the client takes the session for.
func (c *session) handshake() error {
	act, err := c.ask(verbTLS, Command{})
	if err != nil {
		return err
	}
	if act != (Action{}) {
		if c.conn == nil {
			c.conn = turn.New(c.raw)
		}
		c.verb = "TLS"
		c.begin(act, 0)
		c.end(act)
		if err := c.flush(); err != nil {
			return err
		}
		if act.Reply != "" || act.Close != KeepOpen {
			c.closing = true
			return errClosed
		}
	}
	c.conn = nil
	conn := tls.Server(c.raw, c.srv.tlsConfig)
	if err := conn.Handshake(); err != nil {
		c.log("TLS handshake: %v", err)
		return err
	}
	c.turns.Add(turnStep)
	state := conn.ConnectionState()
	c.counts.handshakes.Add(1)
	if state.DidResume {
		c.counts.resumed.Add(1)
	}
	c.log("TLS: %s, %s, resumed: %v", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.DidResume)
	c.tls = &state
	c.conn = turn.New(conn)
	return nil
}
