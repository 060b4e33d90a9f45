package smtpwire_test

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// The corpora are in testdata/fuzz, under names that say what they are. "go test
// -fuzz FuzzX ./internal/smtpwire" looks for more.

func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 Ok\r\n", ehloReply, "550-5.7.1 a\r\n550 b\r\n", "250", "HTTP/1.1 200 OK\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, n, err := smtpwire.ParseReply(in)
		if err != nil && n != 0 {
			t.Fatalf("error and n = %d", n)
		}
		if n < 0 || n > len(in) || n > smtpwire.MaxReply {
			t.Fatalf("n = %d of %d", n, len(in))
		}
		// What comes in pieces must end as what comes at once, though an error
		// may come earlier and be another.
		for i := range len(in) {
			_, k, e := smtpwire.ParseReply(in[:i])
			if e != nil {
				if err == nil {
					t.Fatalf("after %d octets %v, after %d none", i, e, len(in))
				}
				break
			}
			if k != 0 {
				if k != n {
					t.Fatalf("after %d octets n = %d, after %d it is %d", i, k, len(in), n)
				}
				break
			}
		}
		if n == 0 {
			return
		}
		if r.Code < 200 || r.Code > 599 {
			t.Fatalf("code %d", r.Code)
		}
		lines := 0
		for range r.Lines {
			lines++
		}
		if want := bytes.Count(in[:n], []byte("\n")); lines != want {
			t.Fatalf("%d lines of %d", lines, want)
		}
		for keyword := range r.Keywords {
			if len(keyword) == 0 {
				t.Fatal("empty keyword")
			}
		}
		// Text is printable, and what the writer makes of it is read as it was.
		text := r.Text()
		if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' || c == 0x7f }) {
			t.Fatalf("control character in %q", text)
		}
		out := smtpwire.AppendReply(nil, r.Code, smtpwire.EnhancedCode{}, text)
		r2, n2, err := smtpwire.ParseReply(out)
		if len(out) > smtpwire.MaxReply {
			return // bare LF and '?' for octets of invalid UTF-8 never grow it, CRLF for LF may
		}
		if err != nil || n2 != len(out) || r2.Text() != text || r2.Enhanced != r.Enhanced || r2.Code != r.Code {
			t.Fatalf("%q is written as %q and read as %d of %d octets, %q, %v", text, out, n2, len(out), r2.Text(), err)
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"MAIL FROM:<a@b> SIZE=1 AUTH=<>", `RCPT TO:<@x:"a>b"@c>`, "BDAT 10 LAST", "EHLO [IPv6:::1]", "AUTH PLAIN =", "XCLIENT ADDR=+31"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := smtpwire.ParseCommand(line)
		control := bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
		if control != (err != nil) {
			t.Fatalf("control characters %v, error %v", control, err)
		}
		if err != nil {
			return
		}
		word, _, _ := bytes.Cut(bytes.TrimRight(line, " \t"), []byte(" "))
		known := false
		for v := smtpwire.HELO; v <= smtpwire.XCLIENT; v++ {
			if smtpwire.EqualFold(word, v.String()) {
				known = true
				if c.Verb != v {
					t.Fatalf("%v, want %v", c.Verb, v)
				}
			}
		}
		if !known && c.Verb != smtpwire.Unknown {
			t.Fatalf("%q is not %v", word, c.Verb)
		}
		switch c.Verb {
		case smtpwire.MAIL:
			path, params, err := smtpwire.ParseMail(c.Arg)
			checkRewritten(t, path, params, err, smtpwire.AppendMail, smtpwire.ParseMail)
		case smtpwire.RCPT:
			path, params, err := smtpwire.ParseRcpt(c.Arg)
			checkRewritten(t, path, params, err, smtpwire.AppendRcpt, smtpwire.ParseRcpt)
		}
		if out, err := smtpwire.AppendXtextDecoded(nil, c.Arg); err == nil {
			back, err := smtpwire.AppendXtextDecoded(nil, smtpwire.AppendXtext(nil, string(out)))
			if err != nil || !bytes.Equal(back, out) {
				t.Fatalf("xtext %q is %q, and again %q: %v", c.Arg, out, back, err)
			}
		}
		if keyword, args := smtpwire.ParseKeyword(c.Arg); len(keyword)+len(args) > len(c.Arg) {
			t.Fatal("keyword and arguments are more than there was")
		}
	})
}

// checkRewritten writes an accepted path and its parameters as a command of its
// own and reads it again.
func checkRewritten(t *testing.T, path, params []byte, err error,
	write func(dst []byte, path, params string) []byte, parse func([]byte) (path, params []byte, err error)) {
	if err != nil {
		return
	}
	if len(path) > 0 && smtpwire.CheckPath(path, true) == nil {
		if err := smtpwire.CheckAddress(string(path)); err != nil {
			t.Fatalf("%q was accepted: %v", path, err)
		}
	}
	line := write(nil, string(path), string(params))
	c, err := smtpwire.ParseCommand(line[:len(line)-2])
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	path2, params2, err := parse(c.Arg)
	if err != nil || !bytes.Equal(path, path2) || !bytes.Equal(params, params2) {
		t.Fatalf("%q: %q %q, want %q %q, error %v", line, path2, params2, path, params, err)
	}
}

// FuzzAddress: what CheckAddress lets a client send is one command, and the
// server reads the same address.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b", `"a b"@c`, "a@[192.0.2.1]", "a@b>\r\nDATA", "ü@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if smtpwire.CheckAddress(address) != nil {
			return
		}
		line := smtpwire.AppendRcpt(nil, address, "")
		c, err := smtpwire.ParseCommand(line[:len(line)-2])
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		path, params, err := smtpwire.ParseRcpt(c.Arg)
		if err != nil || string(path) != address || len(params) != 0 {
			t.Fatalf("%q: %q %q %v", line, path, params, err)
		}
		if err := smtpwire.CheckPath(path, smtpwire.NeedsUTF8(address)); err != nil {
			t.Fatalf("%q: %v", address, err)
		}
	})
}

func FuzzDotReader(f *testing.F) {
	for _, v := range vectors {
		f.Add([]byte(v.src), uint16(len(v.src)/2), uint16(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, split1, split2 uint16) {
		// As a stream off the wire: the reference and any split agree.
		data, n, done := read(t, string(in))
		sdata, sn, sdone := slowDotReader(string(in))
		if data != sdata || n != sn || done != sdone {
			t.Fatalf("%q is %q %d %v, the reference says %q %d %v", in, data, n, done, sdata, sn, sdone)
		}
		if d, k, dn := read(t, string(in), int(split1), int(split2)); d != data || k != n || dn != done {
			t.Fatalf("%q split at %d and %d: %q %d %v, want %q %d %v", in, split1, split2, d, k, dn, data, n, done)
		}
		// As mail data: what is written is read, with the line end it lacked.
		wire := smtpwire.AppendDotStuffed(nil, in)
		got, n, done := read(t, string(wire)+"QUIT\r\n", int(split1), int(split2))
		want := string(in)
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if got != want || n != len(wire) || !done {
			t.Fatalf("%q on the wire is %q and read as %q, %d of %d, %v", in, wire, got, n, len(wire), done)
		}
		// Data that passes CheckData also looks so to servers that take a bare
		// LF or CR for a line end: no other end of data is in it.
		if smtpwire.CheckData(in) == nil {
			lenient := strings.ReplaceAll(strings.ReplaceAll(string(wire), "\r\n", "\n"), "\r", "\n")
			if i := strings.Index("\n"+lenient, "\n.\n"); i >= 0 && i != len(lenient)-len(".\n") {
				t.Fatalf("%q: a lenient server sees the end of data at %d", wire, i)
			}
		}
	})
}

func FuzzBDAT(f *testing.F) {
	for _, s := range []string{"0", "86 LAST", "9223372036854775808", "18446744073709551617", "1  last", "LAST"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, arg []byte) {
		n, last, err := smtpwire.ParseBDAT(arg)
		size, word, _ := strings.Cut(string(arg), " ")
		want, ok := new(big.Int).SetString(size, 10)
		ok = ok && want.IsInt64() && len(size) <= 19 && strings.Trim(size, "0123456789") == ""
		word = strings.Trim(word, " \t")
		if ok = ok && (word == "" || smtpwire.EqualFold([]byte(word), "LAST")); !ok {
			if err == nil && bytes.Equal(arg, bytes.TrimRight(arg, " \t")) {
				t.Fatalf("%q accepted as %d %v", arg, n, last)
			}
			return
		}
		if !bytes.Equal(arg, bytes.TrimRight(arg, " \t")) {
			return // ParseCommand has removed it
		}
		if err != nil || n != want.Int64() || last != (word != "") {
			t.Fatalf("%q is %d %v %v", arg, n, last, err)
		}
		line := smtpwire.AppendBDAT(nil, n, last)
		c, err := smtpwire.ParseCommand(line[:len(line)-2])
		if err != nil || c.Verb != smtpwire.BDAT {
			t.Fatalf("%q: %v %v", line, c, err)
		}
		if n2, last2, err := smtpwire.ParseBDAT(c.Arg); err != nil || n2 != n || last2 != last {
			t.Fatalf("%q: %d %v %v", line, n2, last2, err)
		}
	})
}
