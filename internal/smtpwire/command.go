package smtpwire

import (
	"bytes"
	"errors"
	"strconv"
)

// Limits of what a server reads, in octets, line end included.
const (
	// MaxCommand is the length of a command line. RFC 5321 §4.5.3.1.4 says 512,
	// extensions add to it (SIZE 26, SMTPUTF8 10, DSN 500 for ORCPT alone, ...);
	// it is the limit of Postfix.
	MaxCommand = 2048
	// MaxAuthLine is the length of a line of a SASL exchange (RFC 4954 §4).
	MaxAuthLine = 12288
)

// A Verb is the first word of a command.
type Verb uint8

// The verbs of SMTP, LMTP and the extensions known here.
const (
	Unknown Verb = iota
	HELO
	EHLO
	LHLO
	MAIL
	RCPT
	DATA
	BDAT
	RSET
	NOOP
	QUIT
	VRFY
	EXPN
	HELP
	STARTTLS
	AUTH
	XCLIENT
)

var verbs = [...]string{"", "HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "STARTTLS", "AUTH", "XCLIENT"}

func (v Verb) String() string { return verbs[v] }

// A Command is one command line. Arg borrows from the line.
type Command struct {
	Verb Verb
	Arg  []byte // what follows the verb, surrounding spaces removed
}

// ErrControl says that a command line has a control character: NUL, bare CR.
var ErrControl = errors.New("control character in command line")

// ParseCommand parses a command line without its line end. Verbs are
// case-insensitive (RFC 5321 §2.4); one that is not known is Unknown and not an
// error.
func ParseCommand(line []byte) (Command, error) {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return Command{}, ErrControl
		}
	}
	word, arg := line, []byte(nil)
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		word, arg = line[:i], bytes.Trim(line[i+1:], " \t")
	}
	for v := Verb(1); int(v) < len(verbs); v++ {
		if foldEqual(word, verbs[v]) {
			return Command{Verb: v, Arg: arg}, nil
		}
	}
	return Command{Arg: arg}, nil
}

// foldEqual compares ASCII letters without their case; upper is in upper case.
func foldEqual(b []byte, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}

// AppendMail appends a MAIL command (RFC 5321 §4.1.1.2) with its line end.
// from "" is the null reverse-path; params ("BODY=8BITMIME SIZE=10") may be "".
func AppendMail(dst []byte, from, params string) []byte {
	return appendPath(append(dst, "MAIL FROM:<"...), from, params)
}

// AppendRcpt appends a RCPT command (RFC 5321 §4.1.1.3) with its line end.
func AppendRcpt(dst []byte, to, params string) []byte {
	return appendPath(append(dst, "RCPT TO:<"...), to, params)
}

func appendPath(dst []byte, path, params string) []byte {
	dst = append(dst, path...)
	dst = append(dst, '>')
	if params != "" {
		dst = append(dst, ' ')
		dst = append(dst, params...)
	}
	return append(dst, '\r', '\n')
}

// AppendBDAT appends a BDAT command (RFC 3030 §2) for a chunk of n octets.
func AppendBDAT(dst []byte, n int64, last bool) []byte {
	dst = append(dst, "BDAT "...)
	dst = strconv.AppendInt(dst, n, 10)
	if last {
		dst = append(dst, " LAST"...)
	}
	return append(dst, '\r', '\n')
}

// ErrBDATSyntax says that a BDAT's arguments are not "n" or "n LAST".
var ErrBDATSyntax = errors.New("BDAT needs a chunk size and an optional LAST")

// ParseBDAT parses the arguments of a BDAT command. Sizes up to 2^63-1 are
// understood, as the octets of a chunk that is too large must be skipped.
func ParseBDAT(arg []byte) (n int64, last bool, err error) {
	size, rest := cutWord(arg)
	if len(size) == 0 || len(size) > 19 {
		return 0, false, ErrBDATSyntax
	}
	for _, c := range size {
		if c < '0' || c > '9' {
			return 0, false, ErrBDATSyntax
		}
		n = n*10 + int64(c-'0')
		if n < 0 {
			return 0, false, ErrBDATSyntax
		}
	}
	switch {
	case len(rest) == 0:
		return n, false, nil
	case foldEqual(rest, "LAST"):
		return n, true, nil
	}
	return 0, false, ErrBDATSyntax
}

// cutWord splits b at its first run of spaces.
func cutWord(b []byte) (word, rest []byte) {
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		return b, nil
	}
	return b[:i], bytes.TrimLeft(b[i:], " ")
}

// Params calls yield with each esmtp-param of params: "KEY=VALUE KEY"
// (RFC 5321 §4.1.2). Keys keep their case: compare them with EqualFold.
func Params(params []byte, yield func(key, value []byte, hasValue bool) bool) {
	for len(params) > 0 {
		var word []byte
		word, params = cutWord(params)
		key, value, hasValue := bytes.Cut(word, []byte("="))
		if !yield(key, value, hasValue) {
			return
		}
	}
}
