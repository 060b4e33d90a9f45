package smtptest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// clientAuth is what Dialer authenticates with.
func (s *Server) clientAuth() sasl.Client {
	user := ""
	if users := slices.Sorted(maps.Keys(s.Users)); len(users) > 0 {
		user = users[0]
	}
	switch list, _ := s.mechanisms(); {
	case slices.Contains(list, "PLAIN"):
	case slices.Contains(list, "LOGIN"):
		return sasl.NewLoginClient(user, s.Users[user])
	case slices.Contains(list, "OAUTHBEARER"):
		return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: s.Users[user]})
	}
	return sasl.NewPlainClient("", user, s.Users[user])
}

// allMechanisms are what Mechanisms may name, those that send the password
// first.
var allMechanisms = []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "CRAM-MD5"}

func (s *Server) mechanisms() ([]string, error) {
	if s.Mechanisms == nil {
		return allMechanisms, nil
	}
	for _, m := range s.Mechanisms {
		if !slices.Contains(allMechanisms, m) {
			return nil, fmt.Errorf("no mechanism %q, as in Mechanisms: there are %s", m, strings.Join(allMechanisms, ", "))
		}
	}
	return s.Mechanisms, nil
}

// offered returns the mechanisms that may be used, with TLS active or not.
func (s *Server) offered(tlsActive bool) []string {
	list, _ := s.mechanisms()
	if tlsActive || s.AllowInsecureAuth {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), sendsPassword)
}

func sendsPassword(mechanism string) bool { return mechanism != "CRAM-MD5" }

// auth carries out AUTH (RFC 4954 §4).
func (c *session) auth(arg []byte) error {
	name, initial, hasInitial := strings.Cut(string(arg), " ")
	name = strings.ToUpper(name)
	list, _ := c.srv.mechanisms()
	r := (*reply)(nil)
	switch {
	case !c.srv.ext.auth:
		r = replyNotImplemented
	case !c.esmtp:
		r = c.helloFirst()
	case c.user != "":
		r = replyAuthTwice
	case c.tx.active:
		r = replyInTransaction
	case name == "":
		r = replyAuthSyntax
	case !slices.Contains(list, name):
		r = replyAuthMechanism
	case !slices.Contains(c.srv.offered(c.tls != nil), name):
		r = replyAuthEncryption
	}
	if r != nil {
		c.say(r)
		return nil
	}
	user, r, err := c.exchange(newMechanism(name, c.srv), strings.TrimSpace(initial), hasInitial)
	if err != nil || c.closing && r == nil {
		return err
	}
	c.verb = "AUTH"
	if r == replyAuthOK {
		c.user = user
		c.counts.auths.Add(1)
	}
	c.say(r)
	return nil
}

// exchange makes the SASL exchange and returns the last reply.
func (c *session) exchange(m mechanism, initial string, hasInitial bool) (user string, r *reply, err error) {
	var response []byte
	if hasInitial {
		// "=" is an initial response of no octets, which is not the same as none.
		if initial == "=" {
			initial = ""
		}
		if response, err = base64.StdEncoding.DecodeString(initial); err != nil {
			return "", replyAuthBase64, nil
		}
		if response == nil {
			response = []byte{}
		}
	}
	for {
		challenge, user, verdict := m.next(response)
		switch verdict {
		case saslAccept:
			return user, replyAuthOK, nil
		case saslRefuse:
			return "", replyAuthFailed, nil
		case saslGarbage:
			return "", replyAuthGarbage, nil
		}
		override := c.override
		c.override = ""
		c.sayChallenge(challenge)
		if c.closing {
			return "", nil, nil
		}
		line, err := c.readResponse()
		if err != nil {
			return "", nil, err
		}
		c.override = override
		if line == nil {
			return "", replyAuthLong, nil
		}
		if c.srv.Log != nil {
			c.log("C: %s", line)
		}
		if string(line) == "*" {
			return "", replyAuthCancelled, nil
		}
		response, err = base64.StdEncoding.AppendDecode([]byte{}, line)
		if err != nil {
			return "", replyAuthBase64, nil
		}
	}
}

func (c *session) sayChallenge(challenge []byte) {
	text := "334 " + base64.StdEncoding.EncodeToString(challenge) + "\r\n"
	c.replied = true
	c.out = append(c.out, text...)
	if c.srv.Log != nil {
		c.logReply(text)
	}
}

// readResponse returns a line of the exchange without its line end, nil if it
// was too long.
func (c *session) readResponse() ([]byte, error) {
	for {
		if i := bytes.IndexByte(c.buf[c.r:c.w], '\n'); i >= 0 {
			line := c.buf[c.r : c.r+i+1]
			c.r += i + 1
			if len(line) > smtpwire.MaxAuthLine {
				return nil, nil
			}
			return bytes.TrimRight(line, "\r\n"), nil
		}
		if c.w-c.r > smtpwire.MaxAuthLine {
			return nil, c.skipLine()
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}
