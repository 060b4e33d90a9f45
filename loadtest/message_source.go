package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// defaultMessage is what is sent if SMTP.Message is nil: about what smtp-source
// sends by default.
var defaultMessage = Message{
	From: "loadtest@localhost",
	To:   []string{"loadtest@localhost"},
	Data: []byte("From: <loadtest@localhost>\r\n" +
		"To: <loadtest@localhost>\r\n" +
		"Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n" +
		"Message-ID: <loadtest@localhost>\r\n" +
		"\r\n" +
		"La de da de da 1.\r\n" +
		"La de da de da 2.\r\n" +
		"La de da de da 3.\r\n" +
		"La de da de da 4.\r\n"),
}

// Text returns a message of text whose data has size octets, header included. A
// size too small for the header gives the header and no more, see len(Data).
func Text(from, to string, size int) *Message {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nSubject: load test\r\n\r\n", from, to)
	b.Grow(max(0, size-b.Len()))
	// Lines of 80 octets that begin with a digit, as smtp-source's: no dots to
	// stuff. The last one takes what is left, which may be one octet more than
	// a line, as a line has at least its CRLF.
	for n := 0; b.Len()+2 <= size; n++ {
		length := min(80, size-b.Len())
		if size-b.Len()-length == 1 {
			length++
		}
		line := strconv.Itoa(n%10) + strings.Repeat("X", 80)
		b.WriteString(line[:length-2])
		b.WriteString("\r\n")
	}
	return &Message{From: from, To: []string{to}, Data: b.Bytes()}
}

// FromFile returns a message with the file's content as data. Lines may end in
// LF or in CRLF, but all in the same, as it is not for this package to guess
// what a mix means.
func FromFile(from, to, path string) (*Message, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("smtp: message: %w", err)
	}
	if !bytes.Contains(data, []byte("\r")) {
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	if err := smtpwire.CheckData(data); err != nil {
		return nil, fmt.Errorf("smtp: message: %s: %w", path, err)
	}
	return &Message{From: from, To: []string{to}, Data: data}, nil
}

// Corpus returns a function for [SMTP.Message] that sends the regular files in
// dir and below it, in the order of their paths, again and again. Each is read
// as [FromFile] does, before Corpus returns.
func Corpus(from, to, dir string) (func(n int64) *Message, error) {
	var messages []*Message
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("smtp: message: %w", err)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		m, err := FromFile(from, to, path)
		messages = append(messages, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, fmt.Errorf("smtp: message: %w", &fs.PathError{Op: "corpus", Path: dir, Err: errors.New("no file in it")})
	}
	return func(n int64) *Message { return messages[n%int64(len(messages))] }, nil
}

// NumberedRecipients returns a function for [SMTP.Message] that sends m to r
// recipients for each operation, all different: a number is put behind the
// local-part of template, from n*r on. "user+@localhost" with r = 2 gives
// user+0@localhost and user+1@localhost for operation 0, user+2@localhost and
// user+3@localhost for operation 1, as smtp-source -N -r 2 (Postfix 3.9) does.
// r below 1 means 1. m.To is not used.
func NumberedRecipients(m *Message, template string, r int) func(n int64) *Message {
	local, domain := template, ""
	if at := strings.LastIndexByte(template, '@'); at >= 0 {
		local, domain = template[:at], template[at:]
	}
	// A quoted local-part stays one: the number belongs inside the quotes.
	if strings.HasSuffix(local, `"`) {
		local, domain = local[:len(local)-1], `"`+domain
	}
	r = max(1, r)
	return func(n int64) *Message {
		to := make([]string, r)
		for i := range to {
			to[i] = local + strconv.FormatInt(n*int64(r)+int64(i), 10) + domain
		}
		return m.WithRecipients(to...)
	}
}

// NumberedIDs returns a function for [SMTP.Message] that sends m with a header
// field of its own for each operation, "Message-ID: <n.run@localhost>", so that
// no server takes one for a copy of another. It copies the data each time. Give
// each run another name; it must be an atom, such as "1a2b".
func NumberedIDs(m *Message, run string) func(n int64) *Message {
	return func(n int64) *Message {
		data := make([]byte, 0, len(m.Data)+64)
		data = append(data, "Message-ID: <"...)
		data = strconv.AppendInt(data, n, 10)
		data = append(data, '.')
		data = append(data, run...)
		data = append(data, "@localhost>\r\n"...)
		data = append(data, m.Data...)
		return &Message{From: m.From, To: m.To, MailParams: m.MailParams, RcptParams: m.RcptParams, Data: data}
	}
}
