package smtpwire

import (
	"bytes"
	"encoding/binary"
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

// String returns the verb in upper case, "" for Unknown.
func (v Verb) String() string {
	if int(v) >= len(verbs) {
		return ""
	}
	return verbs[v]
}

// A Command is one command line. Arg borrows from the line.
type Command struct {
	Verb Verb
	Arg  []byte // what follows the verb, surrounding spaces and tabs removed
}

// ErrControl says that a command line has a control character: NUL, bare CR or
// LF, DEL. A tab is not meant: some clients end lines with one.
var ErrControl = errors.New("control character in command line")

// ParseCommand parses a command line without its line end. Verbs are
// case-insensitive (RFC 5321 §2.4); one that is not known is Unknown and not an
// error. A verb ends at a space, as the grammar has it, so one with a tab or
// with a space before it is not known. White space at the end of the line is
// ignored (§4.1.1).
func ParseCommand(line []byte) (Command, error) {
	if hasControl(line) {
		return Command{}, ErrControl
	}
	for len(line) > 0 && (line[len(line)-1] == ' ' || line[len(line)-1] == '\t') {
		line = line[:len(line)-1]
	}
	// Nearly every verb has four letters: no search for its end, then.
	if len(line) == 4 || len(line) > 4 && line[4] == ' ' {
		return Command{Verb: verb4(line), Arg: trimLeft(line[4:])}, nil
	}
	word, arg := cutWord(line)
	v := Unknown
	switch {
	case EqualFold(word, "STARTTLS"):
		v = STARTTLS
	case EqualFold(word, "XCLIENT"):
		v = XCLIENT
	}
	return Command{Verb: v, Arg: trimLeft(arg)}, nil
}

// verb4 returns the verb of the four letters that line begins with. Clearing
// bit 5 folds lower to upper case and makes a letter of nothing that is none.
func verb4(line []byte) Verb {
	const fold = 0xdfdfdfdf
	switch binary.BigEndian.Uint32(line) & fold {
	case 'M'<<24 | 'A'<<16 | 'I'<<8 | 'L':
		return MAIL
	case 'R'<<24 | 'C'<<16 | 'P'<<8 | 'T':
		return RCPT
	case 'D'<<24 | 'A'<<16 | 'T'<<8 | 'A':
		return DATA
	case 'B'<<24 | 'D'<<16 | 'A'<<8 | 'T':
		return BDAT
	case 'E'<<24 | 'H'<<16 | 'L'<<8 | 'O':
		return EHLO
	case 'H'<<24 | 'E'<<16 | 'L'<<8 | 'O':
		return HELO
	case 'L'<<24 | 'H'<<16 | 'L'<<8 | 'O':
		return LHLO
	case 'R'<<24 | 'S'<<16 | 'E'<<8 | 'T':
		return RSET
	case 'N'<<24 | 'O'<<16 | 'O'<<8 | 'P':
		return NOOP
	case 'Q'<<24 | 'U'<<16 | 'I'<<8 | 'T':
		return QUIT
	case 'V'<<24 | 'R'<<16 | 'F'<<8 | 'Y':
		return VRFY
	case 'E'<<24 | 'X'<<16 | 'P'<<8 | 'N':
		return EXPN
	case 'H'<<24 | 'E'<<16 | 'L'<<8 | 'P':
		return HELP
	case 'A'<<24 | 'U'<<16 | 'T'<<8 | 'H':
		return AUTH
	}
	return Unknown
}

// hasControl reports whether b has a control character other than a tab. It
// looks at eight octets at a time, and again at each of them only if one of the
// eight may be one.
func hasControl(b []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		if ((x-' '*ones)&^x|(del-ones)&^del)&high != 0 && hasControlSlow(b[:8]) {
			return true
		}
		b = b[8:]
	}
	return hasControlSlow(b)
}

func hasControlSlow(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// EqualFold compares b with upper, which is in upper case, without regard to
// the case of ASCII letters: for verbs, EHLO keywords, parameters and their
// values. Unlike bytes.EqualFold it does not take the Kelvin sign for a K.
func EqualFold(b []byte, upper string) bool {
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
// Neither is checked: what comes from a user goes through CheckAddress and
// CheckParams first, or a line end in it begins a command of its own.
func AppendMail(dst []byte, from, params string) []byte {
	return appendPath(append(dst, "MAIL FROM:<"...), from, params)
}

// AppendRcpt appends a RCPT command (RFC 5321 §4.1.1.3) with its line end. The
// rest is as for AppendMail.
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
// understood, as the octets of a chunk that is refused must be skipped. After an
// error nobody knows how many octets follow: a server that went on would take
// mail data for commands.
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
	case EqualFold(rest, "LAST"):
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
	return b[:i], trimLeft(b[i:])
}

// trimLeft is for the few spaces that there are; bytes.TrimLeft makes a set.
func trimLeft(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}
