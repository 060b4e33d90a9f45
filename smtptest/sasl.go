package smtptest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// A mechanism is the server's side of one SASL exchange. next is given what the
// client sent, nil if it sent nothing yet. The servers of go-sasl are not used:
// there are none for LOGIN, CRAM-MD5 and XOAUTH2, and that of OAUTHBEARER
// panics when the client answers a refusal with an empty line.
type mechanism interface {
	next(response []byte) (challenge []byte, user string, v verdict)
}

type verdict uint8

const (
	saslContinue verdict = iota // send the challenge
	saslAccept
	saslRefuse
	saslGarbage // not what the mechanism sends
)

func newMechanism(name string, s *Server) mechanism {
	switch name {
	case "PLAIN":
		return plain{s}
	case "LOGIN":
		return &login{s: s}
	case "CRAM-MD5":
		return &cramMD5{s: s}
	case "XOAUTH2", "OAUTHBEARER":
		return &bearer{s: s, gs2: name == "OAUTHBEARER"}
	}
	panic("smtptest: no mechanism " + name)
}

// check compares a password in constant time, for the look of it: this is a
// server for tests.
func (s *Server) check(user, password string) verdict {
	want, ok := s.Users[user]
	if user == "" || !ok || subtle.ConstantTimeCompare([]byte(want), []byte(password)) != 1 {
		return saslRefuse
	}
	return saslAccept
}

// plain is RFC 4616: authorization identity, user name and password between
// NULs.
type plain struct{ s *Server }

func (m plain) next(response []byte) ([]byte, string, verdict) {
	if response == nil {
		return nil, "", saslContinue
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return nil, "", saslGarbage
	}
	user := string(parts[1])
	if len(parts[0]) > 0 && string(parts[0]) != user {
		return nil, "", saslRefuse // nobody may act for somebody else
	}
	return nil, user, m.s.check(user, string(parts[2]))
}

// login is draft-murchison-sasl-login.
type login struct {
	s    *Server
	user *string
}

func (m *login) next(response []byte) ([]byte, string, verdict) {
	switch {
	case response == nil:
		return []byte("Username:"), "", saslContinue
	case m.user == nil:
		user := string(response)
		m.user = &user
		return []byte("Password:"), "", saslContinue
	}
	return nil, *m.user, m.s.check(*m.user, string(response))
}

// cramMD5 is RFC 2195.
type cramMD5 struct {
	s         *Server
	challenge string
}

func (m *cramMD5) next(response []byte) ([]byte, string, verdict) {
	if m.challenge == "" {
		if response != nil {
			return nil, "", saslGarbage // the server begins
		}
		m.challenge = fmt.Sprintf("<%s@%s>", rand.Text(), m.s.Hostname)
		return []byte(m.challenge), "", saslContinue
	}
	user, digest, ok := strings.Cut(string(response), " ")
	if !ok {
		return nil, "", saslGarbage
	}
	password, known := m.s.Users[user]
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(m.challenge))
	if !known || !hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(strings.ToLower(digest))) {
		return nil, "", saslRefuse
	}
	return nil, user, saslAccept
}

// bearer is OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's, before it): key=value
// pairs that end in 0x01. A refusal is a challenge with the reason, which the
// client answers with anything, and then the reply.
type bearer struct {
	s      *Server
	gs2    bool
	failed bool
}

func (m *bearer) next(response []byte) ([]byte, string, verdict) {
	switch {
	case m.failed:
		return nil, "", saslRefuse
	case response == nil:
		return nil, "", saslContinue
	}
	text := string(response)
	user := ""
	if m.gs2 {
		// "n,a=user,\x01auth=Bearer token\x01\x01"
		header, rest, ok := strings.Cut(text, "\x01")
		flag, authzid, _ := strings.Cut(strings.TrimSuffix(header, ","), ",")
		if !ok || flag != "n" && flag != "y" {
			return nil, "", saslGarbage
		}
		user = strings.TrimPrefix(authzid, "a=")
		text = rest
	}
	token := ""
	for pair := range strings.SplitSeq(text, "\x01") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "user":
			user = value
		case "auth":
			scheme, credentials, _ := strings.Cut(value, " ")
			if strings.EqualFold(scheme, "Bearer") {
				token = credentials
			}
		}
	}
	if v := m.s.check(user, token); v == saslAccept {
		return nil, user, v
	}
	m.failed = true
	if m.gs2 {
		return []byte(`{"status":"invalid_token"}`), "", saslContinue
	}
	return []byte(`{"status":"401","schemes":"Bearer","scope":"https://mail.google.com/"}`), "", saslContinue
}
