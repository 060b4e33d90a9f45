package smtpwire

import (
	"bytes"
	"errors"
	"net/netip"
	"unicode/utf8"
)

// Limits of RFC 5321 §4.5.3.1, in octets.
const (
	maxLocalPart = 64
	maxDomain    = 255
	maxPath      = 256 // with its angle brackets (§4.5.3.1.3)
)

var (
	// ErrPathSyntax says that MAIL or RCPT has no path in angle brackets, or
	// one that is not an address (RFC 5321 §4.1.2).
	ErrPathSyntax = errors.New("bad address syntax")
	// ErrNonASCII says that an address has octets above 127 and SMTPUTF8 was
	// not asked for (RFC 6531 §3.3).
	ErrNonASCII = errors.New("address needs SMTPUTF8")
	// ErrPathTooLong says that a local-part, a domain or the whole path exceeds
	// RFC 5321 §4.5.3.1.
	ErrPathTooLong = errors.New("address too long")
)

// ParseMail parses the argument of MAIL: "FROM:<path> params". The null
// reverse-path gives an empty path; a source route is left out of it. Both
// results are borrowed. Whether octets above 127 are allowed is for CheckPath,
// as the SMTPUTF8 parameter comes after, and params are for Params.
func ParseMail(arg []byte) (path, params []byte, err error) {
	return parsePath(arg, "FROM:", true)
}

// ParseRcpt parses the argument of RCPT: "TO:<path> params". There is no null
// forward-path. A path without a domain, such as <Postmaster>, is returned as it
// is. The rest is as for ParseMail.
func ParseRcpt(arg []byte) (path, params []byte, err error) {
	return parsePath(arg, "TO:", false)
}

func parsePath(arg []byte, keyword string, null bool) (path, params []byte, err error) {
	if len(arg) < len(keyword) || !EqualFold(arg[:len(keyword)], keyword) {
		return nil, nil, ErrPathSyntax
	}
	// A space after the colon is wrong and common: every server takes it.
	rest := trimLeft(arg[len(keyword):])
	end := closingBracket(rest)
	if end < 0 {
		return nil, nil, ErrPathSyntax
	}
	path, params = rest[1:end], rest[end+1:]
	if len(params) > 0 && params[0] != ' ' {
		return nil, nil, ErrPathSyntax
	}
	params = trimLeft(params)
	if len(path) > 0 && path[0] == '@' {
		if path = cutRoute(path); len(path) == 0 {
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

// cutRoute returns the mailbox behind the source route "@one,@two:", which is
// accepted and ignored (§4.1.1.3, Appendix C), or nil if it is not one.
func cutRoute(path []byte) []byte {
	for {
		i := bytes.IndexAny(path, ",:")
		if i < 0 || path[0] != '@' || !validDomain(path[1:i]) {
			return nil
		}
		end := path[i] == ':'
		if path = path[i+1:]; end {
			return path
		}
		if len(path) == 0 {
			return nil
		}
	}
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
// MAIL or RCPT command: what a client should ask before it sends one. The null
// reverse-path "" is not an address. One that has octets above 127 needs SMTPUTF8
// (NeedsUTF8).
func CheckAddress(address string) error {
	b := []byte(address)
	if err := checkMailbox(b); err != nil {
		return err
	}
	return CheckPath(b, true)
}

// NeedsUTF8 reports whether address can only be sent with SMTPUTF8 (RFC 6531).
func NeedsUTF8(address string) bool {
	for i := 0; i < len(address); i++ {
		if address[i] >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// checkMailbox accepts local-part@domain and, as recipients may be local names
// such as "postmaster" (§4.1.1.3) and every server takes them, a local-part
// alone.
func checkMailbox(path []byte) error {
	local, domain, hasDomain := splitMailbox(path)
	if !validLocalPart(local) || hasDomain && !validDomain(domain) {
		return ErrPathSyntax
	}
	if len(local) > maxLocalPart || len(domain) > maxDomain || len(path)+len("<>") > maxPath {
		return ErrPathTooLong
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

// dotString has the octets of a dot-string: atext, '.', and what SMTPUTF8 adds.
var dotString = func() (t [256]bool) {
	for c := range t {
		t[c] = c > ' ' && c != 0x7f && bytes.IndexByte([]byte(`()<>[]:;@\,"`), byte(c)) < 0
	}
	return t
}()

// validLocalPart accepts a dot-string and a quoted-string (§4.1.2), and dots in
// places where the grammar does not have them, as some real addresses do.
func validLocalPart(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if b[0] != '"' {
		for _, c := range b {
			if !dotString[c] {
				return false
			}
		}
		return true
	}
	if len(b) < 2 || b[len(b)-1] != '"' {
		return false
	}
	b = b[1 : len(b)-1]
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			if i++; i == len(b) { // it quotes the closing quote
				return false
			}
		} else if b[i] == '"' {
			return false
		}
		if b[i] < ' ' || b[i] == 0x7f {
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
		return validLiteral(b)
	}
	prev := byte('.')
	for _, c := range b {
		switch {
		case isLetterDigit(c), c == '_', c >= utf8.RuneSelf:
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

// validLiteral accepts [192.0.2.1], [IPv6:2001:db8::1] and [tag:anything], for
// tags that are yet to be made (§4.1.3).
func validLiteral(b []byte) bool {
	if len(b) < 3 || b[len(b)-1] != ']' {
		return false
	}
	b = b[1 : len(b)-1]
	i := bytes.IndexByte(b, ':')
	if i < 0 {
		ip, err := netip.ParseAddr(string(b))
		return err == nil && ip.Is4()
	}
	tag, value := b[:i], b[i+1:]
	if EqualFold(tag, "IPV6") {
		ip, err := netip.ParseAddr(string(value))
		return err == nil && ip.Is6() && ip.Zone() == ""
	}
	for _, c := range value {
		if c <= ' ' || c >= 0x7f || c == '[' || c == ']' || c == '\\' {
			return false
		}
	}
	return isKeyword(tag) && len(value) > 0
}
