package smtpwire

import (
	"bytes"
	"errors"
	"fmt"
)

// EndOfData ends mail data whose last line is complete (RFC 5321 §4.1.1.4).
const EndOfData = ".\r\n"

// ErrBareLineEnd says that mail data has a CR or LF that is not part of CRLF,
// which a client must not send (RFC 5321 §2.3.8): servers differ in what they
// make of it, and SMTP smuggling lives on that.
var ErrBareLineEnd = errors.New("bare CR or LF in mail data: end each line with CRLF")

// CheckData returns an error that matches ErrBareLineEnd and names the line if
// data has a bare CR or LF.
func CheckData(data []byte) error {
	line := 1
	for i, c := range data {
		switch c {
		case '\n':
			if i == 0 || data[i-1] != '\r' {
				return fmt.Errorf("line %d: %w", line, ErrBareLineEnd)
			}
			line++
		case '\r':
			if i+1 == len(data) || data[i+1] != '\n' {
				return fmt.Errorf("line %d: %w", line, ErrBareLineEnd)
			}
		}
	}
	return nil
}

// AppendDotStuffed appends data to dst as it goes on the wire after a 354: a dot
// doubled where it begins a line (RFC 5321 §4.5.2), a CRLF added if the last
// line has none, and the end of data. Data should have passed CheckData.
func AppendDotStuffed(dst, data []byte) []byte {
	if len(data) > 0 && data[0] == '.' {
		dst = append(dst, '.')
	}
	rest := data
	for {
		i := bytes.Index(rest, crlfDot)
		if i < 0 {
			break
		}
		dst = append(dst, rest[:i+3]...)
		dst = append(dst, '.')
		rest = rest[i+3:]
	}
	dst = append(dst, rest...)
	if len(data) > 0 && !bytes.HasSuffix(data, crlf) {
		dst = append(dst, '\r', '\n')
	}
	return append(dst, EndOfData...)
}

var (
	crlf    = []byte("\r\n")
	crlfDot = []byte("\r\n.")
)

// A DotReader takes the dot-stuffing off mail data that arrives in pieces. Only
// CRLF.CRLF ends the data, or .CRLF at its beginning; LF.LF and its like are
// data. The zero value is ready for a new message.
type DotReader struct {
	state dotState
	size  int64
}

type dotState uint8

const (
	lineStart dotState = iota // at the start of the data, or CRLF was read
	inLine
	cr       // CR was read in a line
	dot      // a dot was read at the start of a line
	dotCR    // that dot and a CR
	dataDone // the end of data was read
)

// Size returns the octets of mail data so far: line ends counted, stuffed dots
// and the end of data not (RFC 1870 §5).
func (d *DotReader) Size() int64 { return d.size }

// Done reports whether the end of data was read.
func (d *DotReader) Done() bool { return d.state == dataDone }

// Reset makes d ready for a new message.
func (d *DotReader) Reset() { *d = DotReader{} }

// Append reads from src up to the end of data, appends the data to dst without
// its stuffing and returns how many octets of src it read: all of them unless
// the end of data came.
func (d *DotReader) Append(dst, src []byte) (out []byte, n int) {
	before := len(dst)
	for n < len(src) && d.state != dataDone {
		if k := d.run(src[n:]); k > 0 {
			dst = append(dst, src[n:n+k]...)
			n += k
			continue
		}
		c := src[n]
		n++
		emit, held := d.step(c)
		if held {
			dst = append(dst, '\r')
		}
		if emit {
			dst = append(dst, c)
		}
	}
	d.size += int64(len(dst) - before)
	return dst, n
}

// Discard does what Append does and keeps nothing.
func (d *DotReader) Discard(src []byte) (n int) {
	for n < len(src) && d.state != dataDone {
		if k := d.run(src[n:]); k > 0 {
			d.size += int64(k)
			n += k
			continue
		}
		emit, held := d.step(src[n])
		n++
		if held {
			d.size++
		}
		if emit {
			d.size++
		}
	}
	return n
}

// run is the fast path: it returns how many octets at the beginning of src are
// data as they stand, up to the next dot that begins a line, and moves the state
// over them. 0 means that step has to look at the next octet. src is not empty.
func (d *DotReader) run(src []byte) int {
	if d.state != inLine && (d.state != lineStart || src[0] == '.') {
		return 0
	}
	// One search over all lines, as a search in each costs more than the line
	// where lines are short.
	if i := bytes.Index(src, crlfDot); i >= 0 {
		d.state = lineStart
		return i + len(crlf)
	}
	switch {
	case src[len(src)-1] == '\r':
		d.state = cr
	case len(src) >= 2 && src[len(src)-1] == '\n' && src[len(src)-2] == '\r':
		d.state = lineStart
	default:
		d.state = inLine
	}
	return len(src)
}

// step takes one octet outside the fast path. emit says that it is data; held,
// that a CR held back before it is data too.
func (d *DotReader) step(c byte) (emit, held bool) {
	switch d.state {
	case lineStart:
		if c == '.' {
			d.state = dot
			return false, false
		}
	case cr:
		if c == '\n' {
			d.state = lineStart
			return true, false
		}
	case dot:
		if c == '\r' {
			d.state = dotCR
			return false, false
		}
		// A stuffed dot, or one that a client forgot to double: either way the
		// first dot goes (§4.5.2).
	case dotCR:
		if c == '\n' {
			d.state = dataDone
			return false, false
		}
		d.state = inLine
		if c == '\r' {
			d.state = cr
		}
		return true, true
	}
	d.state = inLine
	if c == '\r' {
		d.state = cr
	}
	return true, false
}
