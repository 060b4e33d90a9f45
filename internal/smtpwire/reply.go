package smtpwire

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxReply is how many octets a reply may have, all its lines together. RFC
// 5321 §4.5.3.1.5 allows 512 a line and says nothing of their number; EHLO
// replies and rejections with explanations need more, a hostile server needs to
// be stopped. It is the limit of Postfix smtp-source.
const MaxReply = 10240

var (
	// ErrReplyTooLong says that there was no end of a reply in MaxReply octets.
	ErrReplyTooLong = errors.New("reply longer than 10240 octets")
	// ErrReplySyntax says that what was read is not a reply (RFC 5321 §4.2).
	ErrReplySyntax = errors.New("not an SMTP reply")
)

// A Reply is one complete reply. It borrows the bytes that it was parsed from.
type Reply struct {
	Code     int          // 200 to 599
	Enhanced EnhancedCode // zero if there was none
	raw      []byte       // all lines with their line ends
}

// ParseReply parses the reply that b begins with. n is the number of octets it
// takes, 0 if b does not hold all of it yet. An error means that the connection
// cannot be used any more, as nobody knows where the next reply begins.
//
// A line may end in a bare LF and may lack the SP and the text after the code
// (§4.2.1: clients must accept that); all lines must have the same code. The
// code's first digit is 2 to 5, as no other has a meaning to act on (§4.3.2);
// the others may be any, as unknown codes are allowed. The text may hold
// anything, a NUL as well; see Text.
func ParseReply(b []byte) (r Reply, n int, err error) {
	for {
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			if len(b) >= MaxReply {
				return Reply{}, 0, ErrReplyTooLong
			}
			// Garbage is garbage before its line ends: do not wait for a
			// line end that a server of another protocol may never send.
			if !plausible(b[n:]) {
				return Reply{}, 0, ErrReplySyntax
			}
			return Reply{}, 0, nil
		}
		line := trimEOL(b[n : n+end+1])
		code, last, ok := parseReplyLine(line)
		if !ok || n > 0 && code != r.Code {
			return Reply{}, 0, ErrReplySyntax
		}
		n += end + 1
		if n > MaxReply {
			return Reply{}, 0, ErrReplyTooLong
		}
		r.Code = code
		// Each line should have the same enhanced code; some servers put it
		// on the first or on the last only.
		if r.Enhanced == (EnhancedCode{}) && len(line) > 4 {
			r.Enhanced = parseEnhanced(line[4:], code)
		}
		if last {
			r.raw = b[:n]
			return r, n, nil
		}
	}
}

// plausible reports whether an unfinished line can still become a reply line.
func plausible(b []byte) bool {
	for i, c := range b {
		switch {
		case i == 0:
			if c < '2' || c > '5' {
				return false
			}
		case i < 3:
			if c < '0' || c > '9' {
				return false
			}
		case i == 3:
			return c == ' ' || c == '-' || c == '\r'
		}
	}
	return true
}

func parseReplyLine(line []byte) (code int, last, ok bool) {
	if len(line) < 3 || !plausible(line[:3]) {
		return 0, false, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, true, true
	}
	switch line[3] {
	case ' ':
		return code, true, true
	case '-':
		return code, false, true
	}
	return 0, false, false
}

func trimEOL(line []byte) []byte {
	line = line[:len(line)-1]
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line
}

// Lines calls yield with the text of each line, without code and line end, as
// it came. The text is borrowed.
func (r Reply) Lines(yield func(text []byte) bool) {
	for b := r.raw; len(b) > 0; {
		end := bytes.IndexByte(b, '\n')
		line := trimEOL(b[:end+1])
		b = b[end+1:]
		if len(line) > 4 {
			line = line[4:]
		} else {
			line = nil
		}
		if !yield(line) {
			return
		}
	}
}

// Keywords calls yield with each EHLO keyword and its arguments, taking r for
// the reply to EHLO or LHLO (RFC 5321 §4.1.1.1), whose first line has the domain
// and no keyword. Keywords keep their case: compare them with EqualFold. Both
// are borrowed.
func (r Reply) Keywords(yield func(keyword, args []byte) bool) {
	first := true
	r.Lines(func(text []byte) bool {
		if first {
			first = false
			return true
		}
		keyword, args := ParseKeyword(text)
		return len(keyword) == 0 || yield(keyword, args)
	})
}

// ParseKeyword splits a line of an EHLO reply: "SIZE 1000". An '=' in place of
// the space, as in the "AUTH=LOGIN PLAIN" of old servers, is taken for one. The
// keyword is empty if the line does not begin with one, as the last line of
// smtp-sink.
func ParseKeyword(text []byte) (keyword, args []byte) {
	i := keywordLen(text)
	if !isKeyword(text[:i]) {
		return nil, nil
	}
	if i < len(text) && text[i] != ' ' && text[i] != '\t' && text[i] != '=' {
		return nil, nil
	}
	return text[:i], bytes.Trim(text[i:], " \t=")
}

// Text returns the texts of all lines, joined by "\n", the enhanced status code
// left in. Control characters and what is not UTF-8 become '?', so that a
// server cannot write to the terminal or forge a line of a log. It allocates.
func (r Reply) Text() string {
	var sb strings.Builder
	first := true
	r.Lines(func(text []byte) bool {
		if !first {
			sb.WriteByte('\n')
		}
		first = false
		for len(text) > 0 {
			c, size := utf8.DecodeRune(text)
			if c == utf8.RuneError && size == 1 || unicode.IsControl(c) && c != '\t' {
				c = '?'
			}
			sb.WriteRune(c)
			text = text[size:]
		}
		return true
	})
	return sb.String()
}

// An EnhancedCode is an enhanced mail system status code: class, subject and
// detail (RFC 3463 §2). The zero value means none.
type EnhancedCode [3]int16

func (e EnhancedCode) String() string {
	if e == (EnhancedCode{}) {
		return ""
	}
	b := strconv.AppendInt(nil, int64(e[0]), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(e[1]), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(e[2]), 10)
	return string(b)
}

// parseEnhanced parses the code at the beginning of a reply's text. The class
// must agree with the reply code (RFC 2034 §4), which also keeps texts like
// "5.7.3 is the version" in a 220 from being taken for one.
func parseEnhanced(text []byte, code int) EnhancedCode {
	var e EnhancedCode
	i := 0
	for part := range e {
		start := i
		for i < len(text) && i-start < 3 && text[i] >= '0' && text[i] <= '9' {
			e[part] = e[part]*10 + int16(text[i]-'0')
			i++
		}
		if i == start {
			return EnhancedCode{}
		}
		if part < 2 {
			if i == len(text) || text[i] != '.' {
				return EnhancedCode{}
			}
			i++
		}
	}
	if i < len(text) && text[i] != ' ' || int(e[0]) != code/100 || e[0] == 3 {
		return EnhancedCode{}
	}
	return e
}

// AppendReply appends a reply to dst. Each line of text becomes a line of the
// reply; enhanced, if not zero, is put before each of them (RFC 2034 §4).
// A line may end in CRLF as well as LF. Other control characters become '?': what
// was a bare CR must not end a line of ours. code has three digits.
func AppendReply(dst []byte, code int, enhanced EnhancedCode, text string) []byte {
	for {
		line, rest, more := strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		dst = strconv.AppendInt(dst, int64(code), 10)
		if more {
			dst = append(dst, '-')
		} else {
			dst = append(dst, ' ')
		}
		if enhanced != (EnhancedCode{}) {
			for part, v := range enhanced {
				if part > 0 {
					dst = append(dst, '.')
				}
				dst = strconv.AppendInt(dst, int64(v), 10)
			}
			dst = append(dst, ' ')
		}
		for i := 0; i < len(line); i++ {
			c := line[i]
			if c < ' ' && c != '\t' || c == 0x7f {
				c = '?'
			}
			dst = append(dst, c)
		}
		dst = append(dst, '\r', '\n')
		if !more {
			return dst
		}
		text = rest
	}
}
