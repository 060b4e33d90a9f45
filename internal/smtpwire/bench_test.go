package smtpwire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

func BenchmarkParseReply(b *testing.B) {
	for _, bb := range []struct{ name, in string }{
		{"ok", "250 2.1.0 Ok\r\n"},
		{"ehlo", ehloReply},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := []byte(bb.in)
			for b.Loop() {
				if _, n, _ := smtpwire.ParseReply(in); n != len(in) {
					b.Fatal(n)
				}
			}
		})
	}
}

func BenchmarkParseCommand(b *testing.B) {
	for _, line := range []string{"MAIL FROM:<loadtest@example.org> SIZE=1024", "RCPT TO:<loadtest@example.org>", "DATA", "STARTTLS"} {
		name, _, _ := strings.Cut(line, " ")
		b.Run(name, func(b *testing.B) {
			in := []byte(line)
			for b.Loop() {
				if c, _ := smtpwire.ParseCommand(in); c.Verb == smtpwire.Unknown {
					b.Fatal("unknown")
				}
			}
		})
	}
}

func BenchmarkParsePath(b *testing.B) {
	mail, rcpt := []byte("FROM:<loadtest@example.org> SIZE=1024"), []byte("TO:<loadtest@example.org>")
	for b.Loop() {
		if _, _, err := smtpwire.ParseMail(mail); err != nil {
			b.Fatal(err)
		}
		if _, _, err := smtpwire.ParseRcpt(rcpt); err != nil {
			b.Fatal(err)
		}
	}
}

// dotData returns size octets of mail data for the wire. What it is made of
// decides: DotReader stops at dots.
func dotData(kind string, size int) []byte {
	line := map[string]string{
		"text":   "The quick brown fox. It jumps over the lazy dog at mail.example.org\r\n",
		"base64": strings.Repeat("QUJD", 19) + "\r\n",
		"short":  "a\r\n",
		"dots":   "..........\r\n",
	}[kind]
	data := bytes.Repeat([]byte(line), size/len(line)+1)[:size]
	return smtpwire.AppendDotStuffed(nil, bytes.TrimRight(data, "\r"))
}

func BenchmarkDotReader(b *testing.B) {
	for _, kind := range []string{"text", "base64", "short", "dots"} {
		for _, size := range []int{1 << 10, 64 << 10} {
			src := dotData(kind, size)
			name := kind + "/1KB"
			if size > 1<<10 {
				name = kind + "/64KB"
			}
			b.Run("Discard/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(src)))
				for b.Loop() {
					var d smtpwire.DotReader
					if d.Discard(src); !d.Done() {
						b.Fatal("no end of data")
					}
				}
			})
			b.Run("Append/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(src)))
				dst := make([]byte, 0, len(src))
				for b.Loop() {
					var d smtpwire.DotReader
					if dst, _ = d.Append(dst[:0], src); !d.Done() {
						b.Fatal("no end of data")
					}
				}
			})
		}
	}
}

func BenchmarkAppendDotStuffed(b *testing.B) {
	data := bytes.Repeat([]byte("The quick brown fox. It jumps over the lazy dog at mail.example.org\r\n"), 1000)
	dst := smtpwire.AppendDotStuffed(nil, data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		dst = smtpwire.AppendDotStuffed(dst[:0], data)
	}
}
