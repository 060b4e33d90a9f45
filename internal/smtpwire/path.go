package smtpwire

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// Limits of RFC 5321 §4.5.3.1, in octets.
const (
	maxLocalPart = 64
	maxDomain    = 255
)

var (
	// ErrPathSyntax says that MAIL or RCPT has no path in angle brackets, or
	// one that is not an address (RFC 5321 §4.1.2).
	ErrPathSyntax = errors.New("bad address syntax")
	// ErrNonASCII says that an address has octets above 127 and SMTPUTF8 was
	// not asked for (RFC 6531 §3.3).
	ErrNonASCII = errors.New("address needs SMTPUTF8")
	// ErrPathTooLong says that a local-part or domain exceeds RFC 5321 §4.5.3.1.
	ErrPathTooLong = errors.New("address too long")
)

// ParseMail parses the argument of MAIL: "FROM:<path> params". The null
// reverse-path gives an empty path. Both results are borrowed. Whether octets
// above 127 are allowed is for CheckPath, as the SMTPUTF8 parameter comes after.
func ParseMail(arg []byte) (path, params []byte, err error) {
	return parsePath(arg, "FROM:", true)
}

// ParseRcpt parses the argument of RCPT: "TO:<path> params".
func ParseRcpt(arg []byte) (path, params []byte, err error) {
	return parsePath(arg, "TO:", false)
}

func parsePath(arg []byte, keyword string, null bool) (path, params []byte, err error) {
	if len(arg) < len(keyword) || !foldEqual(arg[:len(keyword)], keyword) {
		return nil, nil, ErrPathSyntax
	}
	// A space after the colon is wrong and common: every server takes it.
	rest := bytes.TrimLeft(arg[len(keyword):], " ")
	end := closingBracket(rest)
	if end < 0 {
		return nil, nil, ErrPathSyntax
	}
	path, params = rest[1:end], rest[end+1:]
	if len(params) > 0 && params[0] != ' ' {
		return nil, nil, ErrPathSyntax
	}
	params = bytes.Trim(params, " ")
	// A source route is accepted and ignored (§4.1.1.3, Appendix C).
	if len(path) > 0 && path[0] == '@' {
		i := bytes.IndexByte(path, ':')
		if i < 0 {
			return nil, nil, ErrPathSyntax
		}
		path = path[i+1:]
		if len(path) == 0 {
			return nil, nil, ErrPathSyntax
		}
	}
	if len(path) == 0 {
		if !null {
			return nil, nil, ErrPathSyntax
		}
		return path, params, nil
	}
	if err := checkMailbox(path); err != nil {
		return nil, nil, err
	}
	return path, params, nil
}

// closingBracket finds the '>' that ends the path; one inside a quoted
// local-part does not.
func closingBracket(b []byte) int {
	if len(b) == 0 || b[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(b); i++ {
		switch {
		case quoted && b[i] == '\\':
			i++
		case b[i] == '"':
			quoted = !quoted
		case b[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

// CheckPath returns ErrNonASCII if path needs SMTPUTF8 and utf8ok is false, and
// ErrPathSyntax if it is not UTF-8 at all.
func CheckPath(path []byte, utf8ok bool) error {
	for _, c := range path {
		if c >= utf8.RuneSelf {
			if !utf8ok {
				return ErrNonASCII
			}
			if !utf8.Valid(path) {
				return ErrPathSyntax
			}
			return nil
		}
	}
	return nil
}

// CheckAddress returns an error if address cannot be written as the path of a
// MAIL or RCPT command: what a client should ask before it sends one.
func CheckAddress(address string) error {
	b := []byte(address)
	if closingBracket(append(append([]byte{'<'}, b...), '>')) != len(b)+1 {
		return ErrPathSyntax
	}
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return ErrPathSyntax
		}
	}
	return checkMailbox(b)
}

// checkMailbox accepts local-part@domain and, as recipients may be local names
// such as "postmaster" (§4.1.1.3) and every server takes them, a local-part
// alone.
func checkMailbox(path []byte) error {
	local, domain, hasDomain := splitMailbox(path)
	if len(local) > maxLocalPart || len(domain) > maxDomain {
		return ErrPathTooLong
	}
	if !validLocalPart(local) || hasDomain && !validDomain(domain) {
		return ErrPathSyntax
	}
	return nil
}

// splitMailbox splits at the '@' that is not in a quoted local-part.
func splitMailbox(path []byte) (local, domain []byte, hasDomain bool) {
	i := 0
	if len(path) > 0 && path[0] == '"' {
		for i = 1; i < len(path) && path[i] != '"'; i++ {
			if path[i] == '\\' {
				i++
			}
		}
	}
	if i >= len(path) {
		return path, nil, false
	}
	at := bytes.LastIndexByte(path[i:], '@')
	if at < 0 {
		return path, nil, false
	}
	return path[:i+at], path[i+at+1:], true
}

// validLocalPart accepts a dot-string and a quoted-string (§4.1.2), and dots in
// places where the grammar does not have them, as some real addresses do.
func validLocalPart(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if b[0] == '"' {
		if len(b) < 2 || b[len(b)-1] != '"' {
			return false
		}
		for i := 1; i < len(b)-1; i++ {
			switch {
			case b[i] == '\\':
				if i++; i == len(b)-1 {
					return false
				}
			case b[i] == '"':
				return false
			}
		}
		return true
	}
	for _, c := range b {
		if c <= ' ' || c == 0x7f || bytes.IndexByte([]byte(`()<>[]:;@\,"`), c) >= 0 {
			return false
		}
	}
	return true
}

// validDomain accepts names and address literals (§4.1.3). Underscores are not
// in the grammar and in use.
func validDomain(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if b[0] == '[' {
		if len(b) < 3 || b[len(b)-1] != ']' {
			return false
		}
		for _, c := range b[1 : len(b)-1] {
			if c <= ' ' || c >= 0x7f || c == '[' || c == ']' || c == '\\' {
				return false
			}
		}
		return true
	}
	prev := byte('.')
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c >= utf8.RuneSelf:
		case c == '-':
			if prev == '.' {
				return false
			}
		case c == '.':
			if prev == '.' || prev == '-' {
				return false
			}
		default:
			return false
		}
		prev = c
	}
	return prev != '-' // a dot at the end is a fully qualified name
}
